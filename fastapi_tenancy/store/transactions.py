"""Run a store's transactions: on the event loop, or in a thread where that is quicker."""

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from sqlalchemy import Connection, Engine
from sqlalchemy.ext.asyncio import AsyncEngine

from ..sqlite import BEGIN_IMMEDIATE

T = TypeVar("T")


class Transactions(ABC):
    """Runs functions of a connection, each in a transaction of its own."""

    @abstractmethod
    async def read(self, work: Callable[[Connection], T]) -> T:
        """What `work` returns; it changes nothing."""

    @abstractmethod
    async def write(self, work: Callable[[Connection], T]) -> T:
        """What `work` returns, committed; nothing is changed where it raises."""

    async def has_changed(self) -> bool:
        """False if nobody has committed anything since this was asked last, where that is easy to find out."""
        return True

    @abstractmethod
    async def close(self) -> None:
        """Give up all connections."""


class OnTheLoop(Transactions):
    """By an asynchronous driver."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine

    async def read(self, work: Callable[[Connection], T]) -> T:
        async with self._engine.connect() as connection:
            return await connection.run_sync(work)

    async def write(self, work: Callable[[Connection], T]) -> T:
        async with self._engine.execution_options(**BEGIN_IMMEDIATE).begin() as connection:
            return await connection.run_sync(work)

    async def close(self) -> None:
        await self._engine.dispose()


class InThreads(Transactions):
    """By SQLite's own driver: one change of thread for a transaction, and not one for each of its steps."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        # Not the loop's own threads, which the application may keep busy.
        self._threads = ThreadPoolExecutor(4, thread_name_prefix="tenancy-store")
        self._onlooker: Connection | None = None
        self._looked_at: int | None = None

    async def read(self, work: Callable[[Connection], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._threads, self._read, work)

    async def write(self, work: Callable[[Connection], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._threads, self._write, work)

    async def has_changed(self) -> bool:
        return await asyncio.get_running_loop().run_in_executor(self._threads, self._look)

    async def close(self) -> None:
        await asyncio.to_thread(self._threads.shutdown)
        if self._onlooker is not None:
            self._onlooker.close()
        self._engine.dispose()

    def _look(self) -> bool:
        # One and the same connection, which writes nothing: the number counts what others have committed.
        if self._onlooker is None:
            self._onlooker = self._engine.connect()
        version = self._onlooker.exec_driver_sql("PRAGMA data_version").scalar_one()
        seen, self._looked_at = self._looked_at, version
        return bool(version != seen)

    def _read(self, work: Callable[[Connection], T]) -> T:
        with self._engine.connect() as connection:
            return work(connection)

    def _write(self, work: Callable[[Connection], T]) -> T:
        with self._engine.execution_options(**BEGIN_IMMEDIATE).begin() as connection:
            return work(connection)
