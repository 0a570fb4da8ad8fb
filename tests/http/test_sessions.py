"""What an endpoint gets from TenantSession, TenantTransaction and CurrentProfile."""

from pathlib import Path
from typing import Annotated, Any

import pytest
from fastapi import Depends, HTTPException
from fastapi.responses import JSONResponse
from sqlalchemy import select
from sqlmodel import select as sqlmodel_select
from sqlmodel.ext.asyncio.session import AsyncSession as SQLModelSession
from support import Hero, HeroBase, Note, add_notes, client_of, make_app, make_tenancy, named, read_notes, running

from fastapi_tenancy import CurrentProfile, Tenancy, TenantSession, TenantTransaction
from fastapi_tenancy.dependencies import tenant_session

HeroSession = Annotated[SQLModelSession, Depends(tenant_session)]


class Refused(Exception):
    pass


@pytest.mark.parametrize("dependency", [TenantSession, TenantTransaction])
async def test_an_http_exception_passes_through(on_sqlite: Tenancy, dependency: type) -> None:
    app = make_app(on_sqlite)

    @app.get("/gone")
    async def gone(session: dependency) -> None:
        session.add(Note(text="never"))
        raise HTTPException(410, "gone", headers={"X-Why": "test"})

    async with client_of(app) as client:
        answer = await client.get("/gone", headers=named("acme"))
    assert (answer.status_code, answer.json(), answer.headers["x-why"]) == (410, {"detail": "gone"}, "test")
    assert await read_notes(on_sqlite, "acme") == []


@pytest.mark.parametrize("dependency", [TenantSession, TenantTransaction])
async def test_an_exception_of_the_application_passes_through(on_sqlite: Tenancy, dependency: type) -> None:
    app = make_app(on_sqlite)

    @app.exception_handler(Refused)
    async def refused(request, error):
        return JSONResponse({"handled": True}, 418)

    @app.get("/refuse")
    async def refuse(session: dependency) -> None:
        raise Refused

    async with client_of(app) as client:
        assert (await client.get("/refuse", headers=named("acme"))).status_code == 418


async def test_a_session_never_commits_by_itself(tenancy: Tenancy) -> None:
    app = make_app(tenancy)

    @app.post("/forget")
    async def forget(session: TenantSession) -> None:
        session.add(Note(text="lost"))
        await session.flush()

    async with client_of(app) as client:
        assert (await client.post("/forget", headers=named("acme"))).status_code == 200
    assert await read_notes(tenancy, "acme") == []


async def test_a_transaction_commits_before_the_response_is_sent(tenancy: Tenancy) -> None:
    app = make_app(tenancy)
    committed: list[list[str]] = []

    async def reads_on_response(scope, receive, send):
        async def sending(message):
            if message["type"] == "http.response.start" and scope["path"] == "/notes":
                committed.append(await read_notes(tenancy, "acme"))
            await send(message)

        await app(scope, receive, sending)

    async with client_of(reads_on_response) as client:
        await client.post("/notes?text=kept", headers=named("acme"))
    assert committed == [["kept"]]


async def test_a_failed_commit_is_a_500(tenancy: Tenancy) -> None:
    app = make_app(tenancy)

    @app.post("/dangling")
    async def dangling(session: TenantTransaction) -> str:
        session.add(Note(text="no such folder", folder_id=12345))
        return "done"

    async with client_of(app, raise_app_exceptions=False) as client:
        assert (await client.post("/dangling", headers=named("acme"))).status_code == 500
    assert await read_notes(tenancy, "acme") == []


async def test_objects_can_be_returned_after_the_commit(tenancy: Tenancy) -> None:
    app = make_app(tenancy)

    @app.post("/returned")
    async def returned(session: TenantTransaction) -> dict[str, str]:
        note = Note(text="kept")
        session.add(note)
        await session.flush()
        return note.__dict__ and {"text": note.text}

    async with client_of(app) as client:
        assert (await client.post("/returned", headers=named("acme"))).json() == {"text": "kept"}


