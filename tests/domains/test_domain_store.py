"""Every domain store keeps the same promises."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from servers import new_database
from sqlalchemy import create_engine, insert

from fastapi_tenancy import (
    DomainStore,
    InMemoryTenantStore,
    SQLAlchemyTenantStore,
)
from fastapi_tenancy.migrations import store_tables
from fastapi_tenancy.store.models import tenants
from fastapi_tenancy.store.sqlalchemy import _to_row
from fastapi_tenancy.testing import DomainStoreContract, tenant_named
from fastapi_tenancy.testing.domain_store import TenantAndDomainStore, add_verified


def made_store(kind: str, folder: Path, request: pytest.FixtureRequest) -> TenantAndDomainStore:
    if kind == "in memory":
        return InMemoryTenantStore()
    if kind == "sqlite":
        return SQLAlchemyTenantStore(f"sqlite:///{folder}/store.db")
    server = request.getfixturevalue({"postgresql": "postgresql_url", "mariadb": "mysql_url"}[kind])
    return SQLAlchemyTenantStore(new_database(server))


class TestDomainStore(DomainStoreContract):
    """The contract, over every implementation."""

    @pytest.fixture(params=["in memory", "sqlite", "postgresql", "mariadb"])
    async def store(self, request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[TenantAndDomainStore]:
        made = made_store(request.param, tmp_path, request)
        await made.open()
        yield made
        await made.close()


def test_the_stores_are_domain_stores() -> None:
    assert isinstance(InMemoryTenantStore(), DomainStore)
    assert isinstance(SQLAlchemyTenantStore("sqlite://"), DomainStore)


async def test_a_database_of_before_gets_the_table_and_keeps_its_tenants(tmp_path: Path) -> None:
    acme = tenant_named("acme")
    engine = create_engine(f"sqlite:///{tmp_path}/store.db")
    with engine.begin() as connection:
        store_tables._history.create_all(connection)
        store_tables._create_tenants(connection)
        connection.execute(store_tables._revisions.insert().values(revision=1))
        connection.execute(insert(tenants).values(_to_row(acme)))
    engine.dispose()
    store = SQLAlchemyTenantStore(f"sqlite:///{tmp_path}/store.db")
    await store.open()
    await add_verified(store, acme)
    assert await store.get(acme.id) == acme
    await store.close()
