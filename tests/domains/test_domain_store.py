"""Every domain store keeps the same promises."""

from every_store import store_fixture

from fastapi_tenancy import (
    DomainStore,
    InMemoryTenantStore,
    SQLAlchemyTenantStore,
)
from fastapi_tenancy.testing import DomainStoreContract


class TestDomainStore(DomainStoreContract):
    """The contract, over every implementation."""

    store = store_fixture()


def test_the_stores_are_domain_stores() -> None:
    assert isinstance(InMemoryTenantStore(), DomainStore)
    assert isinstance(SQLAlchemyTenantStore("sqlite://"), DomainStore)
