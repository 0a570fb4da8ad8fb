"""Find a tenant: from memory if we can, from the store if we must."""

import asyncio
import logging
import time
from collections.abc import Callable, Coroutine, Iterable, Sequence
from typing import Any, TypeVar

from sqlalchemy.exc import SQLAlchemyError

from .audit import AuditEntry
from .cache import BaseCache, InMemoryCache, TenantCache
from .errors import StoreUnavailableError, TenantNotFoundError, TenantSuspendedError, TenantUnavailableError
from .settings import TenancySettings
from .store import RetainedNamespace, TenantStore
from .tenant import Tenant, TenantStatus, check_identifier

logger = logging.getLogger(__name__)

T = TypeVar("T")

_REFUSALS: dict[TenantStatus, Callable[[str], Exception]] = {
    TenantStatus.SUSPENDED: lambda name: TenantSuspendedError(f"the tenant {name!r} is suspended; activate it first"),
    TenantStatus.PROVISIONING: lambda name: TenantUnavailableError(f"the tenant {name!r} is being created; try again"),
    TenantStatus.DELETING: lambda name: TenantNotFoundError(f"the tenant {name!r} is being deleted"),
}


def require_active(tenant: Tenant) -> Tenant:
    """Return `tenant` if it may be served.

    Raises:
        TenantSuspendedError: it is suspended.
        TenantUnavailableError: it is being created.
        TenantNotFoundError: it is being deleted.
    """
    if not tenant.is_active:
        raise _REFUSALS[tenant.status](tenant.identifier)
    return tenant


class _Remembered(BaseCache):
    """What a worker knows by identifier: tenants, and names that have none (kept as None)."""

    def __init__(self, tenants: TenantCache, unknown: InMemoryCache, unknown_ttl: float) -> None:
        self.tenants = tenants
        self.unknown = unknown
        self._unknown_ttl = unknown_ttl

    async def get(self, key: str, default: Any = None) -> Any:
        tenant = self.tenants.get_by_identifier(key)
        return await self.unknown.get(key, default) if tenant is None else tenant

    async def set(self, keys: str | Iterable[str], value: Tenant | None, ttl: float | None = None) -> None:
        if value is None:
            await self.unknown.set(keys, None, ttl or self._unknown_ttl)
        elif value.is_settled:  # else it is about to change
            self.tenants.set(value)

    async def clear(self, key: str) -> None:
        self.tenants.invalidate_by_identifier(key)
        await self.unknown.clear(key)

    async def flush(self) -> None:
        self.tenants.clear()
        await self.unknown.flush()


class _RememberedById(BaseCache):
    """The same tenants by id; a change of a tenant has to be told to both."""

    def __init__(self, tenants: TenantCache) -> None:
        self.tenants = tenants

    async def get(self, key: str, default: Any = None) -> Any:
        return self.tenants.get(key) or default

    async def set(self, keys: str | Iterable[str], value: Tenant | None, ttl: float | None = None) -> None:
        if value is not None and value.is_settled:
            self.tenants.set(value)

    async def clear(self, key: str) -> None:
        self.tenants.invalidate(key)

    async def flush(self) -> None:
        self.tenants.clear()


