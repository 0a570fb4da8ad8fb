"""Many tenants at once on a PostgreSQL with few connections, where requests fail in every way."""

import asyncio
import gc
import random
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI
from places import place_named, places_fixture
from servers import rows_of
from sqlalchemy import func, make_url, select
from sqlalchemy.exc import DBAPIError
from starlette.requests import Request
from starlette.responses import JSONResponse
from support import Note, make_app, make_tenancy, named, read_notes, running

from fastapi_tenancy import Tenancy, TenantSession, TenantUnavailableError

TENANTS = [f"tenant-{number}" for number in range(20)]
IDLE_IN_TRANSACTION = "SELECT count(*) FROM pg_stat_activity WHERE state LIKE 'idle in transaction%'"


place = places_fixture(["postgresql-schema", "postgresql-rls", "postgresql-row", "postgresql-basic"])


class Boom(Exception):
    pass


def app_that_fails(tenancy: Tenancy) -> FastAPI:
    app = make_app(tenancy)

    @app.exception_handler(Boom)
    async def boomed(_request: Request, _error: Exception) -> JSONResponse:
        return JSONResponse({}, 418)

    @app.exception_handler(DBAPIError)
    async def failed(_request: Request, error: Exception) -> JSONResponse:
        return JSONResponse({"error": str(error)}, 504)

    @app.post("/boom")
    async def boom(session: TenantSession) -> None:
        session.add(Note(text="never"))
        await session.flush()
        raise Boom

    @app.post("/twice")
    async def twice(text: str, session: TenantSession) -> list[str]:
        session.add(Note(text=text))
        await session.commit()
        found = list(await session.scalars(select(Note.text)))
        await session.rollback()
        return found + list(await session.scalars(select(Note.text)))

    @app.get("/slow")
    async def slow(session: TenantSession) -> None:
        await session.execute(select(func.pg_sleep(30), Note.text))
        await session.execute(select(func.pg_sleep(30)))

    return app


async def test_mixed_requests_on_three_connections_mix_no_rows_and_leave_nothing(
    tmp_path: Path, place: dict[str, Any]
) -> None:
    requests = 4000 if place.get("shared_isolation") is None and place["manager_type"] == "shared-profile" else 200
    admin = place["database_url"]
    limits = {"connection_budget": 24, "pool_size": 3, "max_overflow": 0, "pool_timeout": 60, "profile_cache_size": 5}
    with_time_out = make_url(admin).update_query_dict({"options": "-c statement_timeout=1500"})
    tenancy = make_tenancy(tmp_path, **{**place, **limits, "database_url": with_time_out})
    rng = random.Random(1)
    written: dict[str, Counter[str]] = {name: Counter() for name in TENANTS}
    answers: Counter[int] = Counter()
    slots = asyncio.Semaphore(40)

    async def one_request(client: Any, number: int) -> None:
        name, kind = (
            rng.choice(TENANTS),
            rng.choices(("get", "post", "twice", "boom", "sync", "slow", "cancel"), WEIGHTS)[0],
        )
        note = f"{name}:{number}"
        async with slots:
            if kind == "post" or kind == "twice":
                answer = await client.post(
                    {"post": "/notes", "twice": "/twice"}[kind], params={"text": note}, headers=named(name)
                )
                assert answer.status_code in (200, 201), answer.text
                written[name][note] += 1
            elif kind == "cancel":
                task = asyncio.create_task(client.get("/notes", headers=named(name)))
                await asyncio.sleep(rng.random() * 0.01)
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)
                return
            elif kind == "boom":
                answer = await client.post("/boom", headers=named(name))
            else:
                path = {"get": "/notes", "sync": "/sync/notes", "slow": "/slow"}[kind]
                answer = await client.get(path, headers=named(name))
            answers[answer.status_code] += 1
            found = answer.json()
            for seen in found if kind == "twice" else found.get("notes", ()):
                assert seen.startswith(f"{name}:")

    async with running(app_that_fails(tenancy)) as client:
        for name in TENANTS:
            await tenancy.create_tenant(name)
        await asyncio.gather(*(one_request(client, number) for number in range(requests)))
        for name in TENANTS:
            notes = (await client.get("/notes", headers=named(name))).json()["notes"]
            assert Counter(notes) == written[name]
        assert set(answers) == {200, 201, 418, 504}
        assert rows_of(admin, IDLE_IN_TRANSACTION) == [(0,)]
        (server,) = tenancy.stats()["servers"].values()
        assert (server["open"] <= server["limit"], server["waiting"]) == (True, 0)


WEIGHTS = (50, 25, 8, 6, 8, 0.5, 6)


async def test_60_tenants_on_a_server_with_40_connections_get_rows_or_a_503(
    tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    with place_named("postgresql-basic", request) as place:
        limits = {
            "connection_budget": 30,
            "profile_cache_size": 10,
            "pool_size": 2,
            "max_overflow": 2,
            "pool_timeout": 5,
        }
        seen = 0
        names = [f"tenant-{number}" for number in range(60)]
        async with make_tenancy(tmp_path, **{**place, **limits}) as tenancy:
            for name in names:
                await tenancy.create_tenant(name)
            outcomes: Counter[str] = Counter()

            def in_a_thread(profile: Any, name: str) -> None:
                with profile.sync_transaction() as session:
                    session.add(Note(text=name))
                    session.flush()
                    assert set(session.scalars(select(Note.text))) == {name}

            async def work(number: int) -> None:
                nonlocal seen
                rng = random.Random(number)
                for _ in range(3):
                    name = rng.choice(names)
                    try:
                        async with tenancy.use(name) as profile:
                            if number % 2:
                                await asyncio.to_thread(in_a_thread, profile, name)
                                continue
                            async with profile.transaction() as session:
                                session.add(Note(text=name))
                                await session.flush()
                                assert set(await session.scalars(select(Note.text))) == {name}
                                (server,) = tenancy.stats()["servers"].values()
                                seen = max(seen, server["open"])
                        outcomes["rows"] += 1
                    except TenantUnavailableError as refused:
                        outcomes[f"{refused.status_code} {refused.headers}"] += 1

            gc.disable()
            try:
                await asyncio.gather(*(work(number) for number in range(60)))
            finally:
                gc.enable()
            assert outcomes["rows"] > 50
            assert set(outcomes) <= {"rows", "503 {'Retry-After': '2'}"}
            assert seen <= 30


async def test_applications_that_start_at_once_make_the_tables_once(tmp_path: Path, place: dict[str, Any]) -> None:
    applications = [make_tenancy(tmp_path, **place) for _ in range(6)]
    await asyncio.gather(*(application.__aenter__() for application in applications))
    await applications[0].create_tenant("acme")
    assert [await read_notes(application, "acme") for application in applications] == [[]] * 6
    await asyncio.gather(*(application.__aexit__(None, None, None) for application in applications))
