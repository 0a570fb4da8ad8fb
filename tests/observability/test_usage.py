"""What each tenant takes is counted, for the right one, and nothing is lost of it."""

import asyncio
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import pytest
from fastapi import FastAPI, WebSocket
from hypothesis import given, settings
from hypothesis import strategies as st
from servers import new_database
from sqlalchemy import select, text
from sqlalchemy.exc import OperationalError
from starlette.routing import Mount
from starlette.testclient import TestClient
from support import Note, client_of, make_app, make_tenancy, named

from fastapi_tenancy import Limit, TenancyMiddleware, TenantLimits, TenantUsage, Usage

PLACES = ("basic", "row", "schema")


class Ticks:
    """A clock on which a second passes with each look."""

    now = 0

    def __call__(self) -> float:
        self.now += 1
        return self.now


@pytest.fixture
async def tenancy(tmp_path):
    async with make_tenancy(tmp_path, usage=TenantUsage(clock=Ticks())) as tenancy:
        for name in ("acme", "beta"):
            await tenancy.create_tenant(name)
        yield tenancy


@pytest.fixture(params=PLACES)
async def at_each_place(tmp_path, request):
    place = {} if request.param == "basic" else {"manager_type": "shared-profile", "shared_isolation": request.param}
    if request.param == "schema":
        place["database_url"] = new_database(request.getfixturevalue("postgresql_url"))
    async with make_tenancy(tmp_path, usage=TenantUsage(clock=Ticks()), **place) as tenancy:
        for name in ("acme", "beta"):
            await tenancy.create_tenant(name)
        yield tenancy


async def usage_of(tenancy, name: str) -> Usage:
    return tenancy.usage.of((await tenancy.get_tenant(name)).id)


async def test_what_requests_take_counts_for_their_tenant_on_the_loop_and_in_threads(at_each_place):
    tenancy = at_each_place
    assert tenancy.usage.total == TenantUsage().total  # creating tenants is nothing that a tenant takes
    async with client_of(make_app(tenancy)) as client:
        for path in ("/notes", "/sync/notes"):
            assert (await client.post(path, params={"text": "hello"}, headers=named("acme"))).status_code == 201
            assert (await client.get(path, headers=named("acme"))).status_code == 200
        await client.get("/nothing", headers=named("acme"))
        await client.get("/notes", headers=named("beta"))
        await client.get("/health")
    acme, beta = await usage_of(tenancy, "acme"), await usage_of(tenancy, "beta")
    assert acme.by_status == {"2xx": 4, "4xx": 1}
    assert (acme.identifier, acme.requests, acme.statements, acme.connections) == ("acme", 5, 4, 0)
    assert acme.database_seconds == 4  # a look at the clock before each statement, and one after it
    assert acme.request_seconds > acme.connection_seconds > acme.database_seconds
    assert (beta.by_status, beta.statements) == ({"2xx": 1}, 1)


async def test_a_connection_counts_while_it_is_held(at_each_place):
    tenancy = at_each_place
    async with tenancy.use("acme") as profile:
        async with profile.session() as session:
            assert tenancy.usage.of(profile.tenant.id).connections == 0  # it takes one when it needs one
            await session.scalars(select(Note))
            assert tenancy.usage.of(profile.tenant.id).connections == 1
        usage = tenancy.usage.of(profile.tenant.id)
        assert (usage.connections, usage.identifier) == (0, "acme")
        assert usage.connection_seconds > 0


async def test_it_counts_for_whose_data_it_is_and_not_for_who_asks(tenancy):
    beta = await tenancy.get_tenant("beta")
    async with tenancy.use("acme"), tenancy.lease(beta) as profile, profile.session() as session:
        await session.scalars(select(Note))
    assert (await usage_of(tenancy, "acme")).statements == 0
    usage = await usage_of(tenancy, "beta")
    assert (usage.statements, usage.identifier) == (1, None)


async def test_a_statement_that_fails_counts(tenancy):
    async with tenancy.use("acme") as profile, profile.session() as session:
        with pytest.raises(OperationalError):
            await session.execute(text("SELECT * FROM nowhere"))
    usage = await usage_of(tenancy, "acme")
    assert (usage.statements, usage.database_seconds, usage.connections) == (1, 1, 0)


async def test_many_rows_in_one_statement_are_one_statement(tenancy):
    async with tenancy.use("acme") as profile, profile.transaction() as session:
        await session.execute(
            text("INSERT INTO notes (id, text, tenant_id) VALUES (:id, '', '')"), [{"id": 1}, {"id": 2}]
        )
    assert (await usage_of(tenancy, "acme")).statements == 1


@pytest.mark.parametrize("end", ["invalidate", "detach"])
async def test_a_connection_that_never_goes_back_to_the_pool_is_not_held_for_ever(tenancy, end):
    async with tenancy.use("acme") as profile, profile.session() as session:
        connection = await session.connection()
        await connection.run_sync(lambda sync: getattr(sync, end)())
        assert tenancy.usage.total.connections == 0
        with suppress(Exception):
            await session.rollback()


async def test_an_engine_that_is_made_of_the_tenants_own_counts_too(tenancy):
    async with tenancy.use("acme") as profile, profile.session() as session:
        engine = session.bind.execution_options(logging_token="report")
    async with engine.connect() as connection:
        await connection.execute(select(Note.text))
        assert tenancy.usage.total.connections == 1
    usage = await usage_of(tenancy, "acme")
    assert (usage.statements, usage.connections) == (1, 0)


