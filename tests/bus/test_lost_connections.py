"""A bus that goes away, hangs or comes late is found again by itself, and what was missed meanwhile is forgotten."""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from prepared_stores import new_store_database
from servers import redis, rows_of
from servers.process import free_port
from sqlalchemy import URL, make_url
from support import make_tenancy
from workers import FOR_EVER, knows, two_workers, until, until_connected

from fastapi_tenancy import InMemoryTenantStore, Tenancy
from fastapi_tenancy.testing import tenant_named

ROWS = {"manager_type": "shared-profile", "shared_isolation": "row"}
LISTENERS = "FROM pg_stat_activity WHERE query LIKE 'LISTEN%' AND datname = '{}'"


class Proxy:
    """Carries connections to a server, or swallows what is said on them."""

    def __init__(self, server: URL) -> None:
        self._server = server
        self._carrying: set[asyncio.Task[None]] = set()
        self.swallows = False
        self.url = server

    @asynccontextmanager
    async def running(self) -> AsyncIterator["Proxy"]:
        async with await asyncio.start_server(self._accept, "127.0.0.1", 0) as listener:
            self.url = self._server.set(port=listener.sockets[0].getsockname()[1])
            yield self
            for task in tuple(self._carrying):
                task.cancel()
            await asyncio.gather(*self._carrying, return_exceptions=True)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        answers, asked = await asyncio.open_connection(self._server.host, self._server.port)
        for source, target in ((reader, asked), (answers, writer)):
            task = asyncio.create_task(self._carry(source, target))
            self._carrying.add(task)
            task.add_done_callback(self._carrying.discard)

    async def _carry(self, source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
        try:
            while data := await source.read(65536):
                if not self.swallows:
                    target.write(data)
        except ConnectionError:
            pass
        finally:
            target.close()


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in ("base", "redis", "postgresql"):
        monkeypatch.setattr(f"fastapi_tenancy.bus.{module}.HEARTBEAT", 0.05)
        monkeypatch.setattr(f"fastapi_tenancy.bus.{module}.PATIENCE", 0.5)


async def is_connected(tenancy: Tenancy) -> bool:
    return bool(tenancy.stats()["bus"]["connected"])


async def is_cut_off(tenancy: Tenancy) -> bool:
    return not await is_connected(tenancy)


async def until_forgotten(tenancy: Tenancy, identifier: str) -> None:
    async def is_unknown() -> bool:
        return await knows(tenancy, identifier) is None

    await until(is_unknown)


async def test_an_application_starts_without_redis_and_listens_once_it_is_there(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    port = free_port()
    given = {**FOR_EVER, "redis_url": f"redis://127.0.0.1:{port}/0"}
    async with two_workers(tmp_path, **given) as (here, there):
        await here.create_tenant("acme")
        assert await knows(there, "acme") == "active"
        assert (there.stats()["bus"]["connected"], there.stats()["bus"]["bound"]) == (False, 3600)
        await here.delete_tenant("acme", drop_data=True)
        assert await knows(there, "acme") == "active"
        with redis(port):
            await until_connected(there)
            await until_forgotten(there, "acme")
            assert there.stats()["bus"]["bound"] == 0.25
    assert "bus lost" in caplog.messages


async def test_a_worker_forgets_everything_when_redis_was_killed_and_started_again(tmp_path: Path) -> None:
    port, store = free_port(), InMemoryTenantStore()
    given = {**FOR_EVER, "store": store, "redis_url": f"redis://127.0.0.1:{port}/0"}
    async with AsyncExitStack() as stack:
        with redis(port):
            tenancy = await stack.enter_async_context(make_tenancy(tmp_path, **given))
            assert await knows(tenancy, "acme") is None
        await until(lambda: is_cut_off(tenancy))
        await store.add(tenant_named("acme"))  # by another process, which nobody can hear
        assert await knows(tenancy, "acme") is None
        stack.enter_context(redis(port))
        await until_connected(tenancy, reconnects=1)
        assert await knows(tenancy, "acme") == "active"


@pytest.mark.parametrize("driver", ["psycopg", "asyncpg"])
async def test_a_worker_forgets_everything_when_postgresql_hung_up(
    tmp_path: Path, postgresql_url: str, driver: str, caplog: pytest.LogCaptureFixture
) -> None:
    url = make_url(new_store_database(postgresql_url)).set(drivername=f"postgresql+{driver}")
    async with two_workers(tmp_path, database_url=url, **ROWS) as (here, there):
        assert await knows(there, "acme") is None
        rows_of(postgresql_url, f"SELECT pg_terminate_backend(pid) {LISTENERS.format(url.database)}")
        for worker in (here, there):
            await until_connected(worker, reconnects=1)
        await here.create_tenant("acme")

        async def is_known() -> bool:
            return await knows(there, "acme") == "active"

        await until(is_known)
    assert "bus lost" in caplog.messages
    assert rows_of(postgresql_url, f"SELECT count(*) {LISTENERS.format(url.database)}") == [(0,)]


@pytest.mark.parametrize("kind", ["redis", "psycopg", "asyncpg"])
@pytest.mark.usefixtures("impatient")
async def test_a_silent_connection_is_noticed_and_given_up(
    tmp_path: Path, request: pytest.FixtureRequest, kind: str
) -> None:
    is_redis = kind == "redis"
    server = request.getfixturevalue("redis_url" if is_redis else "postgresql_url")
    url = make_url(server if is_redis else new_store_database(server))
    if not is_redis:
        url = url.set(drivername=f"postgresql+{kind}")
    async with Proxy(url).running() as proxy:
        through = proxy.url.render_as_string(hide_password=False)
        given: dict[str, Any] = {"redis_url": through} if is_redis else {**ROWS, "database_url": through}
        async with make_tenancy(tmp_path, **FOR_EVER, **given, store_timeout=0.5, shutdown_timeout=0) as tenancy:
            assert await is_connected(tenancy)
            proxy.swallows = True
            await until(lambda: is_cut_off(tenancy))
            proxy.swallows = False
            await until_connected(tenancy, reconnects=1)


async def test_two_applications_on_one_redis_do_not_hear_each_other(tmp_path: Path, redis_url: str) -> None:
    given = {**FOR_EVER, "redis_url": redis_url}
    one, other = tmp_path / "one", tmp_path / "other"
    async with two_workers(one, **given) as (here, there), make_tenancy(other, **given) as stranger:
        await here.create_tenant("acme")

        async def has_heard() -> bool:
            return there.stats()["bus"]["received"] == here.stats()["bus"]["published"] > 0

        await until(has_heard)
        assert stranger.stats()["bus"]["received"] == 0


async def test_the_end_of_a_script_waits_until_its_changes_are_told(tmp_path: Path, redis_url: str) -> None:
    given = {**FOR_EVER, "redis_url": redis_url}
    async with make_tenancy(tmp_path, **given) as worker:
        assert await knows(worker, "acme") is None
        async with make_tenancy(tmp_path, **given) as script:
            await script.create_tenant("acme")

        async def is_known() -> bool:
            return await knows(worker, "acme") == "active"

        await until(is_known)


async def test_the_bound_is_said_at_the_start(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    async with make_tenancy(tmp_path, cache_ttl=30) as tenancy:
        assert tenancy.stats()["bus"] == {
            "connected": True,
            "received": 0,
            "published": 0,
            "reconnects": 0,
            "bound": 1.0,
        }
    (line,) = [message for message in caplog.messages if "other workers" in message]
    assert line == (
        "changes by other workers are seen within 1 s (bus: poll, connected: yes), and within 30 s without a bus"
    )
