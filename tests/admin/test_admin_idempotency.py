"""A creation with an Idempotency-Key is carried out once, however often it is sent and whoever dies meanwhile."""

import asyncio
import json
import signal
import sqlite3
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from textwrap import dedent

import httpx2 as httpx
import pytest
from fastapi import FastAPI
from forking import Forking
from hypothesis import given
from hypothesis import strategies as st
from support import make_tenancy, running

from fastapi_tenancy import InMemoryTenantStore, StoreUnavailableError, Tenancy
from fastapi_tenancy.errors import InvalidHeaderError
from fastapi_tenancy.multitenant.admin import idempotency
from fastapi_tenancy.multitenant.admin.idempotency import idempotency_key

NEW = {"identifier": "acme", "name": "Acme", "settings": {"plan": "pro", "api_key": "hunter2"}}
KEY = {"Idempotency-Key": '"8e03978e-40d5-43dd-bc93"'}
OPERATOR = {"Authorization": "Bearer admin"}


class Clock:
    def __init__(self) -> None:
        self.now = datetime.now(UTC)

    def __call__(self) -> datetime:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def tenancy(tmp_path: Path, clock: Clock) -> Tenancy:
    return make_tenancy(tmp_path, now=clock)


async def create(client: httpx.AsyncClient, body=None, **headers: str) -> httpx.Response:
    return await client.post("/admin/tenants", json=body or NEW, headers={**OPERATOR, **KEY, **headers})


async def test_the_same_request_has_the_same_answer(client: httpx.AsyncClient) -> None:
    first = await create(client)
    await client.patch("/admin/tenants/acme", json={"name": "changed since"})
    again = await create(client, {"settings": {"api_key": "hunter2", "plan": "pro"}, "name": "Acme", **NEW})
    assert (first.status_code, again.status_code) == (201, 201)
    assert again.json() == first.json()
    assert [again.headers[name] for name in ("etag", "location")] == [first.headers[n] for n in ("etag", "location")]
    assert len((await client.get("/admin/tenants")).json()["items"]) == 1


async def test_without_a_key_the_second_creation_is_refused(client: httpx.AsyncClient) -> None:
    assert (await client.post("/admin/tenants", json=NEW)).status_code == 201
    assert (await client.post("/admin/tenants", json=NEW)).status_code == 409


async def test_the_same_key_with_another_body_is_refused(client: httpx.AsyncClient) -> None:
    await create(client)
    assert (await create(client, {**NEW, "name": "Other"})).status_code == 422
    assert (await create(client, {**NEW, "identifier": "other"})).status_code == 422


async def test_a_key_is_its_callers_own(client: httpx.AsyncClient) -> None:
    await create(client, X_Caller="ada")
    mine = await create(client, **{"X-Caller": "ada"}, body={**NEW, "identifier": "a"})
    theirs = await create(client, **{"X-Caller": "bob"}, body={**NEW, "identifier": "b"})
    again = await create(client, **{"X-Caller": "ada"}, body={**NEW, "identifier": "a"})
    assert (mine.status_code, theirs.status_code, again.json()) == (201, 201, mine.json())


async def test_while_it_is_being_carried_out_the_second_is_told_to_come_back(
    client: httpx.AsyncClient, held_up
) -> None:
    creation = held_up()
    first = asyncio.create_task(create(client))
    await creation.reached.wait()
    early = await create(client)
    other = await create(client, {**NEW, "name": "Other"})
    creation.go_on.set()
    assert (await first).status_code == 201
    assert (early.status_code, other.status_code) == (409, 422)
    assert 1 <= int(early.headers["retry-after"]) <= 10
    assert (await create(client)).json() == (await first).json()
    assert creation.times == 1


async def test_of_many_at_once_one_is_carried_out(client: httpx.AsyncClient) -> None:
    answers = await asyncio.gather(*(create(client) for _ in range(8)))
    assert {answer.status_code for answer in answers} <= {201, 409}
    assert len({answer.text for answer in answers if answer.status_code == 201}) == 1
    assert (await create(client)).status_code == 201


async def test_another_worker_and_the_next_process_know_it(tmp_path: Path, admin_app, client) -> None:
    first = await create(client)
    async with running(admin_app(make_tenancy(tmp_path))) as worker:
        assert (await create(worker)).json() == first.json()


