"""Two workers on one store, that can know of each other's changes from the bus alone, and waiting for what they do."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from support import make_tenancy

from fastapi_tenancy import Tenancy, TenantNotFoundError

FOR_EVER = {"cache_ttl": 3600, "unknown_cache_ttl": 3600.0}
POLLED = {"bus": "poll", "bus_poll_interval": 0.01}


@asynccontextmanager
async def two_workers(folder: Path, **given: Any) -> AsyncIterator[tuple[Tenancy, Tenancy]]:
    given = {**FOR_EVER, **given}
    async with make_tenancy(folder, **given) as here, make_tenancy(folder, **given) as there:
        yield here, there


async def until(question: Callable[[], Awaitable[bool]], seconds: float = 10) -> None:
    """Ask until the answer is yes."""
    async with asyncio.timeout(seconds):
        while not await question():
            await asyncio.sleep(0.001)


async def until_connected(tenancy: Tenancy, *, reconnects: int = 0) -> None:
    async def is_connected() -> bool:
        bus = tenancy.stats()["bus"]
        return bus["connected"] and bus["reconnects"] >= reconnects

    await until(is_connected)


async def knows(tenancy: Tenancy, identifier: str) -> str | None:
    """The status of the tenant of that name as the worker answers a request; None where it knows none."""
    try:
        return (await tenancy.directory.find(identifier)).status.value
    except TenantNotFoundError:
        return None
