"""Work that goes on after the request that began it was answered, and ends with the application."""

import asyncio
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from typing import Any, TypeVar

from .errors import TenantUnavailableError

T = TypeVar("T")


class Background:
    """Owns tasks.

    Args:
        shutdown_timeout: seconds that `running` waits at its end for those that are left; then they are cancelled.
    """

    def __init__(self, shutdown_timeout: float) -> None:
        self._shutdown_timeout = shutdown_timeout
        self._tasks: set[asyncio.Task[Any]] = set()
        self._is_open = False

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        self._is_open = True
        try:
            yield
        finally:
            self._is_open = False
            await self._end()

    def start(self, work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        """Begin the work; whoever is interested in how it ends has to look at the task.

        Raises:
            TenantUnavailableError: the application is shutting down, or was not started.
        """
        if not self._is_open:
            work.close()
            raise TenantUnavailableError("the tenancy is closed; open it with: async with tenancy.lifespan(app)")
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def _end(self) -> None:
        if not self._tasks:
            return
        _, left = await asyncio.wait(tuple(self._tasks), timeout=self._shutdown_timeout)
        for task in left:
            task.cancel()
        if left:
            await asyncio.wait(left)
