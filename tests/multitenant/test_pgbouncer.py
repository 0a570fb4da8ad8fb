"""Everything works by way of a PgBouncer that hands out connections by the transaction."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from places import POOLED_PLACES, place_named, places_fixture
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError
from support import CONTRACT, add_notes, make_app, make_tenancy, named, running

from fastapi_tenancy import Tenancy
from fastapi_tenancy.testing import ManagerContract

place = places_fixture(POOLED_PLACES)


@pytest.mark.parametrize("place", ["pgbouncer-basic", "pgbouncer-schema"], indirect=True)
class TestPooled(ManagerContract):
    """The contract of managers, with what has to be said in each transaction, and with databases that come and go."""

    @pytest.fixture
    async def tenancy(self, tmp_path: Path, place: dict[str, Any]) -> AsyncIterator[Tenancy]:
        async with make_tenancy(tmp_path, **CONTRACT, **place) as tenancy:
            yield tenancy


async def test_requests_of_many_tenants_at_once_mix_no_rows(tmp_path: Path, place: dict[str, Any]) -> None:
    tenancy = make_tenancy(tmp_path, **place)
    names = [f"tenant-{number}" for number in range(6)]
    async with running(make_app(tenancy)) as client:
        for name in names:
            await tenancy.create_tenant(name)

        async def one_request(number: int) -> None:
            name = names[number % 6]
            path = ("/notes", "/sync/notes")[number // 6 % 2]
            (await client.post(path, params={"text": f"{name}:{number}"}, headers=named(name))).raise_for_status()
            notes = (await client.get(path, headers=named(name))).raise_for_status().json()["notes"]
            assert all(text.startswith(f"{name}:") for text in notes)

        await asyncio.gather(*(one_request(number) for number in range(60)))
        for name in names:
            assert len((await client.get("/notes", headers=named(name))).json()["notes"]) == 10


async def test_sql_text_with_bare_names_finds_no_table_of_public(
    tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    with place_named("pgbouncer-schema", request) as place:
        async with make_tenancy(tmp_path, **place) as tenancy:
            await tenancy.create_tenant("acme")
            await add_notes(tenancy, "acme", "mine")
            async with tenancy.use("acme") as profile, profile.session() as session:
                for query in ("SELECT text FROM notes", "SELECT identifier FROM tenancy_tenants"):
                    with pytest.raises(DBAPIError, match="does not exist"):
                        await session.scalars(text(query))
                    await session.rollback()


async def test_sql_text_finds_the_tenants_tables_where_that_is_wanted(
    tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    with place_named("pgbouncer-schema", request) as place:
        async with make_tenancy(tmp_path, **place, tenant_search_path=True) as tenancy:
            for name in ("acme", "globex"):
                await tenancy.create_tenant(name)
                await add_notes(tenancy, name, f"of {name}")
            for name in ("acme", "globex", "acme"):
                async with tenancy.use(name) as profile, profile.session() as session:
                    for _ in range(2):
                        assert list(await session.scalars(text("SELECT text FROM notes"))) == [f"of {name}"]
                        await session.commit()
