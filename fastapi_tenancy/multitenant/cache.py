"""Keep tenants' opened profiles: the recently used ones, and every one that is in use."""

import asyncio
import logging
import math
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Collection, Iterable
from contextlib import AbstractAsyncContextManager
from contextvars import Context
from functools import partial
from typing import Generic, Protocol, TypeVar

from ..errors import TenantUnavailableError

logger = logging.getLogger(__name__)


class Closable(Protocol):
    """What a profile has to offer: it is closed once, when nobody uses it any more."""

    async def close(self) -> None: ...


P = TypeVar("P", bound=Closable)


class _Slot(Generic[P]):
    """One profile from the start of its opening to the end of its closing; `profile` is set once it is open."""

    __slots__ = ("closed", "closing", "key", "leases", "opening", "profile", "retired", "used_at", "version")
    profile: P
    closing: asyncio.Task[None]

    def __init__(self, key: str, version: float) -> None:
        self.key = key
        self.version = version
        self.leases = 0
        self.retired = False
        self.used_at = 0.0
        self.opening: asyncio.Task[P] | None = None
        self.closed = asyncio.Event()


class _Lease(Generic[P]):
    """A class and not a generator, because it runs per request; it is entered once."""

    __slots__ = ("_cache", "_key", "_opener", "_slot", "_version")

    def __init__(self, cache: "ProfileCache[P]", key: str, opener: Callable[[], Awaitable[P]], version: float) -> None:
        self._cache = cache
        self._key = key
        self._opener = opener
        self._version = version

    async def __aenter__(self) -> P:
        self._slot = slot = self._cache._take(self._key, self._opener, self._version)  # noqa: SLF001 - a lease is a part of its cache
        if slot.opening is not None:
            await self._cache._wait_open(slot, slot.opening)  # noqa: SLF001 - as above
        return slot.profile

    async def __aexit__(self, *_: object) -> None:
        if closing := self._cache._give_back(self._slot):  # noqa: SLF001 - as above
            await asyncio.wait(closing)


def _nobody_listens(_: object) -> None: ...


