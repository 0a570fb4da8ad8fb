"""Caches: of tenants, and of any value with one load per key."""

from .base import ABSENT, BaseCache, CacheError, CacheKeyLock
from .in_memory import InMemoryCache
from .tenant_cache import TenantCache

__all__ = ["ABSENT", "BaseCache", "CacheError", "CacheKeyLock", "InMemoryCache", "TenantCache"]
