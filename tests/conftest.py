"""Fixtures that every test may use."""

import gc
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
from forking import Forking, forking
from hypothesis import HealthCheck, settings
from places import PLACES, places_fixture
from servers import mariadb, pgbouncer, postgresql, redis
from support import MANAGERS, make_tenancy

from fastapi_tenancy import Tenancy

# How long a test takes says something about the machine, and nothing about the library.
settings.register_profile("any machine", settings(), deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("any machine")


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Iterator[object]:
    """Nothing of what is collected is ever thrown away: the garbage collector need not look at it, now or later."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.set_threshold(20_000, 10, 10)
        gc.enable()


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(params=MANAGERS)
def manager_type(request: pytest.FixtureRequest) -> str:
    """Each manager in turn."""
    return str(request.param)


place = places_fixture(PLACES)  # each database, manager and isolation in turn


@pytest.fixture
async def tenancy(tmp_path: Path, place: dict[str, Any]) -> AsyncIterator[Tenancy]:
    """An open Tenancy at each place, with the tenants acme and globex."""
    async with make_tenancy(tmp_path, **place) as tenancy:
        await tenancy.create_tenant("acme")
        await tenancy.create_tenant("globex")
        yield tenancy


@pytest.fixture
async def on_sqlite(tmp_path: Path) -> AsyncIterator[Tenancy]:
    """The same in one place, for what depends on none."""
    async with make_tenancy(tmp_path) as tenancy:
        await tenancy.create_tenant("acme")
        await tenancy.create_tenant("globex")
        yield tenancy


@pytest.fixture(scope="session")
def forked() -> Iterator[Forking]:
    """Runs programs, which may be killed, without starting Python for each."""
    with forking() as server:
        yield server


@pytest.fixture(scope="session")
def postgresql_url() -> Iterator[str]:
    """A real PostgreSQL server, started once."""
    with postgresql() as url:
        yield url


@pytest.fixture(scope="session")
def pgbouncer_url(postgresql_url: str) -> Iterator[str]:
    """PgBouncer in transaction mode in front of that server; `new_database` works by way of it."""
    with pgbouncer(postgresql_url) as url:
        yield url


@pytest.fixture(scope="session")
def mysql_url() -> Iterator[str]:
    """A real MariaDB server, started once."""
    with mariadb() as url:
        yield url


@pytest.fixture(scope="session")
def redis_url() -> Iterator[str]:
    """A real Redis server, started once."""
    with redis() as url:
        yield url
