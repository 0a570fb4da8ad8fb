"""The pools on a real server, by each driver."""

import asyncio
import gc
import logging
import socket
import warnings
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from connections.fake_server import until
from servers import drop_database, new_database, plain_role, rows_of
from sqlalchemy import URL, Engine, create_engine, event, make_url, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from fastapi_tenancy.connections import BlockingBudgetedPool, BudgetedPool, ConnectionBudget, pool
from fastapi_tenancy.errors import NamespaceMissingError, TenantUnavailableError


@pytest.fixture(scope="module")
def database(postgresql_url: str) -> Iterator[URL]:
    url = new_database(postgresql_url)
    yield make_url(url)
    drop_database(url)


@pytest.fixture(params=["psycopg", "asyncpg"])
def url(request: pytest.FixtureRequest, database: URL) -> URL:
    pytest.importorskip(request.param)
    return database.set(drivername=f"postgresql+{request.param}")


def open_async(url: URL, budget: ConnectionBudget, **options) -> AsyncEngine:
    given = {"pool_size": 2, "max_overflow": 2, "pool_timeout": 20, "pool_pre_ping": True, **options}
    return create_async_engine(url, poolclass=BudgetedPool, budget=budget, **given)


def open_sync(url: URL, budget: ConnectionBudget, **options) -> Engine:
    given = {"pool_size": 2, "max_overflow": 2, "pool_timeout": 20, "pool_pre_ping": True, **options}
    return create_engine(url, poolclass=BlockingBudgetedPool, budget=budget, **given)


class Held:
    """The connections that some engines hold.

    The server's own count would do as well, if a backend did not take its time to end after its client has gone.
    """

    def __init__(self, *engines: Engine) -> None:
        self.now: set[int] = set()
        self.most = 0
        for engine in engines:
            event.listen(engine, "connect", self._opened)
            event.listen(engine, "close", lambda connection, _record: self.now.discard(id(connection)))

    def _opened(self, connection: object, _record: object) -> None:
        self.now.add(id(connection))
        self.most = max(self.most, len(self.now))


async def select(engine: AsyncEngine) -> None:
    async with engine.connect() as connection:
        assert await connection.scalar(text("SELECT 1")) == 1


def select_in_thread(engine: Engine) -> None:
    with engine.connect() as connection:
        assert connection.scalar(text("SELECT 1")) == 1


async def test_sixty_tasks_over_twenty_engines_keep_to_a_budget_of_six(url):
    budget = ConnectionBudget(6)
    engines = [open_async(url, budget) for _ in range(20)]
    held = Held(*(engine.sync_engine for engine in engines))
    gc.disable()
    try:
        await asyncio.gather(*(select(engines[number % 20]) for number in range(60)))
    finally:
        gc.enable()
    assert held.most == 6
    for engine in engines:
        await engine.dispose()
    await until(lambda: not budget.open)


async def test_tasks_and_threads_keep_to_one_budget(database):
    budget = ConnectionBudget(4)
    for_tasks = [open_async(database, budget) for _ in range(5)]
    for_threads = [open_sync(database, budget) for _ in range(5)]
    held = Held(*(engine.sync_engine for engine in for_tasks), *for_threads)
    loop = asyncio.get_running_loop()
    with ThreadPoolExecutor(8) as threads:
        await asyncio.gather(
            *(select(for_tasks[number % 5]) for number in range(20)),
            *(loop.run_in_executor(threads, select_in_thread, for_threads[number % 5]) for number in range(20)),
        )
    assert 0 < held.most <= 4
    for engine in for_threads:
        engine.dispose()
    for engine in for_tasks:
        await engine.dispose()
    await until(lambda: not budget.open)


