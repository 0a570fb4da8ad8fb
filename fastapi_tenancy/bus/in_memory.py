"""A bus between the applications of one process, for tests."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import ClassVar

from .base import Hear, ended
from .change import EVERYTHING, Change


class InMemoryBus:
    """One worker's end of a bus; all that are given the same `peers` hear each other."""

    kind: ClassVar[str] = "memory"

    def __init__(self, peers: set["InMemoryBus"]) -> None:
        self.within = 0.0
        self.is_connected = False
        self._peers = peers
        self._heard: asyncio.Queue[Change] = asyncio.Queue()
        self._received = self._published = 0

    @asynccontextmanager
    async def running(self, hear: Hear) -> AsyncIterator[None]:
        self._heard = asyncio.Queue()
        self._peers.add(self)
        self.is_connected = True
        await hear((EVERYTHING,))
        listening = asyncio.create_task(self._keep_listening(hear))
        try:
            yield
        finally:
            self.is_connected = False
            self._peers.discard(self)
            await ended(listening)

    def publish(self, change: Change) -> None:
        self._published += 1
        for peer in self._peers - {self}:
            peer._heard.put_nowait(change)  # noqa: SLF001 - another end of the same bus

    def stats(self) -> dict[str, int]:
        return {"received": self._received, "published": self._published, "reconnects": 0}

    async def _keep_listening(self, hear: Hear) -> None:
        while True:
            change = await self._heard.get()
            self._received += 1
            await hear((change,))
