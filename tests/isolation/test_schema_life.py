"""A tenant's schema is created whole, belongs to the tenant, and goes when the tenant goes."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import contextmanager, suppress
from typing import Any

import pytest
from isolation.schema_databases import DRIVERS, C, D, Deployment, deployed, plant, tenant
from isolation.schema_models import Base, Climate, Country, Note
from sqlalchemy import (
    DDL,
    URL,
    Column,
    Enum,
    ForeignKey,
    Integer,
    MetaData,
    String,
    Table,
    create_engine,
    event,
    insert,
    inspect,
    select,
    text,
)
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncSession

from fastapi_tenancy.errors import NamespaceExistsError, NamespaceMissingError
from fastapi_tenancy.multitenant.isolation.schema import SchemaIsolation

every_driver = pytest.mark.parametrize("deployment", DRIVERS, indirect=True)
on_postgresql = pytest.mark.parametrize("deployment", ["psycopg", "asyncpg"], indirect=True)
on_mariadb = pytest.mark.parametrize("deployment", ["mariadb"], indirect=True)
OF_C = f"t_{C}"


@pytest.fixture
async def deployment(request: pytest.FixtureRequest) -> AsyncIterator[Deployment]:
    async with deployed(request.param, request) as deployment:
        yield deployment


class KilledError(Exception):
    """Stands for the end of the process."""


@contextmanager
def failing_at(deployment: Deployment, step: int) -> Any:
    """Let so many statements of the deployment's own through, and no more."""
    left = [step]

    def count(*_: object) -> None:
        left[0] -= 1
        if left[0] < 0:
            raise KilledError

    event.listen(deployment.admin.sync_engine, "before_cursor_execute", count)
    try:
        yield left
    finally:
        event.remove(deployment.admin.sync_engine, "before_cursor_execute", count)


async def tables_in(deployment: Deployment, schema: str) -> list[str]:
    return sorted(await deployment.run(lambda connection: inspect(connection).get_table_names(schema=schema)))


TABLES = sorted({table.name for table in Base.metadata.sorted_tables} - {"countries"} | {"tenancy_owner"})


@every_driver
async def test_a_schema_has_the_tenants_tables(deployment: Deployment) -> None:
    await deployment.create(C)
    assert await tables_in(deployment, OF_C) == TABLES


@every_driver
async def test_the_deployments_schema_has_the_shared_tables_only(deployment: Deployment) -> None:
    await deployment.create(C)
    assert await tables_in(deployment, deployment.home) == ["countries"]


@every_driver
async def test_tables_of_the_same_names_do_not_stand_in_the_way(deployment: Deployment) -> None:
    await deployment.execute("CREATE TABLE notes (id integer)", "CREATE TABLE tenancy_owner (tenant_id integer)")
    await deployment.create(C)
    assert await tables_in(deployment, OF_C) == TABLES
    await deployment.run(deployment.isolation.check, tenant(C))


@every_driver
async def test_preparing_twice_changes_nothing(deployment: Deployment) -> None:
    await deployment.execute("INSERT INTO countries (id, name, climate) VALUES (1, 'Norway', 'cold')")
    await deployment.run(deployment.isolation.prepare)
    assert await deployment.rows("SELECT name FROM countries") == [("Norway",)]


@every_driver
async def test_workers_prepare_at_the_same_time(deployment: Deployment) -> None:
    await deployment.execute("DROP TABLE countries")
    await asyncio.gather(*(deployment.run(deployment.isolation.prepare) for _ in range(3)))
    assert await tables_in(deployment, deployment.home) == ["countries"]


@every_driver
async def test_creating_twice_keeps_the_rows(deployment: Deployment) -> None:
    await deployment.create(C)
    async with deployment.admin.begin() as connection:
        await connection.execute(insert(Country), [{"id": 1, "name": "Norway"}])
    await plant(deployment, C, "alpha")
    await deployment.create(C)
    async with deployment.session(C) as session:
        assert sorted(await session.scalars(select(Note.text))) == ["alpha-1", "alpha-2"]


