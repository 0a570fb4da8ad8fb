"""A fake server, and pools that draw on one budget of its connections."""

from collections.abc import Callable

import pytest
from connections.fake_server import FakeServer

from fastapi_tenancy.connections import BudgetedPool, ConnectionBudget


@pytest.fixture
def server() -> FakeServer:
    return FakeServer()


@pytest.fixture
def pools(server: FakeServer) -> Callable[..., list[BudgetedPool]]:
    """Makes so many pools under a budget, each of two idle connections at most unless told otherwise."""

    def make(number: int = 1, *, budget: ConnectionBudget | int, kind: type = BudgetedPool, **options) -> list:
        shared = ConnectionBudget(budget) if isinstance(budget, int) else budget
        given = {"pool_size": 2, "max_overflow": 2, "timeout": 10, **options}
        return [kind(server.connect, budget=shared, **given) for _ in range(number)]

    return make