class ProfileCache(Generic[P]):
    """At most `capacity` open profiles plus those in use, the least recently used closed first.

    A profile in use is never closed. It stays findable, also over capacity, until its last lease ends; then it is kept
    if there is room. `remove`, `retire` and a `put` under the same key retire it: leases that hold it, or wait for it
    to open, finish with it; it is closed after the last of them, and the next lease opens another.

    Opening and closing run in tasks of their own, so the cancellation of a caller harms nobody else. One cache belongs
    to one event loop, and is not safe under threads.

    Args:
        capacity: how many profiles stay open while nobody uses them; at least 1.
        idle_timeout: seconds after which `close_idle` closes an unused profile; None for never.
        close_timeout: seconds that anybody waits for a profile to close; a server that hangs holds up no other tenant.
        clock: seconds, from any start.
        on_opened: called with each profile that was opened.
        on_closed: called with each that was closed, or has failed to.

    Raises:
        ValueError: a capacity below 1, or a timeout that is not positive.
    """

    def __init__(
        self,
        capacity: int,
        *,
        idle_timeout: float | None = None,
        close_timeout: float = 5.0,
        clock: Callable[[], float] = time.monotonic,
        on_opened: Callable[[P], None] = _nobody_listens,
        on_closed: Callable[[P], None] = _nobody_listens,
    ) -> None:
        if capacity < 1:
            raise ValueError(f"capacity must be at least 1, not {capacity}")
        if close_timeout <= 0 or (idle_timeout is not None and idle_timeout <= 0):
            raise ValueError("idle_timeout and close_timeout must be more than 0 seconds")
        self.capacity = capacity
        self._idle_timeout = idle_timeout
        self._close_timeout = close_timeout
        self._clock = clock
        self._tell_opened = on_opened
        self._tell_closed = on_closed
        self._shut = False
        self._slots: dict[str, _Slot[P]] = {}  # what a lease finds: open or being opened
        self._idle: OrderedDict[str, _Slot[P]] = OrderedDict()  # those of them that nobody uses, oldest use first
        self._retired: set[_Slot[P]] = set()  # found no more, still in use
        self._queue: list[_Slot[P]] = []  # to be closed as soon as an event loop runs
        self._closing: dict[_Slot[P], asyncio.Task[None]] = {}
        self._counts = dict.fromkeys(
            ("hits", "misses", "opened", "open_failures", "evictions", "closed", "close_failures"), 0
        )

    def get(self, key: str) -> P | None:
        """The open profile, marked as the most recently used; lease it to keep it from being closed."""
        slot = self._slots.get(key)
        if slot is None or slot.opening is not None:
            self._counts["misses"] += 1
            return None
        self._counts["hits"] += 1
        self._touch(slot)
        return slot.profile

    def has(self, key: str) -> bool:
        return self.peek(key) is not None

    def peek(self, key: str) -> P | None:
        """The open profile, without a mark and without being counted."""
        slot = self._slots.get(key)
        return None if slot is None or slot.opening is not None else slot.profile

    def put(self, key: str, profile: P) -> None:
        """Keep a profile that was opened elsewhere; from now on the cache closes it.

        One that was removed is being closed: it must not be put back.

        Raises:
            TenantUnavailableError: the cache is closed; the profile stays the caller's.
        """
        self._check_not_shut()
        if self.peek(key) is profile:
            return self._touch(self._slots[key])
        self.remove(key)
        self._slots[key] = slot = _Slot[P](key, math.inf)
        slot.profile = profile
        self._counts["opened"] += 1
        self._trim()  # before it counts as idle: a newcomer does not evict itself
        self._touch(slot)
        self._start_closing()
        return None

    def remove(self, key: str) -> P | None:
        """Retire the profile: it is found no more, and closed as soon as nobody uses it.

        Returns it, for a last look; closing it is the cache's business. None if it is not open, or not yet: what is
        being opened then goes to those who wait for it, and to nobody else.
        """
        slot = self._slots.get(key)
        if slot is None:
            return None
        self._retire(slot)
        self._start_closing()
        return slot.profile if slot.opening is None else None

    @property
    def open_profiles(self) -> tuple[P, ...]:
        """Those open now, leased or not, also the retired ones; without those being closed."""
        return tuple(slot.profile for slot in (*self._slots.values(), *self._retired) if slot.opening is None)

    def stats(self) -> dict[str, int]:
        """Plain numbers: what is there now, and what has happened so far.

        A lease that waits for an opening is a miss; profiles that were closed for room or for idleness are evictions.
        """
        opening = sum(slot.opening is not None for slot in (*self._slots.values(), *self._retired))
        opened = len(self._slots) + len(self._retired) - opening
        return {
            "capacity": self.capacity,
            "open": opened,
            "leased": opened - len(self._idle),
            "opening": opening,
            "closing": len(self._queue) + len(self._closing),
            **self._counts,
        }

    def lease(
        self,
        key: str,
        open: Callable[[], Awaitable[P]],  # noqa: A002 - the natural word, and nothing here opens a file
        version: float = 0,
    ) -> AbstractAsyncContextManager[P]:
        """Use a profile for the length of an `async with` block; it is not closed meanwhile.

        A profile that is not open is opened by `open`, once for all that ask. If that fails, all who wait for it get
        the same error, and nothing is kept: `open` tidies up after itself. If they are all cancelled, what gets opened
        is kept for the next.

        One of an earlier `version`, open or being opened, is removed first.

        Raises:
            TenantUnavailableError: the cache is closed, or was closed while the profile was being opened.
        """
        return _Lease(self, key, open, version)

    async def retire(self, key: str, timeout: float) -> bool:  # noqa: ASYNC109 - the answer is a bool, not an error
        """Remove the profile and wait, up to `timeout` seconds, until none of this key is open.

        Returns whether that is so; earlier ones under the same key count. A close that failed is logged, and done with.
        """
        self.remove(key)
        return await _all_closed([slot for slot in self._leaving() if slot.key == key], timeout)

    async def close_idle(self) -> int:
        """Close what nobody has used for `idle_timeout` seconds; returns how many."""
        if self._idle_timeout is None:
            return 0
        limit = self._clock() - self._idle_timeout
        stale = [slot for slot in self._idle.values() if slot.used_at <= limit]
        for slot in stale:
            self._evict(slot)
        if closing := self._start_closing():
            await asyncio.wait(closing)
        return len(stale)

    async def aclose(self, timeout: float = 5.0) -> None:  # noqa: ASYNC109 - what is left then is closed, not raised
        """Refuse new leases, wait up to `timeout` seconds for those that are held, then close what is left anyway.

        The default is half of the 10 seconds that `docker stop` gives a container.
        """
        self._shut = True
        for key in list(self._slots):
            self.remove(key)
        self._start_closing()
        if await _all_closed(self._leaving(), timeout):
            return
        if in_use := list(self._retired):
            logger.warning("profiles closed while in use", extra={"tenants": [slot.key for slot in in_use]})
        for slot in in_use:
            if slot.opening is not None:
                slot.opening.cancel()
            else:
                self._retired.remove(slot)
                self._queue.append(slot)
        self._start_closing()
        await _all_closed(self._leaving(), self._close_timeout)

    def _take(self, key: str, opener: Callable[[], Awaitable[P]], version: float) -> _Slot[P]:
        slot = self._slots.get(key)
        if slot is not None and slot.version < version:
            self.remove(key)
            slot = None
        if slot is None:
            slot = self._start_opening(key, opener, version)
        elif not slot.leases:
            del self._idle[key]
        self._counts["hits" if slot.opening is None else "misses"] += 1
        slot.leases += 1
        return slot

    def _give_back(self, slot: _Slot[P]) -> Collection[asyncio.Task[None]]:
        """End a lease; returns what is being closed because of it."""
        slot.leases -= 1
        if slot.leases:
            return ()
        if not slot.retired:
            slot.used_at = self._clock()
            self._idle[slot.key] = slot
            self._trim()
        elif slot in self._retired:  # it is not if it failed to open, or if `aclose` ran out of patience with it
            self._retired.remove(slot)
            self._queue.append(slot)
        return self._start_closing() if self._queue else ()

    def _start_opening(self, key: str, opener: Callable[[], Awaitable[P]], version: float) -> _Slot[P]:
        self._check_not_shut()
        self._slots[key] = slot = _Slot[P](key, version)
        slot.leases = 1  # the opening's own: all who wait for it may be cancelled
        slot.opening = asyncio.create_task(self._open(opener))
        slot.opening.add_done_callback(partial(self._on_opened, slot))
        return slot

    async def _open(self, opener: Callable[[], Awaitable[P]]) -> P:
        self._trim()
        self._start_closing()
        closing = set(self._closing.values())  # not those to come: under load there would always be one more
        while closing and len(self._slots) + len(self._retired) + len(closing) > self.capacity:
            _, closing = await asyncio.wait(closing, return_when=asyncio.FIRST_COMPLETED)
        return await opener()

    async def _wait_open(self, slot: _Slot[P], opening: asyncio.Task[P]) -> None:
        try:
            await asyncio.wait({opening})
        except BaseException:
            self._give_back(slot)
            raise
        if opening.cancelled():
            raise TenantUnavailableError(f"the opening of the profile {slot.key!r} was cancelled; try again")
        opening.result()

    def _on_opened(self, slot: _Slot[P], opening: asyncio.Task[P]) -> None:
        slot.opening = None
        if opening.cancelled() or opening.exception() is not None:
            self._counts["open_failures"] += 1
            if not slot.retired:
                self._retire(slot)
            self._retired.discard(slot)
            slot.closed.set()
        else:
            self._counts["opened"] += 1
            slot.profile = opening.result()
            self._tell_opened(slot.profile)
            self._give_back(slot)

    def _retire(self, slot: _Slot[P]) -> None:
        del self._slots[slot.key]
        slot.retired = True
        if self._idle.pop(slot.key, None) is None:
            self._retired.add(slot)
        else:
            self._queue.append(slot)

    def _touch(self, slot: _Slot[P]) -> None:
        """Make an unused profile the most recently used; one in use will be when its lease ends."""
        if not slot.leases:
            slot.used_at = self._clock()
            self._idle[slot.key] = slot
            self._idle.move_to_end(slot.key)

    def _trim(self) -> None:
        while self._idle and len(self._slots) + len(self._retired) > self.capacity:
            self._evict(next(iter(self._idle.values())))

    def _evict(self, slot: _Slot[P]) -> None:
        self._retire(slot)
        self._counts["evictions"] += 1
        logger.debug("profile evicted", extra={"tenant": slot.key})

    def _start_closing(self) -> set[asyncio.Task[None]]:
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            return set()  # `put` or `remove` before the loop runs: the next lease, or `aclose`, closes it
        # An empty context: it is not the tenant of the request that happened to make room.
        started = {slot: loop.create_task(self._close(slot), context=Context()) for slot in self._queue}
        self._queue.clear()
        self._closing.update(started)
        return set(started.values())

    async def _close(self, slot: _Slot[P]) -> None:
        """Close a profile, and stop waiting for it, not closing it, after `close_timeout`."""
        slot.closing = asyncio.create_task(slot.profile.close())
        slot.closing.add_done_callback(partial(self._on_closed, slot))
        _, late = await asyncio.wait({slot.closing}, timeout=self._close_timeout)
        if late:
            logger.warning("profile hangs in closing", extra={"tenant": slot.key})

    def _on_closed(self, slot: _Slot[P], closing: asyncio.Task[None]) -> None:
        del self._closing[slot]
        slot.closed.set()
        self._tell_closed(slot.profile)
        error = None if closing.cancelled() else closing.exception()
        if closing.cancelled() or error is not None:
            self._counts["close_failures"] += 1
            logger.error("profile failed to close", extra={"tenant": slot.key}, exc_info=error)
        else:
            self._counts["closed"] += 1

    def _leaving(self) -> list[_Slot[P]]:
        return [*self._retired, *self._queue, *self._closing]

    def _check_not_shut(self) -> None:
        if self._shut:
            raise TenantUnavailableError("the profile cache is closed, since the application is shutting down")


async def _all_closed(slots: Iterable[_Slot[P]], seconds: float) -> bool:
    try:
        async with asyncio.timeout(seconds):
            for slot in slots:
                await slot.closed.wait()
    except TimeoutError:
        return False
    return True
