"""What a worker knows of tokens: their records, and ids that have none."""

from collections.abc import Callable, Iterable
from datetime import datetime
from typing import Any

from ...cache import ABSENT, BaseCache, InMemoryCache
from ...settings import TenancySettings
from ...store import TokenRecord
from ..host_memory import Recalled

TOKENS_PER_TENANT = 10  # are remembered for each tenant that `cache_size` has room for


class Records(BaseCache):
    """Records by token id until they are `cache_ttl` old or expire, and ids that have no token (kept as None)."""

    def __init__(self, settings: TenancySettings, now: Callable[[], datetime], clock: Callable[[], float]) -> None:
        self.known = Recalled(settings.cache_size * TOKENS_PER_TENANT, clock=clock)
        self.unknown = InMemoryCache(settings.unknown_cache_size, clock=clock)
        self._ttl = settings.cache_ttl
        self._unknown_ttl = settings.unknown_cache_ttl
        self._now = now

    def life_of(self, record: TokenRecord) -> float:
        """Seconds for which it can be believed; 0 or less for one that has expired."""
        if record.expires_at is None:
            return self._ttl
        return min(self._ttl, (record.expires_at - self._now()).total_seconds())

    async def get(self, key: str, default: Any = None) -> Any:
        record = self.known.recall(key)
        return await self.unknown.get(key, default) if record is ABSENT else record

    async def set(self, keys: str | Iterable[str], value: TokenRecord | None, ttl: float | None = None) -> None:
        life = 0 if value is None else self.life_of(value)
        if life > 0:
            await self.known.set(keys, value, life)
        else:
            await self.unknown.set(keys, None, self._unknown_ttl)

    async def clear(self, key: str) -> None:
        await self.known.clear(key)
        await self.unknown.clear(key)

    async def flush(self) -> None:
        await self.known.flush()
        await self.unknown.flush()