@every_driver
async def test_two_processes_create_a_tenant_at_the_same_time(deployment: Deployment) -> None:
    await asyncio.gather(deployment.create(C), deployment.create(C))
    assert await tables_in(deployment, OF_C) == TABLES


@on_postgresql
async def test_the_tables_take_one_round_trip(deployment: Deployment) -> None:
    with failing_at(deployment, 100) as left:
        await deployment.create(C)
    assert left == [99]  # the look at the schema; SQLAlchemy's events know nothing of the script


@on_postgresql
async def test_the_script_is_rendered_once(deployment: Deployment) -> None:
    await deployment.create(C)
    first = deployment.isolation._script
    await deployment.create(D)
    assert deployment.isolation._script is first


@on_postgresql
async def test_comments_indexes_and_types_are_the_tenants(deployment: Deployment) -> None:
    await deployment.create(C)
    comments = f"SELECT obj_description('{OF_C}.notes'::regclass), col_description('{OF_C}.tags'::regclass, 2)"
    assert await deployment.rows(comments) == [("what tenants write", "50% of it; it's what people read")]
    indexes = f"SELECT indexname FROM pg_indexes WHERE schemaname = '{OF_C}' AND indexname LIKE 'ix_%'"
    assert {name for (name,) in await deployment.rows(indexes)} == {
        "ix_animals_tenant_id",
        "ix_from_an_event",
        "ix_notes_lower",
        "ix_of_a_bare_name",
    }
    types = "SELECT nspname, typname FROM pg_type JOIN pg_namespace n ON n.oid = typnamespace WHERE typtype = 'e'"
    assert set(await deployment.rows(types)) == {(OF_C, "mood"), ("public", "climate")}


@on_postgresql
async def test_what_fails_after_the_creation_leaves_nothing(deployment: Deployment) -> None:
    def create(connection: Any) -> None:
        deployment.isolation.create(connection, tenant(C))
        raise KilledError

    with pytest.raises(KilledError):
        await deployment.run(create)
    assert not await deployment.has_schema(C)
    await deployment.create(C)


@pytest.mark.parametrize("driver", ["psycopg", "asyncpg"])
async def test_a_script_that_fails_leaves_nothing(driver: str, request: pytest.FixtureRequest) -> None:
    metadata = MetaData()
    table = Table("x", metadata, Column("id", Integer, primary_key=True))
    event.listen(table, "after_create", DDL("CREATE INDEX i ON %(fullname)s (missing)"))
    async with deployed(driver, request, metadata) as deployment:
        with pytest.raises(Exception, match="missing"):
            await deployment.create(C)
        assert not await deployment.has_schema(C)


def seeding(seen: list[str]) -> MetaData:
    """Tables with a function that listens to their creation and writes a row."""
    metadata = MetaData()
    table = Table(
        "seeds",
        metadata,
        Column("id", Integer, primary_key=True),
        Column("country_id", ForeignKey("places.id")),
        Column("mood", Enum("glad", "sad", name="mood")),
    )
    Table("places", metadata, Column("id", Integer, primary_key=True), info={"tenancy": "shared"})

    @event.listens_for(table, "after_create")
    def seed(target: Table, connection: Any, **_: Any) -> None:
        seen.append(target.name)
        connection.execute(insert(target).values(id=1, mood="sad"))

    return metadata


@pytest.mark.parametrize("driver", DRIVERS)
async def test_functions_that_listen_run_for_each_tenant(driver: str, request: pytest.FixtureRequest) -> None:
    seen: list[str] = []
    async with deployed(driver, request, seeding(seen)) as deployment:
        await deployment.execute("CREATE TABLE seeds (id integer)")
        await deployment.create(C, D)
        assert seen == ["seeds", "seeds"]
        assert await deployment.rows(f"SELECT id, mood FROM {OF_C}.seeds") == [(1, "sad")]
        assert await deployment.rows("SELECT id FROM seeds") == []


