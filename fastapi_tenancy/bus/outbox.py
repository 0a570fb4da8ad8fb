"""Send what is to be told, and send it again until it has arrived."""

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, suppress

from .base import ended, pause_after
from .change import EVERYTHING, Change

logger = logging.getLogger(__name__)

_FULL = 1000  # changes that wait; beyond that others are told to forget everything
_AT_THE_END = 1.0  # seconds that the end of the application waits for what is left


class Outbox:
    """Keeps changes until they are sent, each once however often it was put there.

    Args:
        send: hands changes over; what it raises is tried again.
    """

    def __init__(self, send: Callable[[Sequence[Change]], Awaitable[None]]) -> None:
        self._send = send
        self._waiting: dict[Change, None] = {}
        self._filled = asyncio.Event()
        self._all_sent = asyncio.Event()

    def put(self, change: Change) -> None:
        self._waiting[change] = None
        if len(self._waiting) > _FULL:
            self._waiting = {EVERYTHING: None}
        self._all_sent.clear()
        self._filled.set()

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        self._filled, self._all_sent = asyncio.Event(), asyncio.Event()  # of the loop that runs now
        self._filled.set()
        sending = asyncio.create_task(self._keep_sending())
        try:
            yield
        finally:
            with suppress(TimeoutError):
                async with asyncio.timeout(_AT_THE_END):
                    await self._all_sent.wait()
            await ended(sending)

    async def _keep_sending(self) -> None:
        failures = 0
        while True:
            await self._filled.wait()
            self._filled.clear()
            changes, self._waiting = self._waiting, {}
            try:
                if changes:
                    await self._send(tuple(changes))
            except Exception as error:  # the edge: if the task ended here, nothing would be told any more
                if not failures:
                    logger.warning("changes not told yet", extra={"changes": len(changes)}, exc_info=error)
                self._waiting = {**changes, **self._waiting}
                self._filled.set()
                await asyncio.sleep(pause_after(failures))
                failures += 1
            else:
                failures = 0
            if not self._waiting:
                self._all_sent.set()
