"""Tenants on servers: looked at in one query, migrated wherever they are kept."""

from collections.abc import Iterator
from typing import Any

import pytest
from fleet.migrating.conftest import NAMES
from fleet.migrating.test_migrating import ROWS
from places import place_named
from servers import rows_of
from sqlalchemy import Engine, event

from fastapi_tenancy import Tenancy


@pytest.fixture
def queries() -> Iterator[list[str]]:
    """What is sent to databases from threads, where heads are looked at."""
    sent: list[str] = []

    def note(_connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        sent.append(statement)

    event.listen(Engine, "before_cursor_execute", note)
    yield sent
    event.remove(Engine, "before_cursor_execute", note)


@pytest.fixture(params=["postgresql-schema", "postgresql-basic", "postgresql-rls", "mariadb-basic", "mariadb-schema"])
def server(request: pytest.FixtureRequest) -> Iterator[dict[str, Any]]:
    with place_named(request.param, request) as settings:
        yield settings


async def created(tenancy: Tenancy, *names: str) -> None:
    for name in names:
        await tenancy.create_tenant(name)


async def test_everybody_is_migrated_wherever_tenants_are_kept(
    fleet: Any, threads: Any, server: dict[str, Any]
) -> None:
    async with fleet.tenancy(ROWS, **server) as tenancy:
        await created(tenancy, "acme", "globex")
        fleet.advance()
        report = await tenancy.migrate()
        assert (sorted(report.migrated), report.failed, report.skipped) == (["acme", "globex"], [], [])
        status = await tenancy.migration_status()
        assert (status.head, status.current, status.behind) == ("bb20", 2, [])


async def test_a_new_table_of_all_tenants_is_guarded_before_anybody_is_served(
    fleet: Any, request: pytest.FixtureRequest
) -> None:
    with place_named("postgresql-rls", request) as settings:
        async with fleet.tenancy(ROWS, **settings) as tenancy:
            await created(tenancy, "acme")
            url = settings["database_url"]
            fleet.advance('op.execute("DROP POLICY tenancy_isolation ON notes")')
            assert (await tenancy.migrate()).migrated == ["acme"]
            found = rows_of(url, "SELECT policyname FROM pg_policies WHERE tablename = 'notes'")
            assert found == [("tenancy_isolation",)]


async def test_schemas_are_looked_at_in_one_query(
    fleet: Any, request: pytest.FixtureRequest, queries: list[str]
) -> None:
    with place_named("postgresql-schema", request) as settings:
        async with fleet.tenancy(**settings) as tenancy:
            await created(tenancy, *NAMES)
            queries.clear()
            assert (await tenancy.migrate()).migrated == []
            assert len([statement for statement in queries if "alembic_version" in statement]) == 1


async def test_what_a_killed_process_began_is_ended_by_the_server(fleet: Any, request: pytest.FixtureRequest) -> None:
    with place_named("postgresql-schema", request) as settings:
        async with fleet.tenancy(**settings) as tenancy:
            await created(tenancy, "acme")
            fleet.advance('op.execute("SELECT pg_sleep(60)")')
            (failure,) = (await tenancy.migrate(timeout=1)).failed
            assert failure.error == "it took longer than 1 s, and was ended"
            fleet.advance()
            assert (await tenancy.migrate(timeout=20)).migrated == ["acme"]
            asleep = "SELECT query FROM pg_stat_activity WHERE query LIKE 'SELECT pg_sleep%' AND state = 'active'"
            assert rows_of(settings["database_url"], asleep) == []
