"""The bus over PostgreSQL's LISTEN and NOTIFY, for a store that is kept there."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any, ClassVar, Protocol

from sqlalchemy import URL, NullPool

from ..engines import open_engine
from .base import HEARTBEAT, PATIENCE, ConnectedBus, Hear, Write, in_time
from .change import Change

_WITHIN = 0.25  # seconds; over loopback it is a tenth of a millisecond

Wait = Callable[[], Awaitable[Sequence[str]]]
"""Gives the messages that came, or none after `HEARTBEAT` seconds of silence."""


class NotifyingStore(Protocol):
    """A store that can tell of its changes by NOTIFY.

    Attributes:
        url: of its database.
        channel: on which it tells of them, the same in all processes and that of no other store; known once it is open.
    """

    @property
    def url(self) -> URL: ...

    @property
    def channel(self) -> str: ...

    def notify_changes(self, write: Write | None) -> None:
        """Send what `write` makes of each change, in the transaction of the change; nothing from now on if None."""


class PostgreSQLBus(ConnectedBus):
    """A change and its message are committed together, or not at all. Listening takes a connection of its own.

    Args:
        store: whose changes.
    """

    kind: ClassVar[str] = "postgresql"

    def __init__(self, store: NotifyingStore) -> None:
        super().__init__(_WITHIN)
        self._store = store

    @asynccontextmanager
    async def running(self, hear: Hear) -> AsyncIterator[None]:
        async with super().running(hear):
            self._store.notify_changes(self._messages.write)
            try:
                yield
            finally:
                self._store.notify_changes(None)

    async def _connect(self, closing: AsyncExitStack) -> None:
        # Not of the budget: where that is used up, the workers have to hear of each other all the more.
        engine = open_engine(self._store.url, poolclass=NullPool, isolation_level="AUTOCOMMIT")
        connection = await closing.enter_async_context(engine.connect())
        closing.push_async_callback(connection.invalidate)  # closed without a word to a server that may be gone
        self._driver: Any = (await connection.get_raw_connection()).driver_connection
        self._wait = await _LISTEN[self._store.url.get_driver_name()](self._driver, self._store.channel)

    async def _next(self) -> Sequence[Change]:
        messages = await self._wait()
        if not messages:
            await in_time(PATIENCE, self._driver.execute("SELECT 1"))
        return self._read(*messages)


async def _by_psycopg(driver: Any, channel: str) -> Wait:
    await driver.execute(f'LISTEN "{channel}"')

    async def wait() -> Sequence[str]:
        return [notice.payload async for notice in driver.notifies(timeout=HEARTBEAT, stop_after=1)]

    return wait


async def _by_asyncpg(driver: Any, channel: str) -> Wait:
    messages: asyncio.Queue[str | None] = asyncio.Queue()
    driver.add_termination_listener(lambda _connection: messages.put_nowait(None))
    await driver.add_listener(channel, lambda _connection, _pid, _channel, payload: messages.put_nowait(payload))

    async def wait() -> Sequence[str]:
        try:
            async with asyncio.timeout(HEARTBEAT):
                message = await messages.get()
        except TimeoutError:
            return ()
        if message is None:
            raise ConnectionError("the server has closed the connection")
        return (message,)

    return wait


_LISTEN = {"psycopg": _by_psycopg, "asyncpg": _by_asyncpg}
