"""Every store that keeps the moves of tenants keeps the same promises."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from prepared_stores import new_store_database, put_store

from fastapi_tenancy import InMemoryTenantStore, SQLAlchemyTenantStore
from fastapi_tenancy.store import MoveStore
from fastapi_tenancy.testing import MoveStoreContract
from fastapi_tenancy.testing.move_store import MovingStore


class TestMoveStore(MoveStoreContract):
    """The contract, over every implementation."""

    @pytest.fixture(params=["in memory", "sqlite", "postgresql"])
    async def store(self, request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[MovingStore]:
        if request.param == "in memory":
            made: MovingStore = InMemoryTenantStore()
        elif request.param == "sqlite":
            put_store(tmp_path / "store.db")
            made = SQLAlchemyTenantStore(f"sqlite:///{tmp_path}/store.db")
        else:
            made = SQLAlchemyTenantStore(new_store_database(request.getfixturevalue("postgresql_url")))
        await made.open()
        yield made
        await made.close()


def test_the_stores_are_move_stores() -> None:
    assert isinstance(InMemoryTenantStore(), MoveStore)
    assert isinstance(SQLAlchemyTenantStore("sqlite://"), MoveStore)
