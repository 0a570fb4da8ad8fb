"""Every store that keeps the audit trail keeps the same promises."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from prepared_stores import new_store_database, put_store

from fastapi_tenancy import AuditStore, InMemoryTenantStore, SQLAlchemyTenantStore
from fastapi_tenancy.testing import AuditStoreContract
from fastapi_tenancy.testing.audit_store import AuditedStore

SERVERS = {"postgresql": "postgresql_url", "mariadb": "mysql_url"}


class TestAuditStore(AuditStoreContract):
    """The contract, over every implementation."""

    @pytest.fixture(params=["in memory", "sqlite", *SERVERS])
    async def store(self, request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[AuditedStore]:
        if request.param == "in memory":
            made: AuditedStore = InMemoryTenantStore()
        elif request.param == "sqlite":
            put_store(tmp_path / "store.db")
            made = SQLAlchemyTenantStore(f"sqlite:///{tmp_path}/store.db")
        else:
            made = SQLAlchemyTenantStore(new_store_database(request.getfixturevalue(SERVERS[request.param])))
        await made.open()
        yield made
        await made.close()


def test_the_stores_are_audit_stores() -> None:
    assert isinstance(InMemoryTenantStore(), AuditStore)
    assert isinstance(SQLAlchemyTenantStore("sqlite://"), AuditStore)
