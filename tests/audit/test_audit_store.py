"""Every store that keeps the audit trail keeps the same promises."""

from every_store import store_fixture

from fastapi_tenancy import AuditStore, InMemoryTenantStore, SQLAlchemyTenantStore
from fastapi_tenancy.testing import AuditStoreContract


class TestAuditStore(AuditStoreContract):
    """The contract, over every implementation."""

    store = store_fixture()


def test_the_stores_are_audit_stores() -> None:
    assert isinstance(InMemoryTenantStore(), AuditStore)
    assert isinstance(SQLAlchemyTenantStore("sqlite://"), AuditStore)
