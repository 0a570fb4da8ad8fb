"""What a worker remembers, to be looked at without an await: the tenants' hosts."""

from collections import OrderedDict
from collections.abc import Callable, Iterable
from typing import Any

from ..cache import ABSENT, BaseCache, InMemoryCache
from ..settings import TenancySettings

Entry = tuple[str | None, float]
"""Whose a host is, None for nobody's, and when that is to be forgotten."""


class Recalled(InMemoryCache):
    """A cache that answers at once, too."""

    def recall(self, key: str) -> Any:
        """The value of a key, or ABSENT."""
        entry = self._entries.get(key)
        if entry is None or entry.expires_at <= self._clock():
            return ABSENT
        self._entries.move_to_end(key)
        return entry.value


class Hosts(BaseCache):
    """The tenants' ids by host, and hosts that are nobody's, which push none of the former out.

    Attributes:
        entries: both kinds; whoever reads them minds the time.
    """

    def __init__(self, settings: TenancySettings, clock: Callable[[], float]) -> None:
        self.entries: dict[str, Entry] = {}
        self._clock = clock
        # By whether they are a tenant's: how many are kept, for how long, and which, the oldest first.
        self._limits = {
            True: (settings.cache_size, float(settings.cache_ttl)),
            False: (settings.unknown_cache_size, settings.unknown_cache_ttl),
        }
        self._kept: dict[bool, OrderedDict[str, None]] = {True: OrderedDict(), False: OrderedDict()}

    async def get(self, key: str, default: Any = None) -> Any:
        entry = self.entries.get(key)
        return default if entry is None or entry[1] <= self._clock() else entry[0]

    async def set(self, keys: str | Iterable[str], value: str | None, ttl: float | None = None) -> None:
        kept = self._kept[value is not None]
        most, lifetime = self._limits[value is not None]
        entry = (value, self._clock() + (ttl or lifetime))
        for key in (keys,) if isinstance(keys, str) else keys:
            self._drop(key)
            if len(kept) >= most:
                del self.entries[kept.popitem(last=False)[0]]
            self.entries[key], kept[key] = entry, None

    async def clear(self, key: str) -> None:
        self._drop(key)

    async def flush(self) -> None:
        self.entries.clear()
        for kept in self._kept.values():
            kept.clear()

    def size(self, *, known: bool) -> int:
        return len(self._kept[known])

    def _drop(self, key: str) -> None:
        entry = self.entries.pop(key, None)
        if entry is not None:
            del self._kept[entry[0] is not None][key]
