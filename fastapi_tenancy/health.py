"""Tell whoever runs the process whether it is alive, and whether it should get requests."""

import asyncio
import time
from collections.abc import Callable
from typing import Any, Protocol

from fastapi import APIRouter
from fastapi.responses import JSONResponse

from .cache.redis import answers
from .directory import TenantDirectory
from .errors import TenancyError
from .settings import TenancySettings
from .store import ProbedStore, TenantStore

_FRESH = 1.0  # seconds for which an answer is given again
_PATIENCE = 0.8  # seconds that a probe waits: Kubernetes gives it one
_REDIS_PATIENCE = 0.25  # seconds

_NO_STORE = {"Cache-Control": "no-store"}


class Readiness:
    """Whether a worker should get requests: not while it is being closed, nor while the store cannot be asked.

    Args:
        directory: asks the store.
        store: what is asked.
        settings: of the deployment.
        bus: its kind, and whether it is connected.
        clock: seconds that only go forward.

    Attributes:
        is_open: whether the application has started, and has not begun to end.
    """

    def __init__(
        self,
        directory: TenantDirectory,
        store: TenantStore,
        settings: TenancySettings,
        bus: Callable[[], tuple[str, bool]],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._directory = directory
        self._store = store
        self._redis_url = settings.redis_url
        self._bus = bus
        self._clock = clock
        self._looking: asyncio.Task[tuple[str, str]] | None = None
        self._looked_at = float("-inf")
        self.is_open = False

    async def look(self) -> tuple[bool, dict[str, Any]]:
        """Whether it is ready, and what that is made of; the store and Redis are asked once a second at most.

        The bus and Redis do not decide: without them the application works, if not as well.
        """
        store, redis = await self._looked() if self.is_open else ("closed", "unknown")
        bus, is_connected = self._bus()
        parts = {"store": store, "bus": bus, "bus_connected": is_connected, "redis": redis}
        return store == "ok" and self.is_open, {"draining": not self.is_open, **parts}

    async def aclose(self) -> None:
        looking, self._looking = self._looking, None
        if looking is not None:
            looking.cancel()
            await asyncio.wait((looking,))

    async def _looked(self) -> tuple[str, str]:
        looking = self._looking
        if looking is None or (looking.done() and self._clock() >= self._looked_at + _FRESH):
            looking = self._looking = asyncio.create_task(self._look())
            self._looked_at = self._clock()
        # A probe that is given up ends nothing: what it waits for has its own deadline, and is for the next one, too.
        await asyncio.wait((looking,), timeout=_PATIENCE)
        return looking.result() if looking.done() and not looking.cancelled() else ("slow", "unknown")

    async def _look(self) -> tuple[str, str]:
        store, redis = await asyncio.gather(self._store_now(), self._redis_now())
        return store, redis

    async def _store_now(self) -> str:
        question = self._store.is_current() if isinstance(self._store, ProbedStore) else _is_there(self._store)
        try:
            return "ok" if await self._directory.ask(question) else "behind"
        except TenancyError:
            return "failing"  # why stands in the log

    async def _redis_now(self) -> str:
        if self._redis_url is None:
            return "none"
        return "ok" if await answers(self._redis_url, _REDIS_PATIENCE) else "failing"


class SupportsHealth(Protocol):
    """What is needed of a `Tenancy`."""

    @property
    def readiness(self) -> Readiness: ...


def health_router(tenancy: SupportsHealth) -> APIRouter:
    """A router with `GET /livez`, 200 as long as the event loop runs, and `GET /readyz`, 200 or 503.

    Both answer in JSON, without secrets, and want no tenant: `TenancyMiddleware(exclude=["/livez", "/readyz"])`.
    """

    async def alive() -> JSONResponse:
        return JSONResponse({"status": "alive"}, headers=_NO_STORE)

    async def ready() -> JSONResponse:
        is_ready, parts = await tenancy.readiness.look()
        content = {"status": "ready" if is_ready else "unready", **parts}
        return JSONResponse(content, 200 if is_ready else 503, _NO_STORE)

    router = APIRouter(include_in_schema=False)
    for path, endpoint in {"/livez": alive, "/readyz": ready}.items():
        router.add_api_route(path, endpoint, methods=["GET", "HEAD"])
    return router


async def _is_there(store: TenantStore) -> bool:
    await store.get("")
    return True
