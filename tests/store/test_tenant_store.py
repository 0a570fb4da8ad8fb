"""Every tenant store keeps the same promises, and SQLAlchemy's some of its own."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from prepared_stores import new_store_database, put_store
from servers import new_database
from sqlalchemy import MetaData, Table, create_engine, insert, inspect, text
from sqlalchemy.dialects import mysql, postgresql, sqlite
from sqlalchemy.schema import CreateTable

from fastapi_tenancy import (
    ConfigurationError,
    InMemoryTenantStore,
    SQLAlchemyTenantStore,
    TenantStore,
)
from fastapi_tenancy.migrations import HEAD, store_tables
from fastapi_tenancy.store.models import store_metadata, tenants
from fastapi_tenancy.store.sqlalchemy import _to_row
from fastapi_tenancy.testing import TenantStoreContract, tenant_named
from fastapi_tenancy.urls import synchronous


def made_store(kind: str, folder: Path, request: pytest.FixtureRequest, *, prepared: bool = False) -> TenantStore:
    """A store that is not open; its tables are there already if it is `prepared`, save in memory."""
    if kind == "in memory":
        return InMemoryTenantStore()
    if kind == "sqlite in memory":
        return SQLAlchemyTenantStore("sqlite://")
    if kind == "sqlite file":
        if prepared:
            put_store(folder / "store.db")
        return SQLAlchemyTenantStore(f"sqlite:///{folder}/store.db")
    server = request.getfixturevalue({"postgresql": "postgresql_url", "mariadb": "mysql_url"}[kind])
    return SQLAlchemyTenantStore((new_store_database if prepared else new_database)(server))


class TestTenantStore(TenantStoreContract):
    """The contract, over every implementation."""

    @pytest.fixture(params=["in memory", "sqlite in memory", "sqlite file", "postgresql", "mariadb"])
    async def store(self, request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[TenantStore]:
        made = made_store(request.param, tmp_path, request, prepared=True)
        await made.open()
        yield made
        await made.close()


async def test_a_database_is_opened_again_with_all_it_held(tmp_path: Path) -> None:
    acme = tenant_named("acme")
    for first in (True, False):
        store = SQLAlchemyTenantStore(f"sqlite:///{tmp_path}/store.db")
        await store.open()
        if first:
            await store.add(acme)
        assert await store.get(acme.id) == acme
        await store.close()


async def test_the_migrations_lead_to_the_tables_of_the_models(tmp_path: Path) -> None:
    store = SQLAlchemyTenantStore(f"sqlite:///{tmp_path}/migrated.db")
    await store.open()
    await store.close()
    migrated, declared = create_engine(f"sqlite:///{tmp_path}/migrated.db"), create_engine("sqlite://")
    store_metadata.create_all(declared)

    def shape(engine):
        found = inspect(engine)
        return {
            name: (
                [(c["name"], str(c["type"]), c["nullable"]) for c in found.get_columns(name)],
                [sorted(u["column_names"]) for u in found.get_unique_constraints(name)],
            )
            for name in store_metadata.tables
        }

    assert shape(migrated) == shape(declared)
    migrated.dispose()
    declared.dispose()


@pytest.mark.parametrize("kind", ["sqlite file", "postgresql", "mariadb"])
async def test_a_database_of_any_revision_is_brought_up_to_date_and_keeps_its_tenants(
    tmp_path: Path, request: pytest.FixtureRequest, kind: str
) -> None:
    acme, store = tenant_named("acme"), made_store(kind, tmp_path, request)
    for revision in range(1, HEAD):
        engine = create_engine(synchronous(store.url))
        with engine.begin() as connection:
            store_metadata.drop_all(connection)
            store_tables._history.drop_all(connection)
            store_tables._history.create_all(connection)
            for number, step in enumerate(store_tables._STEPS[:revision], start=1):
                step(connection)
                connection.execute(store_tables._revisions.insert().values(revision=number))
            then = Table("tenancy_tenants", MetaData(), autoload_with=connection)
            row = {name: value for name, value in _to_row(acme).items() if name in then.c}
            connection.execute(insert(tenants).values(row))
        engine.dispose()
        await store.open()
        assert await store.get(acme.id) == acme
        assert await store.page(1, None, None, "ACM") == [acme]
        await store.close()


async def test_tables_of_a_newer_version_are_refused(tmp_path: Path) -> None:
    store = SQLAlchemyTenantStore(f"sqlite:///{tmp_path}/store.db")
    await store.open()
    await store.close()
    engine = create_engine(f"sqlite:///{tmp_path}/store.db")
    with engine.begin() as connection:
        connection.execute(text(f"INSERT INTO tenancy_revisions VALUES ({HEAD + 1})"))
    engine.dispose()
    with pytest.raises(ConfigurationError, match="upgrade the library"):
        await store.open()
    await store.close()


async def test_sqlite_runs_in_wal_with_foreign_keys(tmp_path: Path) -> None:
    store = SQLAlchemyTenantStore(f"sqlite:///{tmp_path}/store.db")
    await store.open()
    pragmas = await store._connected().read(
        lambda connection: [connection.exec_driver_sql(f"PRAGMA {name}").scalar() for name in PRAGMAS]
    )
    await store.close()
    assert dict(zip(PRAGMAS, pragmas, strict=True)) == {"journal_mode": "wal", "foreign_keys": 1, "busy_timeout": 15000}


PRAGMAS = ("journal_mode", "foreign_keys", "busy_timeout")

JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@settings(max_examples=40)  # each makes a store
@given(st.dictionaries(st.text(), JSON_VALUES, max_size=4))
async def test_any_settings_come_back_unchanged(values: dict[str, object]) -> None:
    store = SQLAlchemyTenantStore("sqlite://")
    await store.open()
    acme = tenant_named("acme", settings=values)
    await store.add(acme)
    assert await store.get(acme.id) == acme
    await store.close()


async def test_20_workers_that_start_at_once_make_the_tables_once(postgresql_url: str, tmp_path: Path) -> None:
    for url in (postgresql_url, f"sqlite:///{tmp_path}/store.db"):
        workers = [SQLAlchemyTenantStore(url) for _ in range(20)]
        await asyncio.gather(*(worker.open() for worker in workers))
        await asyncio.gather(*(worker.close() for worker in workers))


@pytest.mark.parametrize("dialect", [mysql.dialect(), postgresql.dialect(), sqlite.dialect()])
def test_the_tables_can_be_written_for_each_database(dialect) -> None:
    for table in store_metadata.sorted_tables:
        assert str(CreateTable(table).compile(dialect=dialect)).strip().startswith("CREATE TABLE")