async def test_a_creation_that_goes_on_in_the_background_is_answered_by_its_key(client, held_up) -> None:
    creation = held_up()
    accepted = await create(client, Prefer="respond-async")
    early = await create(client, Prefer="respond-async")
    creation.go_on.set()
    while (await client.get("/admin/tenants/acme")).json()["status"] != "active":
        await asyncio.sleep(0)
    while (late := await create(client)).status_code == 409:
        await asyncio.sleep(0)
    assert (accepted.status_code, early.status_code, late.status_code) == (202, 409, 201)
    assert late.json()["id"] == accepted.json()["id"]


async def test_a_failure_leaves_the_key_free(client: httpx.AsyncClient, tenancy: Tenancy, monkeypatch) -> None:
    await client.post("/admin/tenants", json={"identifier": "acme"})
    assert (await create(client)).status_code == 409
    await client.delete("/admin/tenants/acme?drop_data=true")

    async def fails(_):
        raise StoreUnavailableError("away")

    monkeypatch.setattr(tenancy.provider.provide({}), "create_tenant", fails)
    assert (await create(client)).status_code == 503
    monkeypatch.undo()
    assert (await create(client)).status_code == 201


async def test_an_answer_is_kept_for_a_day_and_then_forgotten(client, tenancy: Tenancy, tmp_path, clock) -> None:
    first = await create(client)
    clock.now += timedelta(hours=24)
    assert (await create(client)).json() == first.json()
    clock.now += timedelta(seconds=1)
    assert (await create(client)).status_code == 409
    await create(client, {**NEW, "identifier": "other"}, **{"Idempotency-Key": "other"})
    assert rows(tmp_path) == 1
    clock.now += timedelta(hours=26)
    await create(client, {**NEW, "identifier": "third"}, **{"Idempotency-Key": "third"})
    assert rows(tmp_path) == 1


def ask(folder: Path, what: str):
    connection = sqlite3.connect(folder / "tenancy.db")
    rows = connection.execute(f"SELECT {what} FROM tenancy_idempotency").fetchall()
    connection.close()
    return rows


def rows(folder: Path) -> int:
    return ask(folder, "count(*)")[0][0]


def last_heard_of(folder: Path) -> str:
    return ask(folder, "created_at")[0][0]


async def test_neither_the_key_nor_a_secret_is_stored_with_it(tmp_path: Path, admin_app) -> None:
    secret = {"encryption_keys": ["A" * 43], "secret_settings": ["api_key"]}
    async with running(admin_app(make_tenancy(tmp_path, **secret))) as client:
        assert (await create(client)).status_code == 201
    stored = str(ask(tmp_path, "*"))
    assert "acme" in stored
    assert "hunter2" not in stored
    assert "8e03978e" not in stored


async def test_a_malformed_key_is_refused(client: httpx.AsyncClient) -> None:
    for key in ("", " ", '"open', '""', "two words", "a,b", '"a";x=1', "ü", "x" * 256, '"\\x"'):
        headers = [*OPERATOR.items(), ("Idempotency-Key", key.encode())]
        answer = await client.post("/admin/tenants", json=NEW, headers=headers)
        assert (key, answer.status_code) == (key, 400)


async def test_two_keys_are_refused(client: httpx.AsyncClient) -> None:
    headers = [*OPERATOR.items(), *KEY.items(), *KEY.items()]
    assert (await client.post("/admin/tenants", json=NEW, headers=headers)).status_code == 400


def test_a_key_may_be_sent_without_its_quotes() -> None:
    assert idempotency_key(["8e03978e"]) == idempotency_key(['"8e03978e"']) == "8e03978e"


@given(st.text(st.characters(min_codepoint=32, max_codepoint=126), min_size=1, max_size=64))
def test_any_key_in_quotes_is_read_as_it_was_meant(key: str) -> None:
    escaped = key.replace("\\", "\\\\").replace('"', '\\"')
    assert idempotency_key([f'"{escaped}"']) == key


@given(st.text(st.characters(codec="latin-1")))
def test_no_header_is_an_internal_error(text: str) -> None:
    with suppress(InvalidHeaderError):
        assert idempotency_key([text])


