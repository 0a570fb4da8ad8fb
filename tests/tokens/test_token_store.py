"""Every token store keeps the same promises."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from prepared_stores import new_store_database, put_store

from fastapi_tenancy import InMemoryTenantStore, SQLAlchemyTenantStore, TokenStore
from fastapi_tenancy.testing import TokenStoreContract
from fastapi_tenancy.testing.token_store import TenantAndTokenStore

SERVERS = {"postgresql": "postgresql_url", "mariadb": "mysql_url"}


class TestTokenStore(TokenStoreContract):
    """The contract, over every implementation."""

    @pytest.fixture(params=["in memory", "sqlite", *SERVERS])
    async def store(self, request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[TenantAndTokenStore]:
        if request.param == "in memory":
            made: TenantAndTokenStore = InMemoryTenantStore()
        elif request.param == "sqlite":
            put_store(tmp_path / "store.db")
            made = SQLAlchemyTenantStore(f"sqlite:///{tmp_path}/store.db")
        else:
            made = SQLAlchemyTenantStore(new_store_database(request.getfixturevalue(SERVERS[request.param])))
        await made.open()
        yield made
        await made.close()


def test_the_stores_are_token_stores() -> None:
    assert isinstance(InMemoryTenantStore(), TokenStore)
    assert isinstance(SQLAlchemyTenantStore("sqlite://"), TokenStore)
