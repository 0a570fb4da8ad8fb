"""SQL text with bare names finds nothing, or, where it was asked for, the tenant's own tables in every transaction."""

from collections.abc import AsyncIterator
from typing import Any

import pytest
from isolation.schema_databases import A, B, C, D, Deployment, deployed, planted
from isolation.schema_models import Note
from sqlalchemy import MetaData, create_engine, insert, select, text
from sqlalchemy.exc import DBAPIError, IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession

from fastapi_tenancy.errors import ConfigurationError, IsolationError
from fastapi_tenancy.multitenant.isolation.armed import arm

both_drivers = pytest.mark.parametrize("deployment", ["psycopg", "asyncpg"], indirect=True)
NOTES = text("SELECT text FROM notes ORDER BY id")
ALPHA, BRAVO = ["alpha-1", "alpha-2"], ["bravo-1", "bravo-2"]


@pytest.fixture(scope="module")
async def deployment(request: pytest.FixtureRequest) -> AsyncIterator[Deployment]:
    async with planted(request.param, request, A, B, tenant_search_path=True, pool_size=1) as deployment:
        await deployment.execute(
            "CREATE DOMAIN word AS text", "CREATE FUNCTION echo(text) RETURNS text LANGUAGE sql RETURN $1"
        )
        yield deployment


@pytest.fixture
async def session(deployment: Deployment) -> AsyncIterator[AsyncSession]:
    async with deployment.session(A) as session:
        yield session


@both_drivers
async def test_bare_names_are_the_tenants(deployment: Deployment) -> None:
    for tenant_id, expected in [(A, ALPHA), (B, BRAVO)] * 8:
        async with deployment.session(tenant_id) as session:
            assert list(await session.scalars(NOTES)) == expected


@both_drivers
async def test_the_path_is_there_after_a_commit(session: AsyncSession) -> None:
    for _ in range(3):
        assert list(await session.scalars(NOTES)) == ALPHA
        await session.commit()


@both_drivers
async def test_the_path_is_there_after_a_rollback(session: AsyncSession) -> None:
    await session.scalars(NOTES)
    await session.rollback()
    assert list(await session.scalars(NOTES)) == ALPHA


@both_drivers
async def test_the_path_is_there_after_a_savepoint(session: AsyncSession) -> None:
    with pytest.raises(IntegrityError):
        async with session.begin_nested():
            await session.execute(text("INSERT INTO authors (id, name) VALUES (1, 'x')"))
    assert list(await session.scalars(NOTES)) == ALPHA


@both_drivers
async def test_the_path_is_there_on_a_connection(session: AsyncSession) -> None:
    connection = await session.connection()
    assert list(await connection.scalars(NOTES)) == ALPHA


@both_drivers
async def test_the_path_does_not_outlast_the_session(deployment: Deployment) -> None:
    async with deployment.session(A) as session:
        await session.scalars(NOTES)
        connection: Any = await (await session.connection()).get_raw_connection()
        driver = connection.driver_connection
    shown = await driver.fetchval("SHOW search_path") if deployment.driver == "asyncpg" else None
    if deployment.driver == "psycopg":
        shown = (await (await driver.execute("SHOW search_path")).fetchone())[0]
        await driver.rollback()
    assert shown == '""' or shown == ""


@both_drivers
async def test_models_go_on_working(session: AsyncSession) -> None:
    await session.execute(insert(Note).values(id=8, text="x"))
    assert await session.scalar(text("SELECT count(*) FROM notes")) == 3


ALLOWED = [
    "SELECT pg_advisory_xact_lock(7)",
    "SET LOCAL statement_timeout = '5s'",
    "SET TRANSACTION READ ONLY",
    "SELECT 'do it, use it, execute'",
    "SELECT n.text FROM notes AS n WHERE n.text LIKE 'U&%'",
    "INSERT INTO authors (id, name) VALUES (1, 'x') ON CONFLICT DO NOTHING",
    "UPDATE notes SET text = 'search'",
    "SELECT name FROM notes JOIN public.countries ON public.countries.id = country_id",
    "SELECT CAST('x' AS public.word), public.echo('x'), 'x'::public.word",
    "CREATE TEMPORARY TABLE x (id integer)",
]


@both_drivers
@pytest.mark.parametrize("statement", ALLOWED)
async def test_text_that_stays_with_the_tenant_is_run(session: AsyncSession, statement: str) -> None:
    await session.execute(text(statement))


@both_drivers
async def test_autocommit_is_refused(deployment: Deployment) -> None:
    async with deployment.session(A) as session:
        with pytest.raises(IsolationError, match="AUTOCOMMIT"):
            await session.connection(execution_options={"isolation_level": "AUTOCOMMIT"})
    async with deployment.session(A) as session:
        assert list(await session.scalars(NOTES)) == ALPHA


@both_drivers
async def test_a_connection_that_was_refused_runs_nothing(deployment: Deployment) -> None:
    async with deployment.engine.connect() as connection:
        for _ in range(2):
            with pytest.raises(Exception, match=r"no tenant|closed"):
                await connection.execute(select(Note.text))


@both_drivers
async def test_two_phase_transactions_are_refused(deployment: Deployment) -> None:
    engine = deployment.isolation.sessionmaker(deployment.engine, AsyncSession, A).kw["bind"]
    async with engine.connect() as connection:
        with pytest.raises(IsolationError, match="two-phase"):
            await connection.run_sync(lambda sync: sync.begin_twophase())


@both_drivers
async def test_what_would_change_the_path_is_refused(session: AsyncSession) -> None:
    with pytest.raises(IsolationError):
        await session.execute(text(f"SET search_path TO t_{B}"))


@pytest.mark.parametrize("driver", ["psycopg", "asyncpg"])
async def test_without_the_setting_bare_names_find_nothing(driver: str, request: pytest.FixtureRequest) -> None:
    async with planted(driver, request, C, D) as deployment, deployment.session(C) as session:
        with pytest.raises(DBAPIError, match='relation "notes" does not exist'):
            await session.scalars(NOTES)


@pytest.mark.parametrize("driver", ["psycopg", "asyncpg"])
async def test_behind_a_pooler_bare_names_find_nothing(driver: str, request: pytest.FixtureRequest) -> None:
    async with planted(driver, request, C, D, pooler="transaction") as deployment, deployment.session(C) as session:
        assert sorted(await session.scalars(select(Note.text))) == ALPHA
        with pytest.raises(DBAPIError, match='relation "notes" does not exist'):
            await session.scalars(NOTES)


async def test_extensions_must_not_be_where_the_deployments_tables_are(request: pytest.FixtureRequest) -> None:
    with pytest.raises(ConfigurationError, match="ALTER EXTENSION"):
        async with deployed("psycopg", request, MetaData(), extensions_schema="public"):
            pass


def test_a_synchronous_engine_is_armed(postgresql_url: str) -> None:
    engine = create_engine(postgresql_url)
    arm(engine, lambda _: {"my.tenant": "x's", "my.role": "%s"})
    with engine.connect() as connection:
        query = text("SELECT current_setting('my.tenant'), current_setting('my.role')")
        for _ in range(2):
            assert tuple(connection.execute(query).one()) == ("x's", "%s")
            connection.commit()
    engine.dispose()


def test_an_error_of_the_servers_is_sqlalchemys(postgresql_url: str) -> None:
    engine = create_engine(postgresql_url)
    arm(engine, lambda _: {"no setting": "x"})
    with engine.connect() as connection, pytest.raises(DBAPIError):
        connection.execute(text("SELECT 1"))
    engine.dispose()
