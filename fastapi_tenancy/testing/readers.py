"""Readers of one key of a cache, each told by a test how its load ends."""

import asyncio
from collections.abc import Callable
from typing import Any

from ..cache import BaseCache

PATIENCE = 10  # seconds after which what a test waits for will not come any more


class Reader:
    """A task that enters a lock on "key", notes it, and then loads as it is told.

    Attributes:
        lock: what it enters.
        entered: whether it has.
        task: ends with the lock's result.
    """

    def __init__(self, cache: BaseCache, log: list["Reader"] | None = None) -> None:
        self.lock = cache.acquire("key")
        self.entered = False
        self._log = [] if log is None else log
        self._orders: asyncio.Queue[Callable[[], Any]] = asyncio.Queue()
        self.task = asyncio.create_task(self._run())

    @property
    def is_settled(self) -> bool:
        """Whether it goes no further by itself: it loads, waits for another's load, or has ended."""
        return self.entered or self.task.done() or self.lock.parent is not None

    def give(self, value: Any) -> None:
        """Load `value`."""
        self._orders.put_nowait(lambda: self.lock.set_result(value))

    def fail(self) -> None:
        """Raise a ZeroDivisionError instead of loading."""
        self._orders.put_nowait(lambda: 1 / 0)

    def give_up(self) -> None:
        """Leave without a result."""
        self._orders.put_nowait(lambda: None)

    async def _run(self) -> Any:
        async with self.lock:
            self.entered = True
            self._log.append(self)
            if not self.lock.done:
                order = (await self._orders.get())()
                if order is not None:
                    await order
        return self.lock.result


async def readers_of(cache: BaseCache, count: int) -> list[Reader]:
    """That many readers, the first of which loads if the value is not there."""
    readers = [Reader(cache) for _ in range(count)]
    await until(lambda: all(reader.is_settled for reader in readers))
    return readers


async def results_of(readers: list[Reader]) -> list[Any]:
    return [await reader.task for reader in readers]


async def ticks(count: int = 20) -> None:
    """Let the other tasks run; what they have not done afterwards they will not do by themselves."""
    for _ in range(count):
        await asyncio.sleep(0)


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(PATIENCE):
        while not condition():  # noqa: ASYNC110 - what is waited for belongs to the implementation, and sets no event
            await asyncio.sleep(0)
