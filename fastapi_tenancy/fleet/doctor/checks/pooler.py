"""Whether a pooler gives each transaction another connection of PostgreSQL: a live probe, which leaves nothing."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager

from sqlalchemy import URL, text
from sqlalchemy.ext.asyncio import AsyncEngine

from ....engines import Engines
from ....urls import server_of
from ..deployment import Deployment
from ..failures import FAILURES
from ..finding import Found, error, info
from .servers import urls_of

# A client of the database: tells which connection of the server a transaction of its gets.
Backend = Callable[[], Awaitable[int]]
# Another client, which keeps one of them for itself while the block lasts.
Hold = Callable[[], AbstractAsyncContextManager[object]]

_PATIENCE = 2.0  # seconds: who waits longer for a connection waits for the one that is held
_HOLDERS = 3  # a pool in use may not hand out the connection that was given back last

_AS_A_CLIENT = {"pooler": "transaction", "pool_size": _HOLDERS + 1, "connection_budget": _HOLDERS + 1}

_PID = text("SELECT pg_backend_pid()")


async def pooler(deployment: Deployment) -> AsyncIterator[Found]:
    urls = [urls_of(place)[0] for place in (await deployment.places()).all()]
    urls += [url for url in (deployment.store_url,) if url is not None]
    servers = {server_of(url): url for url in urls if url.get_backend_name() == "postgresql"}
    for server, url in servers.items():
        try:
            mixed = await _probe(deployment, url)
        except FAILURES:
            continue  # `store` and `servers` say so
        if mixed and deployment.settings.pooler == "none":
            yield error(
                f"what answers at {server} is a pooler that gives each transaction another connection, and pooler is "
                '"none": what one session sets, another one gets',
                "set TENANCY_POOLER=transaction",
            )
        elif not mixed and deployment.settings.pooler == "transaction":
            yield info(
                f'pooler is "transaction", and {server} gave one client the same connection each time',
                "where there is no pooler, set TENANCY_POOLER=none: it saves a round trip in each transaction",
            )


async def mixes(backend: Backend, hold: Hold) -> bool:
    """Whether one client's transactions get different connections, as others take what it has given back."""
    before = await backend()
    async with AsyncExitStack() as held:
        for _ in range(_HOLDERS):
            await held.enter_async_context(hold())
            asking = asyncio.ensure_future(backend())
            # Not cancelled: it gets its answer as soon as the others let go.
            held.push_async_callback(asyncio.wait, {asking})
            if not (await asyncio.wait({asking}, timeout=_PATIENCE))[0] or asking.result() != before:
                return True
    return False


async def _probe(deployment: Deployment, url: URL) -> bool:
    # As one connects to a pooler, which would refuse what else a connection begins with.
    settings = deployment.settings.model_copy(update=_AS_A_CLIENT)
    engine = Engines(settings).open(url)
    try:
        async with engine.execution_options(isolation_level="AUTOCOMMIT").connect() as client:

            async def backend() -> int:
                return int((await client.execute(_PID)).scalar_one())

            return await mixes(backend, lambda: _holding(engine))
    finally:
        await engine.dispose()


@asynccontextmanager
async def _holding(engine: AsyncEngine) -> AsyncIterator[None]:
    async with engine.connect() as connection:
        await connection.execute(_PID)
        yield