async def test_a_store_that_keeps_no_keys_refuses_them(tmp_path: Path, admin_app) -> None:
    class OnlyTenants:
        """A store that knows nothing but tenants."""

        def __init__(self, store) -> None:
            for name in ("open", "close", "add", "get", "get_by_identifier", "page", "save", "remove", "retained"):
                setattr(self, name, getattr(store, name))

    async with running(admin_app(make_tenancy(tmp_path, store=OnlyTenants(InMemoryTenantStore())))) as client:
        assert (await create(client)).status_code == 400
        assert (await client.post("/admin/tenants", json=NEW, headers=OPERATOR)).status_code == 201


async def test_a_long_request_shows_that_it_is_alive(client, tmp_path, held_up, clock: Clock, monkeypatch) -> None:
    monkeypatch.setattr(idempotency, "_HEARTBEAT", 0.01)
    creation = held_up()
    first = asyncio.create_task(create(client))
    await creation.reached.wait()
    for _ in range(3):
        clock.now += timedelta(seconds=9)
        while last_heard_of(tmp_path) != clock.now.replace(tzinfo=None).isoformat(" "):
            await asyncio.sleep(0.005)
    assert (await create(client)).status_code == 409
    creation.go_on.set()
    assert (await first).status_code == 201
    assert creation.times == 1


KILLED = """
    import asyncio, json, os, signal, sys
    from pathlib import Path
    from conftest import make_admin_app
    from support import make_tenancy, running
    from fastapi_tenancy.multitenant.databases.sqlite_file import SQLiteFiles

    step, folder = sys.argv[1], Path(sys.argv[2])

    async def die(*_, **__):
        os.kill(os.getpid(), signal.SIGKILL)

    async def main():
        tenancy = make_tenancy(folder)
        if step == "reserved":
            SQLiteFiles.create = die
        async with running(make_admin_app(tenancy)) as client:
            if step == "created":
                real = tenancy.store.change_request
                async def dies_at_the_end(before, after):
                    return await (real if after.status is None else die)(before, after)
                tenancy.store.change_request = dies_at_the_end
            await client.post("/admin/tenants", **json.loads(sys.argv[3]))

    asyncio.run(main())
"""


@pytest.mark.parametrize("step", ["reserved", "created"])
async def test_what_was_killed_is_carried_out_again_and_makes_one_tenant(
    tmp_path: Path, admin_app, forked: Forking, step: str
) -> None:
    request = json.dumps({"json": NEW, "headers": {**OPERATOR, **KEY}})
    process = forked.run(dedent(KILLED), step, str(tmp_path), request, paths=(str(Path(__file__).parent),))
    assert process.returncode == -signal.SIGKILL, process.stderr
    clock = Clock()
    tenancy = make_tenancy(tmp_path, now=clock)
    async with running(admin_app(tenancy)) as client:
        early = await create(client)
        clock.now += timedelta(seconds=11)
        late = await create(client)
        again = await create(client)
        kept = (await client.get("/admin/tenants", headers=OPERATOR)).json()["items"]
    assert (early.status_code, late.status_code, again.json()) == (409, 201, late.json())
    assert [each["id"] for each in kept] == [late.json()["id"]]
    assert len(list(tmp_path.glob("tenants/*.db"))) == 1


async def test_a_process_that_was_taken_for_dead_makes_no_second_tenant(tmp_path: Path, admin_app, held_up) -> None:
    clock = Clock()
    tenancy, other = make_tenancy(tmp_path, now=clock), make_tenancy(tmp_path, now=clock)
    creation = held_up(tenancy)
    app: FastAPI = admin_app(tenancy)
    async with running(app) as client, running(admin_app(other)) as worker:
        first = asyncio.create_task(create(client))
        await creation.reached.wait()
        clock.now += timedelta(seconds=11)
        second = await create(worker)
        creation.go_on.set()
        ended = await first
        again = await create(worker)
        kept = (await worker.get("/admin/tenants", headers=OPERATOR)).json()["items"]
    assert (second.status_code, ended.status_code >= 400, again.json()) == (201, True, second.json())
    assert [each["id"] for each in kept] == [second.json()["id"]]
