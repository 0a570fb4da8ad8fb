"""What a bus does, and how one keeps its connection."""

import asyncio
import logging
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterable, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager, suppress
from random import random
from typing import Any, ClassVar, Protocol, TypeVar

from .change import EVERYTHING, Change, Messages

logger = logging.getLogger(__name__)

T = TypeVar("T")

Hear = Callable[[Sequence[Change]], Awaitable[None]]
"""Forgets what others have changed."""

Write = Callable[[Iterable[Change]], Iterable[str]]
"""Makes the messages that tell of changes."""

HEARTBEAT = 2.0  # seconds of silence, after which a connection is asked for a sign of life
PATIENCE = 2.0  # seconds that it has for that, and for being opened; it takes milliseconds
_PAUSES = (0.05, 0.1, 0.2, 0.5, 1.0, 2.0)  # seconds between attempts to connect

_AT_THE_START = 1.0  # seconds that the application waits for the first attempt to end
_CANCEL_AGAIN = 0.05  # seconds
_CANCELS = 20


class Bus(Protocol):
    """Carries changes between workers; `Tenancy(…, bus=…)` takes one of your own.

    Attributes:
        kind: its name, for people.
        within: seconds within which others see a change while they are connected; None where they are not told.
        is_connected: whether what others tell is heard now.
    """

    @property
    def kind(self) -> str: ...

    @property
    def within(self) -> float | None: ...

    @property
    def is_connected(self) -> bool: ...

    def running(self, hear: Hear) -> AbstractAsyncContextManager[None]:
        """Listen during the block. A bus that is away does not keep it from being entered, and is tried again.

        `hear` is called with what others have changed, and with `EVERYTHING` after each connection, since what was
        told before it was missed.
        """

    def publish(self, change: Change) -> None:
        """Tell others soon of a committed change. It neither waits nor fails."""

    def stats(self) -> dict[str, int]:
        """At least how many changes were `received` and `published`, and the `reconnects`."""


class NoBus:
    """Nobody is told."""

    kind = "none"
    within = None
    is_connected = False

    @asynccontextmanager
    async def running(self, hear: Hear) -> AsyncIterator[None]:
        yield

    def publish(self, change: Change) -> None:
        """Nobody hears it."""

    def stats(self) -> dict[str, int]:
        return {"received": 0, "published": 0, "reconnects": 0}


class ConnectedBus(ABC):
    """A bus by way of a server: it connects, and connects again, with longer and longer pauses, of random length."""

    kind: ClassVar[str]

    def __init__(self, within: float) -> None:
        self.within = within
        self.is_connected = False
        self._messages = Messages()
        self._connections = 0
        self._failures = 0
        self._tried = asyncio.Event()

    @abstractmethod
    async def _connect(self, closing: AsyncExitStack) -> None:
        """Begin to listen; `closing` gets what ends it."""

    @abstractmethod
    async def _next(self) -> Sequence[Change]:
        """What came, as `_read` gives it; nothing after a silence, at whose end the connection gave a sign of life."""

    def publish(self, change: Change) -> None:  # noqa: B027 - not every bus has something to do
        """Nothing more to do where the store tells of a change, in the transaction that makes it."""

    @asynccontextmanager
    async def running(self, hear: Hear) -> AsyncIterator[None]:
        self._messages, self._tried = Messages(), asyncio.Event()
        self._connections = self._failures = 0
        listening = asyncio.create_task(self._keep_listening(hear))
        try:
            with suppress(TimeoutError):
                async with asyncio.timeout(_AT_THE_START):
                    await self._tried.wait()
            yield
        finally:
            await ended(listening)

    def stats(self) -> dict[str, int]:
        messages = self._messages
        reconnects = max(self._connections - 1, 0)
        return {"received": messages.read, "published": messages.written, "reconnects": reconnects}

    async def _keep_listening(self, hear: Hear) -> None:
        while True:
            try:
                await self._listen(hear)
            except Exception as error:  # the edge: if the task ended here, the worker would be deaf until its restart
                if not self._failures:
                    logger.warning("bus lost", extra={"bus": self.kind}, exc_info=error)
            self._tried.set()
            await asyncio.sleep(pause_after(self._failures))
            self._failures += 1

    async def _listen(self, hear: Hear) -> None:
        async with AsyncExitStack() as closing:
            await in_time(PATIENCE, self._connect(closing))
            # After the connection, not before: what is told from now on is heard, and what was told is forgotten.
            await hear((EVERYTHING,))
            self.is_connected = True
            self._connections += 1
            self._tried.set()
            try:
                while True:
                    if changes := await self._next():
                        await hear(changes)
                    self._is_well()
            finally:
                self.is_connected = False

    def _read(self, *texts: str) -> Sequence[Change]:
        return [change for text in texts for change in self._messages.changes_in(text)]

    def _is_well(self) -> None:
        if self._failures:
            self._failures = 0  # not earlier: a server that accepts and hangs up is not to be asked all the time
            logger.warning("bus found again", extra={"bus": self.kind})


def pause_after(failures: int) -> float:
    """Seconds until the next attempt: half of them certain, half at random, so that workers do not come all at once."""
    longest = _PAUSES[min(failures, len(_PAUSES) - 1)]
    return longest / 2 + random() * longest / 2  # noqa: S311 - it spreads load and guards nothing


async def in_time(seconds: float, work: Coroutine[Any, Any, T]) -> T:
    """What the work returns; afterwards it has ended in any case.

    Raises:
        TimeoutError: it took longer.
    """
    task = asyncio.create_task(work)
    try:
        await asyncio.wait((task,), timeout=seconds)
        if not task.done():
            raise TimeoutError(f"it took longer than {seconds:g} s")
    finally:
        await ended(task)
    if task.cancelled():
        raise TimeoutError("it gave up")  # by itself: who waits for it was not cancelled
    return task.result()


async def ended(task: asyncio.Task[Any]) -> None:
    """Cancel it until it has ended, since one that goes on would use a connection that is closed behind its back.

    psycopg, when it is cancelled, asks the server to give up and waits for that; redis now and then pays no heed.
    """
    for _ in range(_CANCELS):
        if task.done():
            break
        task.cancel()
        await asyncio.wait((task,), timeout=_CANCEL_AGAIN)
    if task.done() and not task.cancelled():
        task.exception()  # whoever wants the result asks for it