async def test_a_cancelled_request_holds_nothing(tenancy):
    async with tenancy.use("acme") as profile:
        begun = asyncio.Event()

        async def hang():
            async with profile.session() as session:
                await session.scalars(select(Note))
                begun.set()
                await asyncio.Event().wait()

        task = asyncio.create_task(hang())
        await begun.wait()
        task.cancel()
        await asyncio.wait((task,))
    usage = await usage_of(tenancy, "acme")
    assert (usage.statements, usage.connections) == (1, 0)


async def test_an_application_that_fails_is_a_5xx(tenancy):
    app = make_app(tenancy)

    @app.get("/broken")
    async def broken():
        raise LookupError

    async with client_of(app, raise_app_exceptions=False) as client:
        await client.get("/broken", headers=named("acme"))
    assert (await usage_of(tenancy, "acme")).by_status == {"5xx": 1}


async def test_what_the_limits_refuse_counts(tmp_path):
    limits = TenantLimits({}, default=Limit(rate="1/hour"))
    async with make_tenancy(tmp_path, usage=TenantUsage(), limits=limits) as tenancy:
        await tenancy.create_tenant("acme")
        async with client_of(make_app(tenancy)) as client:
            for _ in range(3):
                await client.get("/whoami", headers=named("acme"))
        assert (await usage_of(tenancy, "acme")).by_status == {"2xx": 1, "4xx": 2}


async def test_a_mounted_application_with_the_middleware_counts_once(tenancy):
    app = make_app(tenancy)
    app.router.routes.append(Mount("/inner", make_app(tenancy)))
    async with client_of(app) as client:
        assert (await client.get("/inner/whoami", headers=named("acme"))).status_code == 200
    assert (await usage_of(tenancy, "acme")).requests == 1


def test_a_websocket_counts_by_how_it_was_answered_and_takes_no_seconds(tmp_path):
    tenancy = make_tenancy(tmp_path, usage=TenantUsage())
    app = FastAPI(lifespan=tenancy.lifespan)
    app.add_middleware(TenancyMiddleware, tenancy=tenancy)

    @app.post("/tenants")
    async def sign_up():
        await tenancy.create_tenant("acme")

    @app.websocket("/open")
    async def accept(websocket: WebSocket):
        await websocket.accept()
        await websocket.close()

    @app.websocket("/closed")
    async def refuse(websocket: WebSocket):
        await websocket.close()

    with TestClient(app) as client:
        client.post("/tenants")
        with client.websocket_connect("/open", headers=named("acme")):
            pass
        with suppress(Exception), client.websocket_connect("/closed", headers=named("acme")):
            pass
    (usage,) = tenancy.usage.top(by="requests")
    assert usage.by_status == {"1xx": 1, "4xx": 1}
    assert usage.request_seconds == 0


def test_without_usage_nothing_stands_in_the_way(tmp_path):
    app = FastAPI()
    tenancy = make_tenancy(tmp_path)
    assert TenancyMiddleware(app, tenancy=tenancy).app is app
    assert tenancy.stats()["usage"] == {}


async def test_without_usage_the_engines_are_as_they_were(tmp_path):
    async with make_tenancy(tmp_path) as tenancy:
        await tenancy.create_tenant("acme")
        async with tenancy.use("acme") as profile, profile.session() as session:
            assert not {"do_execute", "set_engine_execution_options"} & vars(session.bind.dialect).keys()
            assert "raw_connection" not in vars(session.bind.sync_engine)


def test_the_first_of_the_tenants_are_told_by_what_they_take():
    usage = TenantUsage()
    for tenant_id, seconds in (("a", 1), ("b", 3), ("c", 2)):
        usage.statement(tenant_id, seconds)
    usage.hold("a")
    assert [each.tenant_id for each in usage.top(2)] == ["b", "c"]
    assert [each.tenant_id for each in usage.top(by="connections")] == ["a"]
    with pytest.raises(ValueError, match=r"choose from requests, .*connection_seconds"):
        usage.top(by="bytes")


def test_there_is_room_for_one_tenant_at_least():
    with pytest.raises(ValueError, match="at least 1"):
        TenantUsage(0)


def test_threads_lose_nothing():
    usage = TenantUsage(2)

    def work(number: int) -> None:
        for each in range(500):
            end = usage.hold(str((number + each) % 4))
            usage.statement(str(each % 3), 1)
            end()

    with ThreadPoolExecutor(4) as threads:
        list(threads.map(work, range(4)))
    assert (usage.total.statements, usage.total.database_seconds, usage.total.connections) == (2000, 2000, 0)


STEPS = st.lists(st.tuples(st.sampled_from(("statement", "hold", "return")), st.integers(0, 5)), max_size=40)


@settings(max_examples=150)
@given(STEPS, st.integers(1, 4))
def test_there_are_never_too_many_and_the_sums_stay_true(steps, room):
    usage, statements, held = TenantUsage(room), 0, []
    for step, tenant in steps:
        if step == "statement":
            usage.statement(str(tenant), 2)
            statements += 1
        elif step == "hold":
            held.append(usage.hold(str(tenant)))
        elif held:
            held.pop(tenant % len(held))()
        total = usage.total
        assert (total.statements, total.database_seconds) == (statements, 2 * statements)
        assert total.connections == len(held)
        assert usage.stats()["tenants"] <= room
        assert sum(each.statements for each in usage.top(by="statements")) + usage.other.statements == statements
    for end in held:
        end()
    assert usage.total.connections == 0


async def test_the_tenant_that_did_nothing_for_the_longest_time_leaves():
    usage = TenantUsage(2)
    for tenant_id in ("a", "b", "a", "c"):
        usage.statement(tenant_id, 1)
    assert {each.tenant_id for each in usage.top()} == {"a", "c"}
    assert usage.other.statements == 1
    assert usage.of("b").statements == 0