@pytest.mark.parametrize("driver", ["psycopg", "mariadb"])
async def test_a_creation_killed_at_any_step_is_resumed(driver: str, request: pytest.FixtureRequest) -> None:
    async with deployed(driver, request, seeding([])) as deployment:
        for step in range(100):
            with failing_at(deployment, step) as left, suppress(KilledError):
                await deployment.create(C)
            if left[0] >= 0:
                break
            assert driver == "mariadb" or not await deployment.has_schema(C)
            with pytest.raises(NamespaceMissingError):
                await deployment.run(deployment.isolation.check, tenant(C))
            await deployment.create(C)
            await deployment.run(deployment.isolation.check, tenant(C))
            assert await deployment.rows(f"SELECT id FROM {OF_C}.seeds") == [(1,)]
            await deployment.run(deployment.isolation.drop, tenant(C))
        assert step > 3


@on_postgresql
@pytest.mark.parametrize("work", ["create", "drop"])
async def test_a_schema_without_a_mark_is_not_touched(deployment: Deployment, work: str) -> None:
    await deployment.execute(f"CREATE SCHEMA {OF_C}", f"CREATE TABLE {OF_C}.precious (id integer)")
    with pytest.raises(NamespaceExistsError):
        await deployment.run(getattr(deployment.isolation, work), tenant(C))
    assert await tables_in(deployment, OF_C) == ["precious"]


@every_driver
@pytest.mark.parametrize("work", ["create", "drop"])
async def test_a_schema_of_another_tenants_is_not_touched(deployment: Deployment, work: str) -> None:
    await deployment.create(C)
    await deployment.execute(f"UPDATE {OF_C}.tenancy_owner SET tenant_id = '{D}'")
    with pytest.raises(NamespaceExistsError):
        await deployment.run(getattr(deployment.isolation, work), tenant(C))
    assert await tables_in(deployment, OF_C) == TABLES


@every_driver
async def test_dropping_leaves_nothing_of_the_tenants(deployment: Deployment) -> None:
    await deployment.create(C, D)
    await deployment.run(deployment.isolation.drop, tenant(C))
    assert [await deployment.has_schema(tenant_id) for tenant_id in (C, D)] == [False, True]


@every_driver
async def test_dropping_twice_does_nothing(deployment: Deployment) -> None:
    await deployment.run(deployment.isolation.drop, tenant(C))


@on_mariadb
async def test_what_a_killed_drop_left_is_dropped(deployment: Deployment) -> None:
    await deployment.create(C)
    await deployment.execute(f"DROP TABLE {OF_C}.tenancy_owner")
    await deployment.run(deployment.isolation.drop, tenant(C))
    assert not await deployment.has_schema(C)


@every_driver
async def test_a_schema_that_is_there_passes_the_check(deployment: Deployment) -> None:
    await deployment.create(C)
    with failing_at(deployment, 1):
        await deployment.run(deployment.isolation.check, tenant(C))


MISSING: dict[str, Callable[[Deployment], Any]] = {
    "schema": lambda deployment: deployment.run(deployment.isolation.drop, tenant(C)),
    "mark": lambda deployment: deployment.execute(f"DROP TABLE {OF_C}.tenancy_owner"),
    "row": lambda deployment: deployment.execute(f"DELETE FROM {OF_C}.tenancy_owner"),
    "other": lambda deployment: deployment.execute(f"UPDATE {OF_C}.tenancy_owner SET tenant_id = '{D}'"),
}


@every_driver
@pytest.mark.parametrize("name", MISSING)
async def test_a_schema_that_is_missing_fails_the_check(deployment: Deployment, name: str) -> None:
    await deployment.create(C)
    await MISSING[name](deployment)
    with pytest.raises(NamespaceMissingError):
        await deployment.run(deployment.isolation.check, tenant(C))


