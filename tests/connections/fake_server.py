"""A database server that only counts its connections, and answers when it is told to."""

import asyncio
import threading
from collections.abc import Awaitable, Callable
from weakref import WeakSet

from sqlalchemy.pool import Pool, PoolProxiedConnection
from sqlalchemy.util import await_only, greenlet_spawn
from sqlalchemy.util.concurrency import in_greenlet

from fastapi_tenancy.connections import BudgetedPool


class FakeConnection:
    def __init__(self, server):
        self.server = server
        server.open.add(self)

    def close(self):
        _breathe()
        self.server.open.remove(self)
        if self.server.close_fails:
            raise OSError("the line is dead")

    def rollback(self):
        _breathe()

    commit = rollback


class FakeServer:
    """`refusal` is what a connection fails with; it is answered only while `answers` is set, if there is one."""

    def __init__(self):
        self.open = WeakSet()  # a connection that everybody has dropped is closed too
        self.attempts = self.most = 0
        self.refusal = None
        self.close_fails = False
        self.answers: asyncio.Event | threading.Event | None = None

    def connect(self):
        self.attempts += 1
        self.most = max(self.most, self.attempts + len(self.open))
        try:
            self._answer()
            if self.refusal is not None:
                raise self.refusal
            return FakeConnection(self)
        finally:
            self.attempts -= 1

    def _answer(self):
        if isinstance(self.answers, asyncio.Event):
            await_only(self.answers.wait())
        elif self.answers is not None:
            self.answers.wait()
        else:
            _breathe()


def _breathe():
    if in_greenlet():
        await_only(asyncio.sleep(0))


async def connect(pool: BudgetedPool) -> PoolProxiedConnection:
    return await greenlet_spawn(pool.connect)


async def close(*connections: PoolProxiedConnection) -> None:
    for connection in connections:
        await greenlet_spawn(connection.close)


async def dispose(*pools: Pool) -> None:
    for pool in pools:
        await greenlet_spawn(pool.dispose)


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(20):
        while not condition():
            await asyncio.sleep(0)


async def turns(number: int = 10) -> None:
    """Let everybody go on who can."""
    for _ in range(number):
        await asyncio.sleep(0)


async def cancelled(task: asyncio.Task) -> bool:
    task.cancel()
    await asyncio.wait({task})
    return task.cancelled()


def soon(awaitable: Awaitable) -> asyncio.Task:
    return asyncio.ensure_future(awaitable)