class TenantDirectory:
    """The one place that reads and writes tenants."""

    def __init__(
        self, store: TenantStore, settings: TenancySettings, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._store = store
        self._timeout = settings.store_timeout
        self._remembered = _Remembered(
            TenantCache(settings.cache_size, settings.cache_ttl, clock=clock, jitter=settings.cache_ttl_jitter),
            InMemoryCache(settings.unknown_cache_size, clock=clock),
            settings.unknown_cache_ttl,
        )
        self._by_id = _RememberedById(self._remembered.tenants)
        self.remembered: Callable[[str], Tenant | None] = self._remembered.tenants.get_by_identifier
        self.remembered_by_id: Callable[[str], Tenant | None] = self._remembered.tenants.get
        self._listeners: list[Callable[[Tenant], None]] = []
        self._counts = {"loads": 0, "unknown_hits": 0, "store_failures": 0}

    async def find(self, identifier: str) -> Tenant:
        """The tenant of that name, in any status, loaded once however many ask at the same time.

        Raises:
            InvalidIdentifierError: no tenant can have that name; the store is not asked.
            TenantNotFoundError: none has it.
            StoreUnavailableError: the store failed or took longer than `store_timeout`.
        """
        tenant: Tenant | None = self.remembered(identifier)
        if tenant is not None:
            return tenant
        check_identifier(identifier)
        async with self._remembered.acquire(identifier) as lookup:
            if not lookup.done:
                await lookup.set_result(await self._load(identifier))
            elif lookup.result is None:
                self._counts["unknown_hits"] += 1
            tenant = lookup.result
        if tenant is None:
            raise TenantNotFoundError(f"no tenant {identifier!r}; create it with tenancy.create_tenant({identifier!r})")
        return tenant

    async def find_by_id(self, tenant_id: str) -> Tenant | None:
        """The tenant of that id, in any status, from memory or loaded once; None if it is gone.

        Raises:
            StoreUnavailableError: the store failed or took longer than `store_timeout`.
        """
        known = self._remembered.tenants.get(tenant_id)
        if known is not None:
            return known
        async with self._by_id.acquire(tenant_id) as lookup:
            if not lookup.done:
                self._counts["loads"] += 1
                await lookup.set_result(await self.ask(self._store.get(tenant_id)))
            found: Tenant | None = lookup.result
        return found

    async def read(self, identifier: str) -> Tenant:
        """The tenant as the store has it now, past every cache; raises as `find` does."""
        tenant = await self.ask(self._store.get_by_identifier(check_identifier(identifier)))
        if tenant is None:
            raise TenantNotFoundError(f"no tenant {identifier!r}; list the tenants to see what is there")
        return tenant

    async def page(self, limit: int, after: str | None, status: TenantStatus | None, q: str | None) -> Sequence[Tenant]:
        return await self.ask(self._store.page(limit, after, status, q))

    async def retained(self) -> Sequence[RetainedNamespace]:
        return await self.ask(self._store.retained())

    async def add(self, tenant: Tenant) -> None:
        try:
            await self.ask(self._store.add(tenant))
        finally:
            await self._forget(tenant)

    async def change(self, before: Tenant, after: Tenant, audit: Sequence[AuditEntry] = ()) -> Tenant:
        """Write `after` over `before`, and return it as it was saved."""
        try:
            return await self.ask(self._store.save(after, audit=audit))
        finally:
            await self._forget(before, after)

    async def remove(self, tenant: Tenant, *, keep_namespace: bool, audit: Sequence[AuditEntry] = ()) -> bool:
        try:
            return await self.ask(self._store.remove(tenant, keep_namespace=keep_namespace, audit=audit))
        finally:
            await self._forget(tenant)

    def on_change(self, listener: Callable[[Tenant], None]) -> Callable[[], None]:
        """Call `listener` after each write of a tenant by this process, with the tenant as it was and as it was to be.

        Returns:
            What ends it.
        """
        self._listeners.append(listener)
        return lambda: self._listeners.remove(listener)

    async def forget(self, tenant: Tenant) -> None:
        """Read it from the store the next time, since somebody else changed it."""
        await self._forget(tenant)

    async def forget_all(self) -> None:
        await self._remembered.flush()
        await self._by_id.flush()

    def stats(self) -> dict[str, Any]:
        return {
            "tenants": self._remembered.tenants.stats(),
            "unknown": {"size": self._remembered.unknown.size(), "hits": self._counts["unknown_hits"]},
            "loads": self._counts["loads"],
            "store_failures": self._counts["store_failures"],
        }

    async def _load(self, identifier: str) -> Tenant | None:
        self._counts["loads"] += 1
        tenant = await self.ask(self._store.get_by_identifier(identifier))
        # A store that compares loosely (letter case, accents) may answer with another name's tenant.
        return tenant if tenant is not None and tenant.identifier == identifier else None

    async def _forget(self, *tenants: Tenant) -> None:
        # After the write, not before: a load that read the old row in between is then overtaken, and not kept.
        for tenant in tenants:
            await self._by_id.clear(tenant.id)
            await self._remembered.clear(tenant.identifier)
            for listener in tuple(self._listeners):
                listener(tenant)

    async def ask(self, question: Coroutine[Any, Any, T], *, patiently: bool = False) -> T:
        """Await an answer of the store, for `store_timeout` seconds at the most unless `patiently`.

        Raises:
            StoreUnavailableError: it failed, or did not come in time.
        """
        task = asyncio.ensure_future(question)
        try:
            # Not asyncio.timeout: it waits for the cancellation, which a driver with a hung server never ends.
            await asyncio.wait((task,), timeout=None if patiently else self._timeout)
        finally:
            if not task.done():
                task.cancel()
                task.add_done_callback(_drop_outcome)
        if not task.done():
            self._counts["store_failures"] += 1
            logger.warning("tenant store timed out", extra={"seconds": self._timeout})
            raise StoreUnavailableError(f"the tenant store did not answer within {self._timeout:g} s")
        try:
            return task.result()
        except (SQLAlchemyError, OSError) as error:
            self._counts["store_failures"] += 1
            logger.warning("tenant store failed", exc_info=error)
            raise StoreUnavailableError("the tenant store failed; see the log for its error") from error


def _drop_outcome(task: asyncio.Future[Any]) -> None:
    if not task.cancelled():
        task.exception()