async def test_a_connection_that_the_server_ended_is_replaced(url, monkeypatch):
    monkeypatch.setattr(pool, "_FRESH", 0)  # as if it had been idle for long
    budget = ConnectionBudget(1)
    engine = open_async(url, budget)
    async with engine.connect() as connection:
        first = await connection.scalar(text("SELECT pg_backend_pid()"))
    await asyncio.to_thread(
        rows_of, str(url.set(drivername="postgresql+psycopg")), f"SELECT pg_terminate_backend({first}, 5000)"
    )
    async with engine.connect() as connection:
        assert await connection.scalar(text("SELECT pg_backend_pid()")) != first
    assert budget.open == 1
    await engine.dispose()


@pytest.mark.parametrize(("fresh", "pings"), [(60.0, 0), (0.0, 1)])
async def test_a_connection_is_pinged_if_it_was_idle_for_long(url, monkeypatch, fresh, pings):
    monkeypatch.setattr(pool, "_FRESH", fresh)
    budget = ConnectionBudget(1)
    engine = open_async(url, budget)
    pinged = []
    real = engine.dialect.do_ping
    monkeypatch.setattr(engine.sync_engine.dialect, "do_ping", lambda connection: pinged.append(1) or real(connection))
    for _ in range(2):
        async with engine.connect() as connection:
            await connection.scalar(text("SELECT 1"))
    assert len(pinged) == pings
    await engine.dispose()


def test_a_pool_that_is_disposed_of_outside_its_loop_gives_its_permits_back(database, caplog):
    caplog.set_level(logging.CRITICAL)  # or the record of what SQLAlchemy reports keeps the connection alive
    budget = ConnectionBudget(1)
    engine = open_async(database, budget)
    asyncio.run(select(engine))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that nobody closed it
        engine.sync_engine.dispose()
        gc.collect()
    assert budget.open == 0


async def test_a_statement_that_fails_is_still_the_drivers_error(url):
    budget = ConnectionBudget(1)
    engine = open_async(url, budget)
    async with engine.connect() as connection:
        with pytest.raises(DBAPIError):
            await connection.execute(text("SELECT 1/0"))
    await engine.dispose()


async def test_a_database_that_is_not_there_is_missing(url):
    budget = ConnectionBudget(1)
    with pytest.raises(NamespaceMissingError, match="does not exist"):
        await select(open_async(url.set(database="nobodys"), budget))
    assert budget.open == 0


def test_a_database_that_is_not_there_is_missing_for_a_thread_too(database):
    with pytest.raises(NamespaceMissingError, match="does not exist"):
        select_in_thread(open_sync(database.set(database="nobodys"), ConnectionBudget(1)))


async def test_a_server_that_has_too_many_connections_is_a_503(url, database):
    owner = make_url(plain_role(database.render_as_string(hide_password=False)))
    rows_of(database.render_as_string(hide_password=False), f"ALTER ROLE {owner.username} CONNECTION LIMIT 0")
    budget = ConnectionBudget(1)
    with pytest.raises(TenantUnavailableError, match="too many connections"):
        await select(open_async(url.set(username=owner.username, password=owner.password), budget))
    assert budget.open == 0


@pytest.fixture
def silent_port() -> Iterator[int]:
    """Takes connections and never says a word."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener.getsockname()[1]


async def test_a_server_that_never_answers_is_given_up(url, silent_port):
    budget = ConnectionBudget(1)
    with pytest.raises(TenantUnavailableError, match="did not answer within"):
        await select(open_async(url.set(port=silent_port), budget, pool_timeout=0.05))
    await until(lambda: not budget.open)


def test_a_server_that_never_answers_is_given_up_by_a_thread(database, silent_port):
    with pytest.raises(TenantUnavailableError, match="did not answer within"):
        select_in_thread(open_sync(database.set(port=silent_port), ConnectionBudget(1), pool_timeout=0.05))


async def test_a_connection_left_to_the_garbage_collector_gives_its_permit_back(url):
    budget = ConnectionBudget(1)
    engine = open_async(url, budget)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # SQLAlchemy and psycopg complain, and rightly
        await engine.connect()
        gc.collect()
        await until(lambda: not budget.open)
    await select(engine)
    assert budget.open == 1
    await engine.dispose()
