"""The bus that needs no server: changes are written into a table of the store, which every worker looks at."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from typing import ClassVar, Protocol

from .base import ConnectedBus, Hear, Write, in_time
from .change import EVERYTHING, Change


class ChangeLog(Protocol):
    """A store that keeps a log of its last changes, with numbers that rise in the order of the commits."""

    def log_changes(self, write: Write | None) -> None:
        """Log what `write` makes of each change, in the transaction of the change; nothing from now on if None."""

    async def last_change(self) -> int:
        """The number of the last entry; 0 if there was none ever."""

    async def changes_from(self, number: int) -> Sequence[tuple[int, str]] | None:
        """The entries from that number on, in their order; None if nothing was written since this was asked last."""


class PollingBus(ConnectedBus):
    """A change and its entry are committed together, or not at all.

    Args:
        log: of the store.
        interval: seconds between two looks at it.
        timeout: seconds that a look may take.
    """

    kind: ClassVar[str] = "poll"

    def __init__(self, log: ChangeLog, interval: float, timeout: float) -> None:
        super().__init__(2 * interval)
        self._log = log
        self._interval = interval
        self._timeout = timeout

    @asynccontextmanager
    async def running(self, hear: Hear) -> AsyncIterator[None]:
        async with super().running(hear):
            self._log.log_changes(self._messages.write)
            try:
                yield
            finally:
                self._log.log_changes(None)

    async def _connect(self, closing: AsyncExitStack) -> None:
        self._seen = await in_time(self._timeout, self._log.last_change())

    async def _next(self) -> Sequence[Change]:
        await asyncio.sleep(self._interval)
        entries = await in_time(self._timeout, self._log.changes_from(self._seen))
        if entries is None:
            return ()
        # The entry that was seen last is asked for too: where it is gone, so are others that nobody has seen.
        missed = self._seen and (not entries or entries[0][0] != self._seen)
        fresh = self._read(*(text for number, text in entries if number > self._seen))
        self._seen = entries[-1][0] if entries else 0
        return (EVERYTHING,) if missed else fresh
