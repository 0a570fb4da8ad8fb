"""Keep tenants in memory, found by id or by identifier; it is read on every request."""

import threading
import time
from collections.abc import Callable
from operator import itemgetter
from random import random
from typing import Any

from ..tenant import Tenant

# An entry is a list of these three: making one costs a third of making an object, and only readers' marks change it.
_TENANT, _EXPIRES_AT, _USED = 0, 1, 2
_mark = itemgetter(_USED)


class TenantCache:
    """The tenants used last, each for at most `ttl` seconds.

    Safe under threads. A hit takes no lock: it marks the entry with a rising number, and only a set that needs room
    looks for the lowest mark, so the least recently used tenant leaves. Counters and order are exact under the GIL;
    without one (free-threaded builds) threads that hit at the same instant may share a mark or lose a count.

    Args:
        max_size: how many tenants are kept.
        ttl: seconds; an entry whose age equals it has expired.
        clock: seconds that never go back.
        jitter: the part of the ttl, from 0 up to but not including 1, by which an entry's life is shortened at
            random at most, so that what was cached together does not expire together.
        stale_for: seconds for which an expired entry can still be had by the methods that say so; it counts like any
            other until then.

    Raises:
        ValueError: `max_size` or `ttl` is below 1, or `jitter` or `stale_for` is out of range.
    """

    __slots__ = (
        "_by_id",
        "_by_identifier",
        "_clock",
        "_jitter",
        "_leaving",
        "_lock",
        "_max_size",
        "_misses",
        "_planned_at",
        "_sets",
        "_stale_for",
        "_ttl",
        "_uses",
    )

    def __init__(
        self,
        max_size: int = 1000,
        ttl: float = 60,
        *,
        clock: Callable[[], float] = time.monotonic,
        jitter: float = 0.0,
        stale_for: float = 0.0,
    ) -> None:
        if not max_size >= 1:
            raise ValueError(f"max_size is {max_size}; give at least 1")
        if not ttl >= 1:
            raise ValueError(f"ttl is {ttl}; give at least 1 second")
        if not 0 <= jitter < 1:
            raise ValueError(f"jitter is {jitter}; give a part of the ttl, from 0 up to but not including 1")
        if not stale_for >= 0:
            raise ValueError(f"stale_for is {stale_for}; give 0 seconds or more")
        self._max_size = max_size
        self._ttl = ttl
        self._stale_for = stale_for
        self._clock = clock
        self._jitter = jitter
        self._lock = threading.Lock()  # for writers only
        self._by_id: dict[str, list[Any]] = {}
        self._by_identifier: dict[str, list[Any]] = {}
        self._leaving: list[list[Any]] = []  # entries in the order of their marks at `_planned_at`, the lowest last
        self._planned_at = 0
        self._uses = 0  # hits and sets: the rising number that marks an entry
        self._sets = 0
        self._misses = 0

    # The two look-ups repeat each other: a helper's call would add a sixth to the cost of a hit.

    def get(self, tenant_id: str) -> Tenant | None:
        entry = self._by_id.get(tenant_id)
        if entry is not None and self._clock() < entry[_EXPIRES_AT]:
            entry[_USED] = self._uses = self._uses + 1
            return entry[_TENANT]  # type: ignore[no-any-return]
        self._misses += 1
        if entry is not None:
            self._drop_expired(entry)
        return None

    def get_by_identifier(self, identifier: str) -> Tenant | None:
        entry = self._by_identifier.get(identifier)
        if entry is not None and self._clock() < entry[_EXPIRES_AT]:
            entry[_USED] = self._uses = self._uses + 1
            return entry[_TENANT]  # type: ignore[no-any-return]
        self._misses += 1
        if entry is not None:
            self._drop_expired(entry)
        return None

    def peek(self, tenant_id: str) -> Tenant | None:
        """The tenant, without a mark and without being counted."""
        entry = self._by_id.get(tenant_id)
        return entry[_TENANT] if entry is not None and self._clock() < entry[_EXPIRES_AT] else None

    def stale(self, tenant_id: str) -> Tenant | None:
        """The tenant, also if it has expired no longer than `stale_for` ago."""
        return self._not_older(self._by_id.get(tenant_id))

    def stale_by_identifier(self, identifier: str) -> Tenant | None:
        """As `stale`."""
        return self._not_older(self._by_identifier.get(identifier))

    def set(self, tenant: Tenant, ttl: float | None = None) -> None:
        """Keep a tenant, in place of the one with its id and of the one that had its identifier.

        Args:
            tenant: which.
            ttl: seconds, where it is to expire earlier than others.
        """
        tenant_id, identifier = tenant.id, tenant.identifier
        expires_at = self._clock() + (self._ttl if ttl is None else ttl)
        if self._jitter:
            expires_at -= self._ttl * self._jitter * random()  # noqa: S311 - it spreads load and guards nothing
        self._lock.acquire()  # by hand, since `with` costs 80 ns more on CPython 3.11
        try:
            old = self._by_id.get(tenant_id)
            holder = self._by_identifier.get(identifier)
            if old is not holder:  # a rename, or an identifier that moves from another id
                self._remove(old)
                self._remove(holder)
            if old is None and len(self._by_id) >= self._max_size:
                self._evict()
            self._sets += 1
            self._uses = mark = self._uses + 1
            self._by_id[tenant_id] = self._by_identifier[identifier] = [tenant, expires_at, mark]
        finally:
            self._lock.release()

    async def aset(self, tenant: Tenant) -> None:
        """`set` for callers that await; it never waits."""
        self.set(tenant)

    def invalidate(self, tenant_id: str) -> bool:
        """Drop a tenant; False if it was not there."""
        with self._lock:
            return self._remove(self._by_id.get(tenant_id))

    def invalidate_by_identifier(self, identifier: str) -> bool:
        """Drop the tenant that bears the identifier; False if none did."""
        with self._lock:
            return self._remove(self._by_identifier.get(identifier))

    def clear(self) -> int:
        """Drop all tenants and say how many there were; the counters go on."""
        with self._lock:
            size = len(self._by_id)
            self._by_id.clear()
            self._by_identifier.clear()
            self._leaving.clear()
            return size

    def purge_expired(self) -> int:
        """Drop what can be had no more and say how much; it would else leave when it is asked for, or as the oldest."""
        since = self._clock() - self._stale_for
        with self._lock:
            expired = [entry for entry in self._by_id.values() if entry[_EXPIRES_AT] <= since]
            for entry in expired:
                self._remove(entry)
            return len(expired)

    def size(self) -> int:
        """How many tenants are kept, with those that have expired and were not asked for since."""
        return len(self._by_id)

    @property
    def max_size(self) -> int:
        return self._max_size

    @property
    def ttl(self) -> float:
        return self._ttl

    def stats(self) -> dict[str, float]:
        """Size and limits, hits and misses since construction, and the hits as whole percent of both."""
        hits, misses = self._uses - self._sets, self._misses
        return {
            "size": self.size(),
            "max_size": self._max_size,
            "ttl": self._ttl,
            "hits": hits,
            "misses": misses,
            "hit_rate_pct": hits * 100 // max(hits + misses, 1),
        }

    def _not_older(self, entry: list[Any] | None) -> Tenant | None:
        return entry[_TENANT] if entry is not None and self._clock() < entry[_EXPIRES_AT] + self._stale_for else None

    def _drop_expired(self, entry: list[Any]) -> None:
        tenant: Tenant = entry[_TENANT]
        if self._not_older(entry) is not None:
            return
        with self._lock:
            if self._by_id.get(tenant.id) is entry:  # else another thread has set or dropped it by now
                self._remove(entry)

    def _remove(self, entry: list[Any] | None) -> bool:
        if entry is None:
            return False
        tenant: Tenant = entry[_TENANT]
        del self._by_id[tenant.id]
        del self._by_identifier[tenant.identifier]
        return True

    def _evict(self) -> None:
        """Drop the least recently used tenant.

        Marks only rise, so an entry that still bears a mark from before the plan leaves before all that do not. The
        sort is paid for by the uses that made its predecessor's entries worthless: O(log n) for each use or eviction.
        """
        while True:
            if not self._leaving:
                self._planned_at = self._uses
                self._leaving = sorted(self._by_id.values(), key=_mark, reverse=True)
            entry = self._leaving.pop()
            tenant: Tenant = entry[_TENANT]
            if entry[_USED] <= self._planned_at and self._by_id.get(tenant.id) is entry:
                del self._by_id[tenant.id], self._by_identifier[tenant.identifier]
                return
