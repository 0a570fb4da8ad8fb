"""The pool of a synchronous engine: it blocks the thread that asks."""

import socket
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import suppress
from contextvars import copy_context
from functools import partial
from queue import Empty, SimpleQueue
from threading import Thread
from typing import Any

from .driver import HANG_UP
from .pool import DrawingPool


class BlockingBudgetedPool(DrawingPool[Future[Any]]):
    """For `create_engine(…, poolclass=BlockingBudgetedPool, budget=…)`, used from worker threads."""

    _is_asyncio = False

    def _signal(self) -> tuple[Callable[[], object], Callable[[float], object]]:
        # Of all that a thread can wait for, this one may be told from within the garbage collector.
        served: SimpleQueue[None] = SimpleQueue()

        def wait(seconds: float) -> None:
            with suppress(Empty):
                served.get(timeout=seconds)

        return partial(served.put, None), wait

    def _run(self, function: Callable[..., object], *arguments: object) -> Future[Any]:
        attempt: Future[Any] = Future()
        attempt.set_running_or_notify_cancel()
        # A daemon: a server that does not answer must not hold up the end of the process.
        Thread(target=copy_context().run, args=(_fulfil, attempt, function, *arguments), daemon=True).start()
        return attempt

    def _wait(self, attempt: Future[Any], seconds: float) -> bool:
        with suppress(TimeoutError):
            attempt.exception(seconds)
        return attempt.done()

    def _later(self, function: Callable[..., object], *arguments: object) -> object:
        return self._run(function, *arguments)

    def _once_hung_up(self, line: socket.socket, end: Callable[[], object]) -> None:
        line.settimeout(HANG_UP)
        with line, suppress(OSError):
            while line.recv(4096):
                pass
        end()


def _fulfil(attempt: Future[Any], function: Callable[..., object], *arguments: object) -> None:
    try:
        attempt.set_result(function(*arguments))
    except BaseException as error:  # noqa: BLE001  # whoever waits for it raises it
        attempt.set_exception(error)
