"""Every token store keeps the same promises."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from servers import new_database
from sqlalchemy import create_engine, insert

from fastapi_tenancy import InMemoryTenantStore, SQLAlchemyTenantStore, TokenStore
from fastapi_tenancy.migrations import store_tables
from fastapi_tenancy.store.models import tenants
from fastapi_tenancy.store.sqlalchemy import _to_row
from fastapi_tenancy.testing import TokenStoreContract, tenant_named
from fastapi_tenancy.testing.token_store import TenantAndTokenStore, token_of

SERVERS = {"postgresql": "postgresql_url", "mariadb": "mysql_url"}


class TestTokenStore(TokenStoreContract):
    """The contract, over every implementation."""

    @pytest.fixture(params=["in memory", "sqlite", *SERVERS])
    async def store(self, request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[TenantAndTokenStore]:
        if request.param == "in memory":
            made: TenantAndTokenStore = InMemoryTenantStore()
        elif request.param == "sqlite":
            made = SQLAlchemyTenantStore(f"sqlite:///{tmp_path}/store.db")
        else:
            made = SQLAlchemyTenantStore(new_database(request.getfixturevalue(SERVERS[request.param])))
        await made.open()
        yield made
        await made.close()


def test_the_stores_are_token_stores() -> None:
    assert isinstance(InMemoryTenantStore(), TokenStore)
    assert isinstance(SQLAlchemyTenantStore("sqlite://"), TokenStore)


async def test_a_database_of_before_gets_the_table_and_keeps_its_tenants(tmp_path: Path) -> None:
    acme = tenant_named("acme")
    engine = create_engine(f"sqlite:///{tmp_path}/store.db")
    with engine.begin() as connection:
        store_tables._history.create_all(connection)
        for revision, step in enumerate(store_tables._STEPS[:2], start=1):
            step(connection)
            connection.execute(store_tables._revisions.insert().values(revision=revision))
        connection.execute(insert(tenants).values(_to_row(acme)))
    engine.dispose()
    store = SQLAlchemyTenantStore(f"sqlite:///{tmp_path}/store.db")
    await store.open()
    token = token_of(acme)
    await store.add_token(token)
    assert await store.get(acme.id) == acme
    assert await store.get_token(token.token_id) == token
    await store.close()
