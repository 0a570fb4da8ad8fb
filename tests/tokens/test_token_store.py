"""Every token store keeps the same promises."""

from every_store import store_fixture

from fastapi_tenancy import InMemoryTenantStore, SQLAlchemyTenantStore, TokenStore
from fastapi_tenancy.testing import TokenStoreContract


class TestTokenStore(TokenStoreContract):
    """The contract, over every implementation."""

    store = store_fixture()


def test_the_stores_are_token_stores() -> None:
    assert isinstance(InMemoryTenantStore(), TokenStore)
    assert isinstance(SQLAlchemyTenantStore("sqlite://"), TokenStore)
