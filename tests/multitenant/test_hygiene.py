"""Nothing of a session is left on a connection that goes back to its pool."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from servers import new_database
from sqlalchemy import func, select, text
from support import Note, make_tenancy

from fastapi_tenancy import IsolationError, Tenancy
from fastapi_tenancy.multitenant import Profile

# What leaves something behind → what tells whether it is still there, and the answer of a new connection.
TRACES = {
    "a setting": ("SET statement_timeout = 12345", "SHOW statement_timeout", "0"),
    "a setting of one's own": (
        "SELECT set_config('app.secret', 'acme', false)",
        "SELECT coalesce(current_setting('app.secret', true), '')",
        "",
    ),
    "a role": ("SET ROLE pg_monitor", "SELECT current_user = session_user", True),
    "a temporary table": ("CREATE TEMP TABLE leak (a int)", "SELECT count(*) FROM pg_class WHERE relname = 'leak'", 0),
    "an advisory lock": (
        "SELECT pg_advisory_lock(7)",
        "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND objid = 7",
        0,
    ),
    "a search path": ("SET search_path = pg_temp", "SELECT current_setting('search_path') = 'pg_temp'", False),
    "a prepared statement": (
        "PREPARE leak AS SELECT 1",
        "SELECT count(*) FROM pg_prepared_statements WHERE from_sql",
        0,
    ),
    "a cursor": (
        "DECLARE leak CURSOR WITH HOLD FOR SELECT 1",
        "SELECT count(*) FROM pg_cursors WHERE name = 'leak'",
        0,
    ),
    "a channel": ("LISTEN leak", "SELECT count(*) FROM pg_listening_channels()", 0),
}


@pytest.fixture(scope="module", params=["basic", "shared-profile"])
async def one_connection(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, postgresql_url: str
) -> AsyncIterator[Tenancy]:
    """A tenancy on PostgreSQL whose tenants have one connection, which in `shared-profile` passes between them."""
    url = new_database(postgresql_url)
    async with make_tenancy(
        tmp_path_factory.mktemp("hygiene"), database_url=url, manager_type=request.param, pool_size=1, max_overflow=0
    ) as tenancy:
        await tenancy.create_tenant("acme")
        await tenancy.create_tenant("globex")
        yield tenancy


async def asked(profile: Profile, query: str) -> Any:
    """What the driver's own connection answers, which nothing guards."""
    async with profile.session() as session:
        raw = await (await session.connection()).get_raw_connection()
        cursor = await raw.driver_connection.execute(query)
        return (await cursor.fetchone())[0]


async def in_one_session(profile: Profile, *queries: Any, commit: bool = True) -> Any:
    async with profile.session() as session:
        for query in queries:
            result = await session.execute(text(query) if isinstance(query, str) else query)
        answer = result.scalar() if getattr(result, "returns_rows", True) else None
        if commit:
            await session.commit()
    return answer


@pytest.mark.parametrize("trace", TRACES)
async def test_the_next_session_finds_no(one_connection: Tenancy, trace: str) -> None:
    leaves, tells, clean = TRACES[trace]
    async with one_connection.use("acme") as profile:
        before = await asked(profile, "SELECT pg_backend_pid()")
        with suppress(IsolationError):  # where connections pass between tenants, some of it is refused to begin with
            await in_one_session(profile, leaves)
    for name in ("acme", "globex"):
        async with one_connection.use(name) as profile:
            assert await asked(profile, tells) == clean
    async with one_connection.use("acme") as profile:
        assert await asked(profile, "SELECT pg_backend_pid()") == before  # cleaned, not replaced


async def test_a_setting_that_a_function_makes_is_not_left(one_connection: Tenancy) -> None:
    async with one_connection.use("acme") as profile:
        with suppress(IsolationError):
            await in_one_session(profile, select(func.set_config("app.secret", "acme", False)))
    async with one_connection.use("globex") as profile:
        assert not await asked(profile, "SELECT current_setting('app.secret', true)")


async def test_a_thread_leaves_nothing_either(one_connection: Tenancy) -> None:
    async with one_connection.use("acme") as profile:

        def work() -> str:
            with profile.sync_session() as session:
                session.execute(text("SET statement_timeout = 12345"))
                session.commit()
            with profile.sync_session() as session:
                return str(session.scalar(text("SHOW statement_timeout")))

        assert await asyncio.to_thread(work) == "0"


async def test_a_session_that_is_cancelled_leaves_nothing(one_connection: Tenancy) -> None:
    async with one_connection.use("acme") as profile:
        task = asyncio.create_task(in_one_session(profile, "SET app.secret = 'acme'", "SELECT pg_sleep(60)"))
        await asyncio.sleep(0.1)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        assert not await asked(profile, "SELECT current_setting('app.secret', true)")


async def test_what_the_orm_does_costs_no_cleaning(one_connection: Tenancy) -> None:
    cleaned = []
    async with one_connection.use("acme") as profile:
        async with profile.transaction() as session:
            session.add(Note(text="one"))
            await session.scalars(select(Note).where(func.lower(Note.text) == "one").order_by(func.count().over()))
            connection = await session.connection()
            assert "tenancy_traces" not in connection.sync_connection.info
        cleaned.append(await in_one_session(profile, select(func.count()).select_from(Note)))
    assert cleaned == [1]


@pytest.mark.parametrize(
    "leaves", ["CREATE TEMP TABLE leak (a int)", "ATTACH ':memory:' AS leak", "PRAGMA foreign_keys=OFF"]
)
async def test_the_next_session_on_sqlite_finds_nothing(tmp_path: Path, leaves: str) -> None:
    async with make_tenancy(tmp_path, pool_size=1, max_overflow=0) as tenancy:
        await tenancy.create_tenant("acme")
        async with tenancy.use("acme") as profile:
            await in_one_session(profile, leaves, commit=False)
            async with profile.session() as session:
                databases = [row.name for row in await session.execute(text("PRAGMA database_list"))]
                keys = await session.scalar(text("PRAGMA foreign_keys"))
                temporary = await session.scalar(text("SELECT count(*) FROM temp.sqlite_schema"))
    assert (set(databases) - {"temp"}, keys, temporary) == ({"main"}, 1, 0)


async def test_the_next_session_on_mariadb_finds_nothing(tmp_path: Path, mysql_url: str) -> None:
    url = new_database(mysql_url)
    async with make_tenancy(tmp_path, database_url=url, pool_size=1, max_overflow=0) as tenancy:
        await tenancy.create_tenant("acme")
        async with tenancy.use("acme") as profile:
            await in_one_session(profile, "SET @secret = 'acme'", "SELECT GET_LOCK('leak', 0)")
            assert await in_one_session(profile, "SELECT @secret") is None
            assert await in_one_session(profile, "SELECT IS_FREE_LOCK('leak')") == 1
