"""End what lasts, a WebSocket or a stream, when its tenant is no longer active."""

import asyncio
import logging
import time
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeVar, cast

from starlette.requests import HTTPConnection
from starlette.websockets import WebSocket, WebSocketDisconnect, WebSocketState

from .directory import TenantDirectory
from .errors import (
    TenantNotFoundError,
    TenantNotSpecifiedError,
    TenantSuspendedError,
    TenantUnavailableError,
    middleware_missing,
)
from .settings import TenancySettings
from .store import TenantStore
from .tenant import Tenant, TenantStatus

logger = logging.getLogger(__name__)

T = TypeVar("T")

_END = object()

_POLICY_VIOLATION = 1008  # RFC 6455, section 7.4.1

_MAY_CLOSE = (WebSocketState.CONNECTING, WebSocketState.CONNECTED)


class Watcher:
    """Somebody who serves a tenant for long; each block that it is entered for, one at a time, `end` cuts short.

    Attributes:
        reason: what the client may read of why this has to end; None while it may go on.
    """

    __slots__ = ("_cancelled", "_cancelling", "_task", "reason")

    def __init__(self) -> None:
        self.reason: str | None = None
        self._task: asyncio.Task[Any] | None = None

    def end(self, reason: str) -> None:
        self.reason = reason
        if self._task is not None:
            self._cancelled = True
            self._task.cancel()

    def __enter__(self) -> None:
        self._task = task = cast("asyncio.Task[Any]", asyncio.current_task())
        self._cancelling = task.cancelling()
        self._cancelled = False

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> bool:
        task, self._task = self._task, None
        if task is None or not self._cancelled:
            return False
        # As asyncio.timeout does it: a cancellation by anybody else, also at the same time, goes on.
        return task.uncancel() <= self._cancelling and kind is asyncio.CancelledError


@dataclass(slots=True)
class _Watched:
    """A tenant, those who serve it, and when it is to be looked at."""

    due: float
    watchers: set[Watcher] = field(default_factory=set)


