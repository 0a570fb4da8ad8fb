"""An engine for coroutines, and beside it one for threads that is opened when the first thread asks."""

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from types import MappingProxyType

from sqlalchemy import URL, Engine

from ..engines import Drivers, Engines, connections_of
from ..errors import TenantUnavailableError
from .metering import meter
from .read_only import tell_read_only


class EnginePair:
    """Two engines of one database.

    Args:
        engines: opens them.
        url: of the database, with an asynchronous driver.
        starts_with: the server's settings that connections start with; PostgreSQL only.
        prepare: called with each engine before it is used.
        drivers: in the place of the URL's own.
    """

    def __init__(
        self,
        engines: Engines,
        url: URL,
        *,
        starts_with: Mapping[str, str] = MappingProxyType({}),
        prepare: Callable[[Engine], None] = lambda _: None,
        drivers: Drivers | None = None,
    ) -> None:
        self.engine = engines.open(url, starts_with=starts_with, drivers=drivers)
        self._usage = engines.usage
        self._prepare = prepare
        self._make_ready(self.engine.sync_engine)
        self._open_sync = partial(engines.open_sync, url, starts_with=starts_with, drivers=drivers)
        self._sync: Engine | None = None
        self._opening = threading.Lock()
        self._turns = (engines.turns(), engines.server_turns(url))
        self._patience = engines.pool_timeout

    def sync(self) -> Engine:
        """The engine for threads."""
        with self._opening:
            if self._sync is None:
                self._sync = self._open_sync()
                self._make_ready(self._sync)
            return self._sync

    @asynccontextmanager
    async def turn(self) -> AsyncIterator[None]:
        """Wait, without holding a thread, until a thread's session will find a connection.

        Threads that wait for a connection would be those that the holders of the connections need to go on.

        Raises:
            TenantUnavailableError: it took longer than `pool_timeout`.
        """
        async with AsyncExitStack() as had:
            try:
                async with asyncio.timeout(self._patience):
                    for turns in self._turns:
                        await had.enter_async_context(turns)
            except TimeoutError as error:
                raise TenantUnavailableError(
                    "all of the tenant's connections are in use; raise pool_size, max_overflow or connection_budget"
                ) from error
            yield

    def connections(self) -> int:
        return connections_of(self.engine) + (0 if self._sync is None else connections_of(self._sync))

    async def dispose(self) -> None:
        await self.engine.dispose()
        if self._sync is not None:
            await asyncio.to_thread(self._sync.dispose)

    def _make_ready(self, engine: Engine) -> None:
        tell_read_only(engine)
        if self._usage is not None:
            meter(engine, self._usage)
        self._prepare(engine)
