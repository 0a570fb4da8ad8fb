"""The pool of an asynchronous engine: it waits without holding up the event loop."""

import asyncio
import socket
from collections.abc import Callable, Coroutine
from contextlib import suppress
from functools import partial
from threading import get_ident
from typing import Any, ClassVar

from sqlalchemy.util import await_only, greenlet_spawn
from sqlalchemy.util.concurrency import in_greenlet

from .driver import HANG_UP
from .pool import DrawingPool


class BudgetedPool(DrawingPool[asyncio.Future[Any]]):
    """For `create_async_engine(…, poolclass=BudgetedPool, budget=…)`."""

    _is_asyncio = True
    _tasks: ClassVar[set[asyncio.Task[Any]]] = set()  # a loop keeps only weak references to its tasks

    def _signal(self) -> tuple[Callable[[], object], Callable[[float], object]]:
        loop, thread = asyncio.get_running_loop(), get_ident()
        served = loop.create_future()

        def wake() -> None:
            if get_ident() == thread:
                _resolve(served)
            else:
                loop.call_soon_threadsafe(_resolve, served)

        def wait(seconds: float) -> None:
            timer = loop.call_later(seconds, _resolve, served)
            try:
                await_only(served)
            finally:
                timer.cancel()

        return wake, wait

    def _run(self, function: Callable[..., object], *arguments: object) -> asyncio.Future[Any]:
        return self._start(greenlet_spawn(function, *arguments))

    def _wait(self, attempt: asyncio.Future[Any], seconds: float) -> bool:
        # Unlike wait_for() it does not wait for a cancellation, in which a driver may hang as well.
        await_only(asyncio.wait({attempt}, timeout=seconds))
        return attempt.done()

    def _later(self, function: Callable[..., object], *arguments: object) -> object:
        return self._loop.call_soon_threadsafe(partial(self._run, function, *arguments))

    def _once_hung_up(self, line: socket.socket, end: Callable[[], object]) -> None:
        def clear_up(_task: object = None) -> None:
            line.close()
            end()

        if in_greenlet():
            # In the background, since a request that was cancelled cannot wait for anything any more.
            self._start(_hang_up(line)).add_done_callback(clear_up)
        else:
            clear_up()  # it could not be closed here, only dropped; SQLAlchemy has logged it

    def _start(self, coroutine: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
        self._loop = asyncio.get_running_loop()
        task = self._loop.create_task(coroutine)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task


def _resolve(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)


async def _hang_up(line: socket.socket) -> None:
    line.setblocking(False)
    with suppress(OSError):
        async with asyncio.timeout(HANG_UP):
            while await asyncio.get_running_loop().sock_recv(line, 4096):
                pass
