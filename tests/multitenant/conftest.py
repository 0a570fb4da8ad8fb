"""A database server for the tests of tenants' own databases; what they leave there is dropped."""

from collections.abc import Iterator

import pytest
from multitenant.own_databases import SERVERS, Server


@pytest.fixture(params=SERVERS)
def server(request: pytest.FixtureRequest) -> Iterator[Server]:
    """Each server in turn."""
    with Server.at(request.getfixturevalue(SERVERS[request.param])) as server:
        yield server


@pytest.fixture
def postgresql(postgresql_url: str) -> Iterator[Server]:
    with Server.at(postgresql_url) as server:
        yield server