@every_driver
async def test_a_session_without_its_schema_fails(deployment: Deployment) -> None:
    await deployment.execute("CREATE TABLE notes (id integer, text varchar(9))")
    async with deployment.session(C) as session:
        with pytest.raises(DBAPIError):
            await session.scalars(select(Note.text))


@every_driver
async def test_a_model_that_came_later_is_created(deployment: Deployment) -> None:
    await deployment.create(C)
    later = Table("later", Base.metadata, Column("id", Integer, primary_key=True))
    try:
        await deployment.create(D)
        assert "later" in await tables_in(deployment, f"t_{D}")
    finally:
        Base.metadata.remove(later)


@pytest.mark.parametrize("driver", ["psycopg", "asyncpg"])
async def test_shared_things_may_have_a_schema_of_their_own(driver: str, request: pytest.FixtureRequest) -> None:
    metadata = MetaData()
    climate = Enum(Climate, name="climate", schema="types")
    Table("regions", metadata, Column("id", Integer, primary_key=True), schema="atlas", info={"tenancy": "shared"})
    visits = Table(
        "visits",
        metadata,
        Column("id", Integer, primary_key=True),
        Column("region_id", ForeignKey("atlas.regions.id")),
        Column("climate", climate),
    )
    async with deployed(driver, request, metadata) as deployment:
        await deployment.execute("INSERT INTO atlas.regions VALUES (1)")
        await deployment.create(C, D)
        async with deployment.session(C) as session:
            await session.execute(insert(visits).values(id=1, region_id=1, climate=Climate.warm))
            regions = metadata.tables["atlas.regions"]
            found = await session.execute(select(regions.c.id, visits.c.climate).join(visits))
            assert [tuple(row) for row in found] == [(1, Climate.warm)]


@pytest.mark.parametrize("driver", ["psycopg", "asyncpg"])
async def test_extensions_are_found_where_they_are(driver: str, request: pytest.FixtureRequest) -> None:
    metadata = MetaData()
    Table(
        "x",
        metadata,
        Column("id", Integer, primary_key=True),
        Column("name", String(9), server_default=text("greet()")),
    )
    async with deployed(driver, request, metadata, extensions_schema="Extensions") as deployment:
        body = "RETURNS text LANGUAGE sql AS $$ SELECT 'hello' $$"
        await deployment.execute('CREATE SCHEMA "Extensions"', f'CREATE FUNCTION "Extensions".greet() {body}')
        await deployment.create(C)
        async with deployment.session(C) as session:
            await session.execute(insert(metadata.tables["x"]).values(id=1))
            assert list(await session.scalars(select(metadata.tables["x"].c.name))) == ["hello"]
            assert await session.scalar(text("SELECT greet()")) == "hello"


@pytest.mark.parametrize("driver", ["psycopg", "mariadb"])
async def test_synchronous_engines_do_the_same(driver: str, request: pytest.FixtureRequest) -> None:
    def work(url: URL, isolation: SchemaIsolation) -> list[str]:
        admin, engine = create_engine(url), create_engine(isolation.tenants_url(url))
        isolation.guard(engine)
        try:
            for tenant_id in (C, D):
                with admin.begin() as connection:
                    isolation.create(connection, tenant(tenant_id))
                with isolation.sessionmaker(engine, AsyncSession, tenant_id)() as session:
                    session.add(Note(id=1, text=tenant_id))
                    session.commit()
            with isolation.sessionmaker(engine, AsyncSession, C)() as session:
                return list(session.scalars(select(Note.text)))
        finally:
            admin.dispose()
            engine.dispose()

    async with deployed(driver, request) as deployment:
        deployment.tenants.update((C, D))
        url = deployment.url.set(drivername={"psycopg": "postgresql+psycopg", "mariadb": "mysql+pymysql"}[driver])
        assert await asyncio.to_thread(work, url, deployment.isolation) == [C]
