"""What happens to tenants, and those who listen."""

import asyncio
import inspect
import logging
from collections import deque
from collections.abc import Callable, Coroutine, Iterable, Mapping
from contextlib import suppress
from contextvars import Context
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from types import MappingProxyType
from typing import Any, TypeVar

from .deadlines import drop_outcome
from .errors import ConfigurationError, RequestError, VetoedError
from .tenant import Tenant

logger = logging.getLogger(__name__)

LISTENER_TIMEOUT = 5.0  # seconds, as `store_timeout` has by default


class EventKind(StrEnum):
    """What can happen."""

    PROVISIONED = "provisioned"
    CREATED = "created"
    UPDATED = "updated"
    RENAMED = "renamed"
    SUSPENDED = "suspended"
    ACTIVATED = "activated"
    REKEYED = "rekeyed"
    MIGRATED = "migrated"
    MOVED = "moved"
    EXPORTED = "exported"
    IMPORTED = "imported"
    DELETING = "deleting"
    DELETED = "deleted"
    DOMAIN_ADDED = "domain_added"
    DOMAIN_VERIFIED = "domain_verified"
    DOMAIN_REVOKED = "domain_revoked"
    DOMAIN_REMOVED = "domain_removed"
    DOMAIN_MADE_PRIMARY = "domain_made_primary"
    TOKEN_CREATED = "token_created"  # noqa: S105 - no secret
    TOKEN_REVOKED = "token_revoked"  # noqa: S105 - no secret
    IMPERSONATED = "impersonated"
    IMPERSONATION_REDEEMED = "impersonation_redeemed"
    PROFILE_OPENED = "profile_opened"
    PROFILE_CLOSED = "profile_closed"


# Steps of another act, and what is no act of anybody's.
UNSTOPPABLE = frozenset(
    {
        EventKind.PROVISIONED,
        EventKind.MIGRATED,
        EventKind.IMPORTED,
        EventKind.DELETING,
        EventKind.PROFILE_OPENED,
        EventKind.PROFILE_CLOSED,
    }
)


@dataclass(frozen=True, slots=True, kw_only=True)
class TenancyEvent:
    """Something that has happened to a tenant; told to a listener with a veto, something that is about to.

    Attributes:
        kind: what.
        tenant: whose, as it is afterwards; one that is deleted, as it was last.
        at: when, UTC.
        actor: who did it, as `acting_as` has said; None if nobody was named.
        before: the tenant as it was, where it is changed; else None.
        details: what else there is to say; never a secret.
    """

    kind: EventKind
    tenant: Tenant
    at: datetime
    actor: str | None = None
    before: Tenant | None = None
    details: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        object.__setattr__(self, "details", MappingProxyType(dict(self.details)))


Listener = Callable[[TenancyEvent], Any]
L = TypeVar("L", bound=Listener)


@dataclass(frozen=True, slots=True)
class _Registration:
    listener: Listener
    timeout: float

    async def call(self, event: TenancyEvent) -> None:
        await within(self.timeout, _heard(self.listener, event))


