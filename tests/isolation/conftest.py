"""On each server, a database with two tenants' rows and one with only the first one's, as planted for each test."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from isolation.row_databases import SERVERS, Database
from isolation.row_models import A, B
from servers import drop_database, new_database


@pytest.fixture(scope="session", params=SERVERS)
def server(request: pytest.FixtureRequest) -> str:
    """Each kind of database in turn."""
    return str(request.param)


@pytest.fixture(scope="session")
def server_url(request: pytest.FixtureRequest, server: str) -> str | None:
    """None for SQLite, which has no server."""
    fixture = {"postgresql": "postgresql_url", "mariadb": "mysql_url"}.get(server)
    return fixture and str(request.getfixturevalue(fixture))


@pytest.fixture
def empty(server_url: str | None, tmp_path: Path) -> Iterator[str]:
    """The URL of a database with nothing in it."""
    yield (url := url_of(server_url, tmp_path))
    if server_url:
        drop_database(url)


@pytest.fixture(scope="session")
def planted_once(server_url: str | None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Database]:
    yield (database := Database(url_of(server_url, tmp_path_factory.mktemp("row")), A, B))
    database.close()


@pytest.fixture(scope="session")
def alone_once(server_url: str | None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Database]:
    yield (database := Database(url_of(server_url, tmp_path_factory.mktemp("row")), A))
    database.close()


@pytest.fixture(scope="module")
async def planted_connected(planted_once: Database) -> AsyncIterator[Database]:
    """An asynchronous fixture of the module, so that its tests share a loop, and with it the connections."""
    yield planted_once
    await planted_once.disconnect()


@pytest.fixture(scope="module")
async def alone_connected(alone_once: Database) -> AsyncIterator[Database]:
    yield alone_once
    await alone_once.disconnect()


@pytest.fixture
def planted(planted_connected: Database) -> Iterator[Database]:
    yield planted_connected
    planted_connected.restore()


@pytest.fixture
def alone(alone_connected: Database) -> Iterator[Database]:
    yield alone_connected
    alone_connected.restore()


def url_of(server_url: str | None, folder: Path) -> str:
    return new_database(server_url) if server_url else f"sqlite+aiosqlite:///{folder}/row.db"
