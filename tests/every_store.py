"""Every store that the library has, for the contracts of stores."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from prepared_stores import new_store_database, put_store

from fastapi_tenancy import InMemoryTenantStore, SQLAlchemyTenantStore

SERVERS = {"postgresql": "postgresql_url", "mariadb": "mysql_url"}
KINDS = ("in memory", "sqlite", *SERVERS)


def made_store(kind: str, folder: Path, request: pytest.FixtureRequest) -> Any:
    """One that is not open yet; on a database, its tables are there."""
    if kind == "in memory":
        return InMemoryTenantStore()
    if kind == "sqlite":
        put_store(folder / "store.db")
        return SQLAlchemyTenantStore(f"sqlite:///{folder}/store.db")
    return SQLAlchemyTenantStore(new_store_database(request.getfixturevalue(SERVERS[kind])))


def store_fixture(kinds: tuple[str, ...] = KINDS) -> Any:
    """The fixture `store` of a contract, `store = store_fixture()` in its class: each kind in turn, open."""

    @pytest.fixture(params=kinds)
    async def store(_self: Any, request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Any]:
        made = made_store(request.param, tmp_path, request)
        await made.open()
        yield made
        await made.close()

    return store