class TenantWatch:
    """Knows who serves which tenant for long, and tells them when it is no longer active.

    A change by this process is looked at when it happens. For those of others each watched tenant is read from the
    store every `watch_interval` seconds, once however many watch it, and one tenant at a time. While the store cannot
    be asked, all go on, apart from those of a tenant that this process has just made inactive.
    """

    def __init__(
        self,
        directory: TenantDirectory,
        store: TenantStore,
        settings: TenancySettings,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._directory = directory
        self._store = store
        self._interval = settings.watch_interval or settings.cache_ttl
        self._reveals_inactive = settings.reveal_inactive
        self._clock = clock
        self._watched: dict[str, _Watched] = {}  # in the order in which they are due
        self._told: dict[str, Tenant | None] = {}  # to be looked at now, and what was written, if anything was
        self._wake: asyncio.Event | None = None
        directory.on_change(self._tell)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        self._wake = asyncio.Event()
        looking = asyncio.create_task(self._keep_looking(self._wake))
        try:
            yield
        finally:
            self._wake = None
            looking.cancel()
            await asyncio.wait((looking,))

    @contextmanager
    def watching(self, tenant: Tenant) -> Iterator[Watcher]:
        """A watcher that is told, during the block, when `tenant` is no longer active.

        Raises:
            TenantUnavailableError: the tenancy is closed.
        """
        if self._wake is None:
            raise TenantUnavailableError("the tenancy is closed; open it with: async with tenancy.lifespan(app)")
        watched = self._watched.get(tenant.id)
        if watched is None:
            watched = self._watched[tenant.id] = _Watched(self._clock() + self._interval)
        if self._directory.remembered_by_id(tenant.id) != tenant:  # it changed since the request came
            self._told.setdefault(tenant.id)
        self._wake.set()
        watcher = Watcher()
        watched.watchers.add(watcher)
        try:
            yield watcher
        finally:
            watched.watchers.discard(watcher)
            if not watched.watchers and self._watched.get(tenant.id) is watched:
                del self._watched[tenant.id]

    async def look(self) -> None:
        """Read each tenant whose turn it is, and end what serves one that is no longer active."""
        while (tenant_id := self._next()) is not None:
            told = self._told.pop(tenant_id, None)
            watched = self._watched.pop(tenant_id, None)
            if watched is None:
                continue  # the last to watch it has left
            self._watched[tenant_id] = watched
            watched.due = self._clock() + self._interval
            try:
                found = await self._directory.ask(self._store.get(tenant_id))
            except Exception as error:  # the edge: if the task ended here, nobody would be watched any more
                logger.warning("watched tenant not read", extra={"tenant": tenant_id}, exc_info=error)
                if told is None:
                    continue
                found = told
            if found is None or not found.is_active:
                self._end(tenant_id, found)
                remembered = self._directory.remembered_by_id(tenant_id)
                if remembered is None or remembered.is_active:
                    # Else the client, which connects again, would be let in; if the store fails, also as one expired.
                    await self._directory.forget_changed(tenant_id)

    def look_soon(self, tenant_id: str | None = None) -> None:
        """Read the tenant as soon as may be, since another process changed it; all that are watched if None."""
        for each in tuple(self._watched) if tenant_id is None else (tenant_id,):
            if each in self._watched:
                self._told.setdefault(each)
        if self._told and self._wake is not None:
            self._wake.set()

    def stats(self) -> dict[str, int]:
        return {"tenants": len(self._watched), "watchers": sum(len(each.watchers) for each in self._watched.values())}

    def _next(self) -> str | None:
        if self._told:
            return next(iter(self._told))
        for tenant_id, watched in self._watched.items():
            return tenant_id if watched.due <= self._clock() else None
        return None

    def _end(self, tenant_id: str, found: Tenant | None) -> None:
        is_suspended = found is not None and found.status is TenantStatus.SUSPENDED
        error = TenantSuspendedError if is_suspended and self._reveals_inactive else TenantNotFoundError
        watched = self._watched.pop(tenant_id, None)
        for watcher in () if watched is None else watched.watchers:
            watcher.end(error.public)

    def _tell(self, tenant: Tenant) -> None:
        if tenant.id in self._watched and self._wake is not None:
            self._told[tenant.id] = tenant
            self._wake.set()

    async def _keep_looking(self, wake: asyncio.Event) -> None:
        while True:
            wake.clear()
            await self.look()
            first = next(iter(self._watched.values()), None)
            with suppress(TimeoutError):
                async with asyncio.timeout(None if first is None else first.due - self._clock()):
                    await wake.wait()


class _HasWatch(Protocol):
    """What is needed of a `Tenancy`."""

    @property
    def watch(self) -> TenantWatch: ...


@asynccontextmanager
async def closed_when_inactive(websocket: WebSocket) -> AsyncIterator[None]:
    """An `async with` block that serves a WebSocket for as long as its tenant is active.

    When the tenant is suspended or deleted, what the block waits for is cancelled, the WebSocket is closed with 1008,
    and the code goes on after the block.

    Raises:
        TenantNotSpecifiedError: the request named no tenant.
        TenantUnavailableError: the tenancy is closed.
    """
    watch, tenant = _served(websocket)
    with watch.watching(tenant) as watcher, watcher:
        yield
    if watcher.reason is not None and websocket.application_state in _MAY_CLOSE:
        with suppress(WebSocketDisconnect):  # the client was faster
            await websocket.close(_POLICY_VIOLATION, watcher.reason)


def while_active(connection: HTTPConnection, source: AsyncIterable[T]) -> AsyncGenerator[T, None]:
    """What `source` yields, for a streaming response, until its tenant is suspended or deleted.

    Then what `source` waits for is cancelled, and the stream ends as if `source` had come to its end. In any case
    `source` is closed by its `aclose`, if it has one.

    Raises:
        TenantNotSpecifiedError: the request named no tenant.
        TenantUnavailableError: the tenancy is closed; raised by the first item.
    """
    watch, tenant = _served(connection)
    return _while_active(watch, tenant, source)


async def _while_active(watch: TenantWatch, tenant: Tenant, source: AsyncIterable[T]) -> AsyncGenerator[T, None]:
    stream = aiter(source)
    with watch.watching(tenant) as watcher:
        try:
            while watcher.reason is None:
                item: object = _END
                with watcher:  # not around the yield: who takes the item is not to be cancelled
                    item = await anext(stream, _END)
                if item is _END or watcher.reason is not None:
                    break
                yield cast("T", item)
        finally:
            if hasattr(stream, "aclose"):
                await stream.aclose()


def _served(connection: HTTPConnection) -> tuple[TenantWatch, Tenant]:
    state: dict[str, Any] = connection.scope.get("state", {})
    if "tenancy" not in state:
        raise middleware_missing()
    tenancy: _HasWatch = state["tenancy"]
    tenant: Tenant | None = state["tenant"]
    if tenant is None:
        raise TenantNotSpecifiedError("there is no tenant to watch, since the request names none")
    return tenancy.watch, tenant
