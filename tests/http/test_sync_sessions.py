"""What a `def` endpoint gets from TenantSyncSession and TenantSyncTransaction: the same as an `async def` one."""

import asyncio
import sys
from pathlib import Path
from typing import Annotated, Any

import pytest
from fastapi import Depends, HTTPException
from places import PLACES, places_fixture
from sqlalchemy import select
from sqlalchemy.orm import Session
from sqlmodel import Session as SQLModelSession
from sqlmodel import select as sqlmodel_select
from sqlmodel.ext.asyncio.session import AsyncSession as SQLModelAsyncSession
from support import Hero, HeroBase, Note, add_notes, client_of, make_app, make_tenancy, named, read_notes, running

from fastapi_tenancy import (
    ConfigurationError,
    CurrentProfile,
    Tenancy,
    TenantSyncSession,
    TenantSyncTransaction,
    TenantUnavailableError,
)
from fastapi_tenancy.dependencies import tenant_sync_session
from fastapi_tenancy.multitenant import Profile

place = places_fixture([name for name in PLACES if not name.startswith("mariadb")] + ["mariadb-schema"])

HeroSession = Annotated[SQLModelSession, Depends(tenant_sync_session)]


async def test_a_thread_sees_what_a_coroutine_wrote_and_the_other_way_round(tenancy: Tenancy) -> None:
    await add_notes(tenancy, "acme", "from a coroutine")
    await add_notes(tenancy, "globex", "secret")
    async with client_of(make_app(tenancy)) as client:
        assert (await client.post("/sync/notes?text=from a thread", headers=named("acme"))).status_code == 201
        answer = await client.get("/sync/notes", headers=named("acme"))
    assert answer.json() == {"tenant": "acme", "notes": ["from a coroutine", "from a thread"]}
    assert await read_notes(tenancy, "acme") == ["from a coroutine", "from a thread"]
    assert await read_notes(tenancy, "globex") == ["secret"]


@pytest.mark.parametrize("dependency", [TenantSyncSession, TenantSyncTransaction])
async def test_an_http_exception_passes_through_and_undoes(on_sqlite: Tenancy, dependency: type) -> None:
    app = make_app(on_sqlite)

    @app.get("/gone")
    def gone(session: dependency) -> None:
        session.add(Note(text="never"))
        session.flush()
        raise HTTPException(410, "gone")

    async with client_of(app) as client:
        assert (await client.get("/gone", headers=named("acme"))).status_code == 410
    assert await read_notes(on_sqlite, "acme") == []


async def test_a_session_never_commits_by_itself(tenancy: Tenancy) -> None:
    app = make_app(tenancy)

    @app.post("/forget")
    def forget(session: TenantSyncSession) -> None:
        session.add(Note(text="lost"))
        session.flush()

    async with client_of(app) as client:
        assert (await client.post("/forget", headers=named("acme"))).status_code == 200
    assert await read_notes(tenancy, "acme") == []


async def test_a_failed_commit_is_a_500(tenancy: Tenancy) -> None:
    app = make_app(tenancy)

    @app.post("/dangling", status_code=201)
    def dangling(session: TenantSyncTransaction) -> None:
        session.add(Note(id=1, text="one"))
        session.flush()
        session.connection().execute(Note.__table__.delete())
        session.add(Note(text=None))  # violates NOT NULL when the transaction ends

    async with client_of(app, raise_app_exceptions=False) as client:
        assert (await client.post("/dangling", headers=named("acme"))).status_code == 500
    assert await read_notes(tenancy, "acme") == []


