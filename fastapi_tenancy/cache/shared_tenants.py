"""Tenants as all workers remember them together: in Redis, sealed, since they hold secrets."""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Iterable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import fields
from datetime import datetime
from typing import Any, Literal

from ..errors import ConfigurationError, SealError, StoreUnavailableError, TenancyError
from ..sealing import Sealer
from ..settings import TenancySettings
from ..tenant import Tenant, TenantStatus, plain
from .redis import RedisCache

_PURPOSE = "shared cache"
_TIMEOUT = 0.25  # seconds that Redis is given to answer; over loopback it takes a tenth of a millisecond
_CHANGING = ""  # stands where a tenant is being changed: it is not read from here, nor is what is loaded kept

By = Literal["id", "identifier"]
"""What a tenant is asked for by."""

Loaded = tuple[Tenant | None, float | None]
"""A tenant, or None where there is none, and the seconds for which it may be remembered; None for as long as any."""


class SharedTenants:
    """The second level, between a worker's memory and the store.

    A tenant is kept under its id and under its identifier, each loaded once over all workers. Whoever changes one puts
    a mark in its place before the change, and takes it away afterwards: what was read in between is kept nowhere. While
    Redis fails, all is as if there was none.

    Args:
        settings: of the deployment.
        sealer: made of its `encryption_keys`.
        now: seconds since 1970, the same in all workers.

    Raises:
        ConfigurationError: there is no `redis_url` or no key, or redis is not installed.
    """

    def __init__(self, settings: TenancySettings, sealer: Sealer | None, now: Callable[[], float] = time.time) -> None:
        if settings.redis_url is None or sealer is None:
            raise ConfigurationError(
                "shared_cache needs redis_url, where it is, and encryption_keys, with which tenants are sealed there"
            )
        self._url = settings.redis_url
        self._sealer = sealer
        self._now = now
        self._ttl = settings.cache_ttl
        self._unknown_ttl = settings.unknown_cache_ttl
        self._patience = settings.store_timeout / 2
        # A write that timed out may come to pass all the same; afterwards it cannot.
        self._mark_ttl = 2 * settings.store_timeout + 10
        self._timeout = min(_TIMEOUT, self._patience)
        self._cache: RedisCache | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._made("")  # opens nothing, but finds what is not understood in the URL

    @asynccontextmanager
    async def running(self, name: str) -> AsyncIterator[None]:
        """Keep tenants during the block, under a name that only the workers on the same store have."""
        self._cache = cache = self._made(name)
        try:
            yield
        finally:
            self._cache = None
            if self._tasks:
                await asyncio.wait(tuple(self._tasks))
            await cache.close()

    async def find(
        self, by: By, key: str, lasts: Callable[[Tenant], bool], load: Callable[[], Awaitable[Tenant | None]]
    ) -> Loaded:
        """The tenant with this id or identifier, loaded if need be, and then kept if it `lasts`.

        What is here of a tenant that does not last, or is another one, is not believed.
        """
        if self._cache is None:
            return await load(), None
        name = f"{by}/{key}"
        async with AsyncExitStack() as stack:
            try:
                async with asyncio.timeout(self._patience):  # another worker that loads it now may hang
                    lookup = await stack.enter_async_context(self._cache.acquire(name))
            except TimeoutError:
                return await load(), None
            if lookup.done:
                found = self._opened(name, lookup.result)
                if found is not None and (found[0] is None or (getattr(found[0], by) == key and lasts(found[0]))):
                    return found
            at = self._now()
            tenant = await load()
            if not lookup.done and (tenant is None or lasts(tenant)):
                ttl = self._unknown_ttl if tenant is None else self._ttl
                await lookup.set_result(self._closed(name, tenant, at), ttl)
            return tenant, None

    @asynccontextmanager
    async def changing(self, *tenants: Tenant) -> AsyncIterator[None]:
        """Around a write; `tenants` are what was there and what is to be."""
        keys = {key for tenant in tenants for key in _keys(tenant.id, tenant.identifier)}
        if self._cache is not None:
            await self._shielded(self._cache.set(keys, _CHANGING, self._mark_ttl))
        try:
            yield
        except StoreUnavailableError:
            raise  # nobody knows whether it was written: the mark stays until its end
        except TenancyError:
            await self._clear(keys)
            raise
        await self._clear(keys)

    async def forget(self, tenant_id: str, identifiers: Iterable[str]) -> None:
        """Load it anew."""
        await self._clear(_keys(tenant_id, *identifiers))

    def stats(self) -> dict[str, int]:
        return {} if self._cache is None else self._cache.stats()

    def _closed(self, key: str, tenant: Tenant | None, at: float) -> str:
        content = {"at": at, "tenant": None if tenant is None else _to_json(tenant)}
        return self._sealer.seal(json.dumps(content).encode(), key, _PURPOSE)

    def _opened(self, key: str, sealed: str) -> Loaded | None:
        """What was closed, and for how long it may still be remembered; None for what is not to be believed."""
        with suppress(SealError, ValueError, KeyError, TypeError):  # as another version of the library has written it
            content = json.loads(self._sealer.unseal(sealed, key, _PURPOSE))
            tenant = None if content["tenant"] is None else _from_json(content["tenant"])
            left = content["at"] + (self._unknown_ttl if tenant is None else self._ttl) - self._now()
            if left > 0:
                return tenant, left
        return None

    async def _clear(self, keys: Collection[str]) -> None:
        if self._cache is not None:
            for key in keys:
                await self._shielded(self._cache.clear(key))

    async def _shielded(self, change: Awaitable[None]) -> None:
        """Change it also where who wants it is cancelled; `RedisCache` does not take long."""
        task: asyncio.Task[None] = asyncio.ensure_future(change)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        await asyncio.shield(task)

    def _made(self, name: str) -> RedisCache:
        return RedisCache(
            self._url,
            secret=self._sealer.secret(f"{_PURPOSE} {name}"),
            prefix=f"tenancy:cache:{name}",
            timeout=self._timeout,
            lease=self._patience,
            dumps=str,
            loads=str,
        )


def _keys(tenant_id: str, *identifiers: str) -> set[str]:
    return {f"id/{tenant_id}", *(f"identifier/{identifier}" for identifier in identifiers)}


_MOMENTS = ("created_at", "updated_at", "work_until")
_FIELDS = frozenset(field.name for field in fields(Tenant))


def _to_json(tenant: Tenant) -> dict[str, Any]:
    row = {name: getattr(tenant, name) for name in _FIELDS}
    moments = {name: row[name].isoformat() for name in _MOMENTS if row[name] is not None}
    return {**row, **moments, "settings": plain(tenant.settings)}


def _from_json(row: dict[str, Any]) -> Tenant:
    if row.keys() != _FIELDS:
        raise ValueError("a tenant of another version of the library")
    moments = {name: datetime.fromisoformat(row[name]) for name in _MOMENTS if row[name] is not None}
    return Tenant(**{**row, **moments, "status": TenantStatus(row["status"])})
