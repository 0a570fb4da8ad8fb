"""Every store keeps what it promises of requests that may be repeated."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from prepared_stores import new_store_database, put_store

from fastapi_tenancy import InMemoryTenantStore, SQLAlchemyTenantStore, TenantStore
from fastapi_tenancy.testing import IdempotencyStoreContract


class TestIdempotencyStore(IdempotencyStoreContract):
    """The contract, over every implementation."""

    @pytest.fixture(params=["in memory", "sqlite", "postgresql", "mariadb"])
    async def store(self, request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[TenantStore]:
        if request.param == "in memory":
            made = InMemoryTenantStore()
        elif request.param == "sqlite":
            put_store(tmp_path / "store.db")
            made = SQLAlchemyTenantStore(f"sqlite:///{tmp_path}/store.db")
        else:
            server = request.getfixturevalue({"postgresql": "postgresql_url", "mariadb": "mysql_url"}[request.param])
            made = SQLAlchemyTenantStore(new_store_database(server))
        await made.open()
        yield made
        await made.close()