async def test_threads_of_many_tenants_at_once_mix_no_rows(tenancy: Tenancy) -> None:
    async with client_of(make_app(tenancy)) as client:

        async def one_request(number: int) -> None:
            name = ("acme", "globex")[number % 2]
            path = ("/sync/notes", "/notes")[number // 2 % 2]
            posted = await client.post(path, params={"text": f"{name}:{number}"}, headers=named(name))
            posted.raise_for_status()
            notes = (await client.get("/sync/notes", headers=named(name))).raise_for_status().json()["notes"]
            assert all(text.startswith(f"{name}:") for text in notes)

        await asyncio.gather(*(one_request(number) for number in range(40)))
        for name in ("acme", "globex"):
            assert len(await read_notes(tenancy, name)) == 20


async def test_a_thread_reaches_its_tenants_rows_only(tenancy: Tenancy) -> None:
    await add_notes(tenancy, "globex", "secret")
    async with tenancy.use("acme") as profile:

        def work() -> list[str]:
            with profile.sync_transaction() as session:
                session.execute(Note.__table__.update().values(text="overwritten"))
                return list(session.scalars(select(Note.text)))

        assert await asyncio.to_thread(work) == []
    assert await read_notes(tenancy, "globex") == ["secret"]


async def test_a_lease_holds_while_the_thread_works(tenancy: Tenancy) -> None:
    app = make_app(tenancy)
    seen: list[Profile] = []

    @app.get("/lease")
    def lease(profile: CurrentProfile, session: TenantSyncSession) -> None:
        tenancy.provider.for_tenant(profile.tenant)._profiles.remove(profile.tenant.id)
        session.scalars(select(Note)).all()
        assert not profile.closed
        seen.append(profile)

    async with client_of(app) as client:
        assert (await client.get("/lease", headers=named("acme"))).status_code == 200
    for _ in range(1000):
        if seen[0].closed:
            break
        await asyncio.sleep(0.005)
    assert seen[0].closed


async def test_a_closed_profile_opens_no_session_for_a_thread(tenancy: Tenancy) -> None:
    async with tenancy.use("acme") as profile:
        pass
    await profile.close()
    with pytest.raises(TenantUnavailableError), profile.sync_session():
        pass


async def test_sqlmodels_session_class_works(tmp_path: Path, place: dict[str, Any]) -> None:
    tenancy = make_tenancy(tmp_path, **place, metadata=HeroBase.metadata, session_class=SQLModelAsyncSession)
    app = make_app(tenancy)

    @app.post("/heroes")
    def add(name: str, session: HeroSession) -> list[str]:
        assert isinstance(session, SQLModelSession)
        session.add(Hero(name=name))
        session.commit()
        return [hero.name for hero in session.exec(sqlmodel_select(Hero)).all()]

    async with running(app) as client:
        for tenant in ("acme", "globex"):
            await tenancy.create_tenant(tenant)
            assert (await client.post(f"/heroes?name={tenant}", headers=named(tenant))).json() == [tenant]


@pytest.mark.parametrize("place", ["sqlite-basic", "postgresql-basic", "mariadb-schema"], indirect=True)
async def test_work_beyond_the_pool_gets_a_503(tmp_path: Path, place: dict[str, Any]) -> None:
    async with make_tenancy(tmp_path, **place, pool_size=1, max_overflow=0, pool_timeout=0.6) as tenancy:
        await tenancy.create_tenant("acme")
        async with tenancy.use("acme") as profile:

            def work() -> None:
                with profile.sync_session() as one, profile.sync_session() as other:
                    one.scalars(select(Note)).all()
                    other.scalars(select(Note)).all()

            with pytest.raises(TenantUnavailableError, match="pool_size") as caught:
                await asyncio.to_thread(work)
    assert caught.value.headers == {"Retry-After": "2"}


async def test_no_synchronous_driver_is_a_clear_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with make_tenancy(tmp_path) as tenancy:
        await tenancy.create_tenant("acme")
        async with tenancy.use("acme") as profile:
            monkeypatch.setitem(sys.modules, "sqlite3", None)
            with pytest.raises(ConfigurationError, match="pip install sqlite3"), profile.sync_session():
                pass


async def test_a_manager_without_synchronous_sessions_says_so(tenancy: Tenancy) -> None:
    tenant = await tenancy.get_tenant("acme")
    profile = Profile(tenant, {}, lambda: None)
    with pytest.raises(ConfigurationError, match="async def"), profile.sync_session():
        pass


def test_the_annotation_is_a_plain_session() -> None:
    assert TenantSyncSession.__origin__ is Session
