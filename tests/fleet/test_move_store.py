"""Every store that keeps the moves of tenants keeps the same promises."""

from every_store import store_fixture

from fastapi_tenancy import InMemoryTenantStore, SQLAlchemyTenantStore
from fastapi_tenancy.store import MoveStore
from fastapi_tenancy.testing import MoveStoreContract


class TestMoveStore(MoveStoreContract):
    """The contract, over every implementation."""

    store = store_fixture(("in memory", "sqlite", "postgresql"))


def test_the_stores_are_move_stores() -> None:
    assert isinstance(InMemoryTenantStore(), MoveStore)
    assert isinstance(SQLAlchemyTenantStore("sqlite://"), MoveStore)