async def test_the_profile_overlays_the_defaults_with_the_tenants_settings(tmp_path: Path, manager_type: str) -> None:
    tenancy = make_tenancy(tmp_path, manager_type=manager_type, default_settings={"plan": "free", "seats": 3})
    app = make_app(tenancy)

    @app.get("/settings")
    async def settings(profile: CurrentProfile) -> dict[str, object]:
        return {"tenant": profile.tenant.identifier, **profile.settings}

    async with running(app) as client:
        await tenancy.create_tenant("acme", settings={"plan": "pro"})
        before = (await client.get("/settings", headers=named("acme"))).json()
        await tenancy.update_tenant("acme", settings={"plan": "max"})
        after = (await client.get("/settings", headers=named("acme"))).json()
    assert before == {"tenant": "acme", "plan": "pro", "seats": 3}
    assert after == {"tenant": "acme", "plan": "max", "seats": 3}


async def test_sqlmodels_session_class_works(tmp_path: Path, place: dict[str, Any]) -> None:
    tenancy = make_tenancy(tmp_path, **place, metadata=HeroBase.metadata, session_class=SQLModelSession)
    app = make_app(tenancy)

    @app.post("/heroes")
    async def add(name: str, session: HeroSession) -> list[str]:
        session.add(Hero(name=name))
        await session.commit()
        return [hero.name for hero in await session.exec(sqlmodel_select(Hero))]

    async with running(app) as client:
        await tenancy.create_tenant("acme")
        await tenancy.create_tenant("globex")
        assert (await client.post("/heroes?name=Ada", headers=named("acme"))).json() == ["Ada"]
        assert (await client.post("/heroes?name=Bob", headers=named("globex"))).json() == ["Bob"]


async def test_two_requests_of_one_tenant_never_share_a_connection(tenancy: Tenancy) -> None:
    async with tenancy.use("acme") as profile, profile.session() as one, profile.session() as two:
        raw = [await (await session.connection()).get_raw_connection() for session in (one, two)]
        assert raw[0].driver_connection is not raw[1].driver_connection


@pytest.mark.parametrize("place", ["sqlite-basic", "postgresql-basic", "mariadb-basic"], indirect=True)
async def test_work_beyond_the_pool_gets_a_503_and_not_a_drivers_error(tmp_path: Path, place: dict[str, Any]) -> None:
    tenancy = make_tenancy(tmp_path, **place, pool_size=1, max_overflow=0, pool_timeout=0.6)
    async with running(make_app(tenancy)) as client:
        await tenancy.create_tenant("acme")
        async with tenancy.use("acme") as profile, profile.session() as busy:
            await busy.scalars(select(Note))
            answer = await client.get("/notes", headers=named("acme"))
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "2")


async def test_a_session_that_reads_and_then_writes_does_not_fail_because_another_wrote(tenancy: Tenancy) -> None:
    async with tenancy.use("acme") as profile, profile.session() as mine:
        await mine.scalars(select(Note))
        await add_notes(tenancy, "acme", "meanwhile")
        mine.add(Note(text="mine"))
        await mine.commit()
    assert await read_notes(tenancy, "acme") == ["meanwhile", "mine"]


async def test_a_savepoint_rolls_back_alone(tenancy: Tenancy) -> None:
    async with tenancy.use("acme") as profile, profile.session() as session:
        nested = await session.begin_nested()
        session.add(Note(text="inner"))
        await session.flush()
        await nested.rollback()
        session.add(Note(text="outer"))
        await session.commit()
    assert await read_notes(tenancy, "acme") == ["outer"]


async def test_a_rollback_undoes_everything_also_after_a_savepoint(tenancy: Tenancy) -> None:
    async with tenancy.use("acme") as profile, profile.session() as session:
        async with session.begin_nested():
            session.add(Note(text="inner"))
        await session.rollback()
    assert await read_notes(tenancy, "acme") == []
