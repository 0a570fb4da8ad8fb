"""Find a tenant: from memory if we can, from the store if we must."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from typing import Any, TypeVar

from .audit import AuditEntry
from .cache import BaseCache, InMemoryCache, TenantCache
from .cache.shared_tenants import By, Loaded, SharedTenants
from .errors import StoreUnavailableError, TenantNotFoundError, TenantSuspendedError, TenantUnavailableError
from .migration_gate import MigrationGate
from .resolution import taking
from .settings import TenancySettings
from .store import RetainedNamespace, TenantStore
from .store.calls import StoreCalls, one_load
from .tenant import Tenant, TenantStatus, check_identifier

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

    def __init__(
        self, tenants: TenantCache, unknown: InMemoryCache, unknown_ttl: float, lasts: Callable[[Tenant], bool]
    ) -> None:
        self.tenants = tenants
        self._lasts = lasts
        self.unknown = unknown
        self._unknown_ttl = unknown_ttl
        self.unknown_hits = 0

    async def get(self, key: str, default: Any = None) -> Any:
        tenant = self.tenants.get_by_identifier(key)
        if tenant is not None:
            return tenant
        found = await self.unknown.get(key, default)
        if found is None:
            self.unknown_hits += 1
        return found

    async def set(self, keys: str | Iterable[str], value: Tenant | None, ttl: float | None = None) -> None:
        if value is None:
            await self.unknown.set(keys, None, ttl or self._unknown_ttl)
        elif self._lasts(value):
            self.tenants.set(value, ttl)

    async def clear(self, key: str) -> None:
        self.tenants.invalidate_by_identifier(key)
        await self.unknown.clear(key)

    async def flush(self) -> None:
        self.tenants.clear()
        await self.unknown.flush()

    async def overtake(self) -> None:
        """Keep nothing that is being loaded now."""
        async with self._loads_in_flight.changing(None):
            pass


class _RememberedById(BaseCache):
    """The same tenants by id; a change of a tenant has to be told to both."""

    def __init__(self, tenants: TenantCache, lasts: Callable[[Tenant], bool]) -> None:
        self.tenants = tenants
        self._lasts = lasts

    async def get(self, key: str, default: Any = None) -> Any:
        return self.tenants.get(key) or default

    async def set(self, keys: str | Iterable[str], value: Tenant | None, ttl: float | None = None) -> None:
        if value is not None and self._lasts(value):
            self.tenants.set(value, ttl)

    async def clear(self, key: str) -> None:
        self.tenants.invalidate(key)

    async def flush(self) -> None:
        self.tenants.clear()


class TenantDirectory:
    """The one place that reads and writes tenants."""

    def __init__(
        self,
        store: TenantStore,
        settings: TenancySettings,
        clock: Callable[[], float] = time.monotonic,
        gate: MigrationGate | None = None,
        shared: SharedTenants | None = None,
    ) -> None:
        self._store = store
        self._gate = gate
        self._shared = shared
        self._timeout = settings.store_timeout
        self._calls = StoreCalls(settings.store_timeout, settings.store_failures, clock)
        self._remembered = _Remembered(
            TenantCache(
                settings.cache_size,
                settings.cache_ttl,
                clock=clock,
                jitter=settings.cache_ttl_jitter,
                stale_for=settings.stale_for,
            ),
            InMemoryCache(settings.unknown_cache_size, clock=clock),
            settings.unknown_cache_ttl,
            self._lasts,
        )
        self._by_id = _RememberedById(self._remembered.tenants, self._lasts)
        self.remembered: Callable[[str], Tenant | None] = self._remembered.tenants.get_by_identifier
        self.remembered_by_id: Callable[[str], Tenant | None] = self._remembered.tenants.get
        self._listeners: list[Callable[[Tenant], None]] = []
        self._counts = {"loads": 0, "served_stale": 0}

    async def find(self, identifier: str) -> Tenant:
        """The tenant of that name, in any status, loaded once however many ask at the same time.

        Raises:
            InvalidIdentifierError: no tenant can have that name; the store is not asked.
            TenantNotFoundError: none has it.
            StoreUnavailableError: the store failed or took longer than `store_timeout`, and the tenant was not active
                within the last `cache_ttl` and `stale_for` seconds, as far as is known.
        """
        tenant: Tenant | None = self.remembered(identifier)
        if tenant is not None:
            return tenant
        check_identifier(identifier)
        try:
            tenant = await one_load(self._remembered, identifier, partial(self._load, "identifier", identifier))
        except StoreUnavailableError as failure:
            tenant = self._known(self._remembered.tenants.stale_by_identifier(identifier), failure)
        if tenant is None:
            raise TenantNotFoundError(f"no tenant {identifier!r}; create it with tenancy.create_tenant({identifier!r})")
        return tenant

    async def admitted(self, tenant: Tenant) -> Tenant:
        """The tenant, if it may be served; what `remembered` gives need not be asked for.

        Raises:
            TenantMigratingError: it has to be migrated first, or is being migrated.
            RequestError: its status does not allow it, as `require_active` has it.
        """
        require_active(tenant)
        if self._gate is None:
            return tenant
        with taking("migration"):
            return await self._gate.passed(tenant)

    async def find_by_id(self, tenant_id: str) -> Tenant | None:
        """The tenant of that id, in any status, from memory or loaded once; None if it is gone; raises as `find`."""
        known = self._remembered.tenants.get(tenant_id)
        if known is not None:
            return known
        try:
            found: Tenant | None = await one_load(self._by_id, tenant_id, partial(self._load, "id", tenant_id))
        except StoreUnavailableError as failure:
            return self._known(self._remembered.tenants.stale(tenant_id), failure)
        return found

    async def read(self, identifier: str) -> Tenant:
        """The tenant as the store has it now, past every cache; raises as `find` does."""
        tenant = await self.ask(self._store.get_by_identifier(check_identifier(identifier)))
        self._learn("identifier", identifier, tenant)
        if tenant is None:
            raise TenantNotFoundError(f"no tenant {identifier!r}; list the tenants to see what is there")
        return tenant

    async def page(self, limit: int, after: str | None, status: TenantStatus | None, q: str | None) -> Sequence[Tenant]:
        return await self.ask(self._store.page(limit, after, status, q))

    async def retained(self) -> Sequence[RetainedNamespace]:
        return await self.ask(self._store.retained())

    async def add(self, tenant: Tenant) -> None:
        async with self._changing(tenant):
            await self.ask(self._store.add(tenant))

    async def change(self, before: Tenant, after: Tenant, audit: Sequence[AuditEntry] = ()) -> Tenant:
        """Write `after` over `before`, and return it as it was saved."""
        async with self._changing(before, after):
            return await self.ask(self._store.save(after, audit=audit))

    async def remove(self, tenant: Tenant, *, keep_namespace: bool, audit: Sequence[AuditEntry] = ()) -> bool:
        async with self._changing(tenant):
            return await self.ask(self._store.remove(tenant, keep_namespace=keep_namespace, audit=audit))

    def on_change(self, listener: Callable[[Tenant], None]) -> Callable[[], None]:
        """Call `listener` after each write of a tenant by this process, with the tenant as it was and as it was to be.

        Returns:
            What ends it.
        """
        self._listeners.append(listener)
        return lambda: self._listeners.remove(listener)

    async def forget_changed(self, tenant_id: str, *identifiers: str) -> None:
        """Forget a tenant that another process changed, by its id, and what was known of the identifier that it got."""
        await self._remembered.overtake()  # whatever name it is being loaded by
        await self._forget_here(tenant_id, *identifiers)
        if self._shared is not None:
            # The other one does that as well; but its message may have been faster.
            await self._shared.forget(tenant_id, identifiers)
            await self._remembered.overtake()
            await self._forget_here(tenant_id, *identifiers)

    async def forget(self, tenant: Tenant) -> None:
        """Read it from the store the next time, here and in other processes, since it was changed past this."""
        if self._shared is not None:
            await self._forget_here(tenant.id, tenant.identifier)
            await self._shared.forget(tenant.id, [tenant.identifier])
        await self._forget(tenant)

    async def forget_all(self) -> None:
        await self._remembered.flush()
        await self._by_id.flush()

    def stats(self) -> dict[str, Any]:
        return {
            "tenants": self._remembered.tenants.stats(),
            "unknown": {"size": self._remembered.unknown.size(), "hits": self._remembered.unknown_hits},
            **self._counts,
            **self._calls.stats(),
            "shared": {} if self._shared is None else self._shared.stats(),
        }

    async def ask(self, question: Coroutine[Any, Any, T], *, patiently: bool = False) -> T:
        """Await an answer of the store, for `store_timeout` seconds at the most unless `patiently`.

        Raises:
            StoreUnavailableError: it failed, did not answer in time, or is not asked for a moment since it has failed
                several times. What was to be written may be written all the same.
        """
        return await self._calls.ask(question, patiently=patiently)

    def refuse(self, reason: str) -> None:
        """Ask the store nothing any more: every question is a `ConfigurationError`."""
        self._calls.refuse(reason)

    def _lasts(self, tenant: Tenant) -> bool:
        """Whether it may be served as it is for a while: one that is about to change is read each time."""
        return tenant.is_settled and (self._gate is None or self._gate.is_open(tenant))

    async def _load(self, by: By, key: str) -> Loaded:
        now = asyncio.get_running_loop().time
        until = now() + self._timeout
        ask = self._store.get if by == "id" else self._store.get_by_identifier

        async def load() -> Tenant | None:
            self._counts["loads"] += 1
            tenant = await self._calls.ask(ask(key), within=max(until - now(), 0))
            # A store that compares loosely (letter case, accents) may answer with another name's tenant.
            return tenant if tenant is not None and getattr(tenant, by) == key else None

        if self._shared is None:
            found: Loaded = await load(), None
        else:
            with taking("shared_cache"):
                found = await self._shared.find(by, key, self._lasts, load)
        self._learn(by, key, found[0])
        return found

    def _learn(self, by: By, key: str, tenant: Tenant | None) -> None:
        """Serve nobody stale of whom the store says that it may not be served."""
        tenants = self._remembered.tenants
        if tenant is not None and not (tenant.is_active and self._lasts(tenant)):
            tenants.invalidate(tenant.id)
        elif tenant is None:
            (tenants.invalidate if by == "id" else tenants.invalidate_by_identifier)(key)

    def _known(self, tenant: Tenant | None, failure: StoreUnavailableError) -> Tenant:
        """The tenant as it was when the store could be asked.

        Raises:
            StoreUnavailableError: that is too long ago, or it was not to be served then.
        """
        if tenant is None or not tenant.is_active or not self._lasts(tenant):
            raise failure
        self._counts["served_stale"] += 1
        return tenant

    @asynccontextmanager
    async def _changing(self, *tenants: Tenant) -> AsyncIterator[None]:
        """Around a write; `tenants` are what was there and what is to be."""
        async with AsyncExitStack() as stack:
            # After the write, not before: a load that read the old row in between is then overtaken, and not kept.
            stack.push_async_callback(self._forget, *tenants)
            if self._shared is not None:
                await stack.enter_async_context(self._shared.changing(*tenants))
            yield

    async def _forget(self, *tenants: Tenant) -> None:
        for tenant in tenants:
            await self._forget_here(tenant.id, tenant.identifier)
            for listener in tuple(self._listeners):
                listener(tenant)

    async def _forget_here(self, tenant_id: str, *identifiers: str) -> None:
        await self._by_id.clear(tenant_id)
        for identifier in identifiers:
            await self._remembered.clear(identifier)
