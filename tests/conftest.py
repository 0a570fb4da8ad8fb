"""Fixtures that every test may use."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from servers import postgresql
from support import MANAGERS, make_tenancy

from fastapi_tenancy import Tenancy


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(params=MANAGERS)
def manager_type(request: pytest.FixtureRequest) -> str:
    """Each manager in turn."""
    return str(request.param)


@pytest.fixture
async def tenancy(tmp_path: Path, manager_type: str) -> AsyncIterator[Tenancy]:
    """An open Tenancy on SQLite, of each manager, with the tenants acme and globex."""
    async with make_tenancy(tmp_path, manager_type=manager_type) as tenancy:
        await tenancy.create_tenant("acme")
        await tenancy.create_tenant("globex")
        yield tenancy


@pytest.fixture(scope="session")
def postgresql_url() -> Iterator[str]:
    """A real PostgreSQL server, started once."""
    with postgresql() as url:
        yield url
