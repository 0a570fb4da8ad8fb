"""Every domain store keeps the same promises."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from prepared_stores import new_store_database, put_store

from fastapi_tenancy import (
    DomainStore,
    InMemoryTenantStore,
    SQLAlchemyTenantStore,
)
from fastapi_tenancy.testing import DomainStoreContract
from fastapi_tenancy.testing.domain_store import TenantAndDomainStore


def made_store(kind: str, folder: Path, request: pytest.FixtureRequest) -> TenantAndDomainStore:
    if kind == "in memory":
        return InMemoryTenantStore()
    if kind == "sqlite":
        put_store(folder / "store.db")
        return SQLAlchemyTenantStore(f"sqlite:///{folder}/store.db")
    server = request.getfixturevalue({"postgresql": "postgresql_url", "mariadb": "mysql_url"}[kind])
    return SQLAlchemyTenantStore(new_store_database(server))


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