class Events:
    """Calls listeners in the order in which they were registered, each in its turn."""

    def __init__(self) -> None:
        self._listeners: dict[EventKind, list[_Registration]] = {}
        self._vetoes: dict[EventKind, list[_Registration]] = {}
        self._running: set[asyncio.Task[None]] = set()
        self._late: deque[TenancyEvent] = deque()
        self._telling_late = False

    def on(self, *kinds: EventKind | str, veto: bool = False, timeout: float = LISTENER_TIMEOUT) -> Callable[[L], L]:
        """A decorator that registers a listener, sync (called in a thread) or async.

        Args:
            kinds: what it listens to.
            veto: call it before the act, which what it raises stops.
            timeout: seconds that an act waits for it.

        Raises:
            ConfigurationError: there is no such kind, or it cannot be stopped.
        """
        wanted = [_kind(kind) for kind in kinds]
        if not wanted:
            raise ConfigurationError(f"name what to listen to: {', '.join(EventKind)}")
        if veto and (unstoppable := UNSTOPPABLE.intersection(wanted)):
            raise ConfigurationError(f"{', '.join(sorted(unstoppable))} cannot be stopped; leave out veto=True")
        registered = self._vetoes if veto else self._listeners

        def register(listener: L) -> L:
            for kind in wanted:
                registered.setdefault(kind, []).append(_Registration(listener, timeout))
            return listener

        return register

    def is_heard(self, kind: EventKind) -> bool:
        return kind in self._listeners

    async def ask(self, events: Iterable[TenancyEvent]) -> None:
        """Let those with a veto stop an act before it is begun.

        Raises:
            VetoedError: one of them raised something, or did not end in time.
        """
        for event in events:
            for each in self._vetoes.get(event.kind, ()):
                try:
                    await each.call(event)
                except Exception as error:  # the application's own code: whatever it raises is a no
                    raise _vetoed(event, error) from error

    async def tell(self, events: Iterable[TenancyEvent]) -> None:
        """Tell what has happened, one listener after the other; also to the end if the caller is cancelled."""
        heard = [event for event in events if event.kind in self._listeners]
        if heard:
            await self.finish(self._tell_all(heard))

    def tell_soon(self, event: TenancyEvent) -> None:
        """Tell it behind the back of whoever made it happen, after what was told so before."""
        self._late.append(event)
        if not self._telling_late:
            self._telling_late = True
            # An empty context: it is not the tenant of the request that happened to make room.
            self._start(self._tell_late(), context=Context())

    async def finish(self, work: Coroutine[Any, Any, None]) -> None:
        """Wait for work that goes on when the caller is cancelled."""
        await asyncio.shield(self._start(work))

    async def aclose(self, timeout: float) -> None:  # noqa: ASYNC109 - what is left then is dropped, not raised
        """Wait, for at most so many seconds, until all is told."""
        with suppress(TimeoutError):
            async with asyncio.timeout(timeout):
                while self._running:
                    await asyncio.wait(self._running)
        self._late.clear()
        for left in self._running:
            logger.warning("listeners were not waited for")
            left.cancel()

    def _start(self, work: Coroutine[Any, Any, None], context: Context | None = None) -> asyncio.Task[None]:
        task = asyncio.get_running_loop().create_task(work, context=context)
        self._running.add(task)
        task.add_done_callback(self._running.discard)
        return task

    async def _tell_late(self) -> None:
        try:
            while self._late:
                await self._tell_all((self._late.popleft(),))
        finally:
            self._telling_late = False

    async def _tell_all(self, events: Iterable[TenancyEvent]) -> None:
        for event in events:
            for each in tuple(self._listeners.get(event.kind, ())):
                try:
                    await each.call(event)
                except Exception as error:  # the application's own code: the act is done, and stays so
                    logger.error(  # noqa: TRY400 - the traceback is given as a field
                        "listener failed",
                        extra={"event": event.kind.value, "tenant": event.tenant.id, "listener": _name(each.listener)},
                        exc_info=error,
                    )


async def within(seconds: float, work: Coroutine[Any, Any, None]) -> None:
    """Do somebody else's work, and wait for it no longer than that.

    Raises:
        TimeoutError: it did not end in time, and was cancelled; what runs in a thread goes on.
    """
    task = asyncio.create_task(work)
    try:
        # Not asyncio.timeout: it waits for the cancellation, which somebody else's work may pay no heed to.
        await asyncio.wait((task,), timeout=seconds)
    finally:
        if not task.done():
            task.cancel()
            task.add_done_callback(drop_outcome)
    if not task.done() or task.cancelled():  # a task that cancels itself does not cancel whoever called it
        raise TimeoutError(f"it did not end within {seconds:g} s, or was cancelled")
    task.result()


async def _heard(listener: Listener, event: TenancyEvent) -> None:
    result = listener(event) if _is_async(listener) else await asyncio.to_thread(listener, event)
    if inspect.isawaitable(result):
        await result


def _is_async(listener: Listener) -> bool:
    return inspect.iscoroutinefunction(listener) or inspect.iscoroutinefunction(type(listener).__call__)


def _kind(given: EventKind | str) -> EventKind:
    try:
        return EventKind(given)
    except ValueError:
        raise ConfigurationError(f"no event is called {given!r}; use some of {', '.join(EventKind)}") from None


def _vetoed(event: TenancyEvent, error: Exception) -> VetoedError:
    detail = error.detail if isinstance(error, RequestError) else None
    return VetoedError(
        f"a listener stopped {event.kind.value!r} of {event.tenant.identifier!r}: {error}", detail=detail
    )


def _name(listener: Listener) -> str:
    return getattr(listener, "__qualname__", type(listener).__qualname__)
