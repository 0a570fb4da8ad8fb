"""A bounded cache in this process: the least recently used entry leaves first."""

import math
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable
from heapq import heapify, heappop, heappush
from typing import Any, NamedTuple

from .base import BaseCache

_PURGED_PER_SET = 2  # each set adds one entry at most, so what has expired goes faster than it comes
_STALE_EXPIRIES = 64  # how many out-of-date expiries are put up with, whatever the size


class _Entry(NamedTuple):
    value: Any
    expires_at: float


class InMemoryCache(BaseCache):
    """Entries in the order of their use, each with its own ttl.

    No call looks at all entries: `get` at one, `set` also at the two that expire next. For one event loop, not for
    threads.

    Args:
        max_size: how many entries are kept.
        clock: seconds that never go back.

    Raises:
        ValueError: `max_size` is below 1.
    """

    def __init__(self, max_size: int = 10_000, *, clock: Callable[[], float] = time.monotonic) -> None:
        if not max_size >= 1:
            raise ValueError(f"max_size is {max_size}; give at least 1")
        self._max_size = max_size
        self._clock = clock
        self._entries: OrderedDict[str, _Entry] = OrderedDict()
        self._expiries: list[tuple[float, str]] = []  # a heap; what it says of a key may be out of date

    async def get(self, key: str, default: Any = None) -> Any:
        entry = self._entries.get(key)
        if entry is None:
            return default
        if entry.expires_at <= self._clock():
            del self._entries[key]
            return default
        self._entries.move_to_end(key)
        return entry.value

    async def set(self, keys: str | Iterable[str], value: Any, ttl: float | None = None) -> None:
        """As `BaseCache.set`.

        Raises:
            ValueError: `ttl` is not above 0.
        """
        if ttl is not None and not ttl > 0:
            raise ValueError(f"ttl is {ttl}; give more than 0 seconds, or None to keep the entry without an end")
        now = self._clock()
        entry = _Entry(value, math.inf if ttl is None else now + ttl)
        for key in (keys,) if isinstance(keys, str) else keys:
            self._purge(now)
            self._put(key, entry)

    async def clear(self, key: str) -> None:
        self._entries.pop(key, None)

    async def flush(self) -> None:
        self._entries.clear()
        self._expiries.clear()

    @property
    def max_size(self) -> int:
        return self._max_size

    def size(self) -> int:
        """How many entries are kept, with those that have expired and were not met since."""
        return len(self._entries)

    def _put(self, key: str, entry: _Entry) -> None:
        if key in self._entries:
            self._entries.move_to_end(key)
        elif len(self._entries) >= self._max_size:
            self._entries.popitem(last=False)
        self._entries[key] = entry
        if entry.expires_at < math.inf:
            heappush(self._expiries, (entry.expires_at, key))

    def _purge(self, now: float) -> None:
        """Drop a few entries that have expired, since nobody may ask for them again."""
        if len(self._expiries) > 2 * len(self._entries) + _STALE_EXPIRIES:
            self._expiries = [(entry.expires_at, key) for key, entry in self._entries.items()]
            heapify(self._expiries)
        for _ in range(_PURGED_PER_SET):
            if not self._expiries or self._expiries[0][0] > now:
                return
            _, key = heappop(self._expiries)
            entry = self._entries.get(key)
            if entry is not None and entry.expires_at <= now:
                del self._entries[key]
