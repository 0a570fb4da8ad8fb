"""The composition root: wires everything, and owns its life."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime
from functools import partial
from typing import Any, Self, TypeVar

from fastapi import FastAPI
from sqlalchemy import MetaData
from sqlalchemy.ext.asyncio import AsyncSession
from starlette.applications import Starlette
from starlette.types import Scope

from .acts import Acts
from .audit import AuditSink
from .background import Background
from .bus import Bus
from .cache.shared_tenants import SharedTenants
from .claims import Claims
from .coherence import Coherence, bus_of, store_name
from .context import tenant_scope
from .directory import TenantDirectory
from .errors import ConfigurationError, TenantUnavailableError
from .events import LISTENER_TIMEOUT, EventKind, L
from .fleet import Fleet, FleetMigrations, OnDemand, PendingPool, TenantArchives, TenantMoves
from .forks import tell_of_forks
from .health import Readiness
from .lifecycle import TenantLifecycle
from .limits import LimitGate, TenantLimits
from .migration_gate import MigrationGate
from .multitenant import (
    DomainChecker,
    MultitenantManagerProvider,
    MultitenantRouteManager,
    MultitenantTokenManager,
    Place,
    Profile,
    RootProfile,
    SeedFunction,
    Seeds,
)
from .multitenant.keys import GivenKey, key_in_header, needs_key
from .openapi import document_tenant
from .rekeying import TenantRekeying
from .resolvers import Resolver, ResolverChain
from .resolvers.chain import Conflict
from .resolvers.token import bearer_token
from .sealing import Sealer
from .settings import TenancySettings
from .store import (
    AuditStore,
    DomainStore,
    FleetStore,
    MoveStore,
    PendingStore,
    SealingStore,
    SQLAlchemyTenantStore,
    TenantStore,
    TokenStore,
)
from .tenant import Tenant
from .trail import AuditTrail
from .usage import TenantUsage
from .watch import TenantWatch

ServiceFactory = TypeVar("ServiceFactory", bound=Callable[[Profile], Any])


_FORKED = (
    "this Tenancy was opened before the process was forked, and its connections are the parent's; make it before the "
    "fork if you like, and open it in each worker, by its lifespan"
)


def _utc_now() -> datetime:
    return datetime.now(UTC)


class Tenancy(Fleet):
    """All tenants of an application.

    Args:
        settings: of the deployment; None reads them from `TENANCY_*`.
        resolvers: how a request names its tenant, asked in order.
        conflict: what becomes of a request in which two of them name different tenants: "refuse" answers 400, "first"
            keeps the first and does not ask the others.
        metadata: the tables that each tenant gets.
        session_class: what the tenants' sessions are made of.
        store: where the tenants are listed; None keeps them in `database_url`.
        clock: seconds that only go forward, for the caches and the rates of `limits`.
        now: the time of day in UTC, for what is recorded.
        placement: where a new `basic` tenant's database goes, a URL that may hold `{id}`, to spread tenants over
            servers; None, also returned by it, for the place that the settings name. Sync or async, called once for
            each tenant.
        domain_checker: looks for the proof that a domain is its tenant's; None asks DNS.
        limits: what each tenant may ask for; None does not limit.
        audit: gets the entries of the audit trail, each after its act; None has the store write them, in the
            transaction of the act, if it is an `AuditStore`.
        bus: by which workers tell each other what changed; None for the one that the settings name.
        usage: counts what each tenant takes; None counts nothing, and costs nothing.

    Attributes:
        upkeep: keep `pending_tenants` ready while it is open; a program that ends in a moment sets it to False.

    Raises:
        ConfigurationError: the settings, resolvers or tables cannot work; the message says what to do.
    """

    def __init__(
        self,
        settings: TenancySettings | None = None,
        *,
        resolvers: Sequence[Resolver],
        conflict: Conflict = "refuse",
        metadata: MetaData,
        session_class: type[AsyncSession] = AsyncSession,
        store: TenantStore | None = None,
        clock: Callable[[], float] = time.monotonic,
        now: Callable[[], datetime] = _utc_now,
        placement: Callable[[Tenant], Place | Awaitable[Place]] | None = None,
        domain_checker: DomainChecker | None = None,
        limits: TenantLimits | None = None,
        audit: AuditSink | None = None,
        bus: Bus | None = None,
        usage: TenantUsage | None = None,
    ) -> None:
        self.settings = settings or TenancySettings.from_environment()
        root_profile = RootProfile(self.settings, metadata, session_class, clock, placement, usage)
        self.engines = root_profile.engines
        keys = self.settings.encryption_keys
        self.sealer = Sealer(keys) if keys else None
        self.store = store or SQLAlchemyTenantStore(
            self.settings.database_url,
            open_engine=partial(self.engines.open, hide_parameters=True),  # they hold the tenants' database URLs
            sealer=self.sealer,
            secret_settings=self.settings.secret_settings,
        )
        if self.sealer is not None and isinstance(self.store, SealingStore) and not self.store.is_sealing:
            raise ConfigurationError(
                f"encryption_keys are set, and the {type(self.store).__name__} that was given would store secrets in "
                "plain; give it sealer= and secret_settings= too, or leave out store="
            )
        scripts = root_profile.scripts
        gate = None if scripts is None else MigrationGate(scripts.is_behind, now)
        self._shared = SharedTenants(self.settings, self.sealer) if self.settings.shared_cache else None
        self.directory = TenantDirectory(self.store, self.settings, clock, gate, self._shared)
        self._events = root_profile.events
        kept = self.store if audit is None and isinstance(self.store, AuditStore) else None
        acts = Acts(self._events, now, audit, in_store=kept is not None)
        self._trail = None if kept is None else AuditTrail(kept, self.directory, now)
        self._domains: MultitenantRouteManager | None = None
        if isinstance(self.store, DomainStore):
            self._domains = MultitenantRouteManager(
                self.store, self.directory, self.settings, now, clock, domain_checker, acts=acts
            )
        self._tokens: MultitenantTokenManager | None = None
        if isinstance(self.store, TokenStore):
            self._tokens = MultitenantTokenManager(self.store, self.directory, self.settings, now, clock, acts)
        self.resolvers = ResolverChain(resolvers, self, conflict)
        self.provider = MultitenantManagerProvider(root_profile)
        self.provider.provide({})  # a default manager that cannot work is refused now, not at the first request
        claims = Claims(self.store, self.directory, self.provider, clock)
        self._seeds = Seeds()
        self._lifecycle = TenantLifecycle(self.directory, self.provider, now, acts, claims, self._seeds)
        self._pool: PendingPool | None = None
        if isinstance(self.store, PendingStore):
            self._pool = PendingPool(self.store, self.directory, self.provider, self.settings, now, claims)
        if self.settings.pending_tenants:
            self._pending().recipe()  # what cannot be kept is refused now
        self._rekeying = TenantRekeying(self.directory, self.provider, now, acts)
        self.watch = TenantWatch(self.directory, self.store, self.settings, clock)
        self._coherence = Coherence(
            bus_of(self.settings, self.store) if bus is None else bus,
            self.settings,
            self.directory,
            self.provider,
            self._domains,
            self._tokens,
            self.watch.look_soon,
        )
        self.readiness = Readiness(self.directory, self.store, self.settings, self._coherence.bus)
        self.limits = None if limits is None else LimitGate(limits, self.settings, clock)
        self.usage = usage
        self.background = Background(self.settings.shutdown_timeout)
        self.now = now
        self.clock = clock
        self.upkeep = True
        self._migrations: FleetMigrations | None = None
        if scripts is not None and isinstance(self.store, FleetStore):
            self._migrations = FleetMigrations(self.directory, self.store, self.provider, now, acts, scripts)
            if gate is not None and self.settings.migrate_on_demand:
                on_demand = OnDemand(self._migrations, self.directory, self.store, gate, self.background, now)
                gate.migrate = on_demand.migrated
        self._archives = TenantArchives(self.directory, self._lifecycle, self.provider, now, acts, kept)
        self._moves: TenantMoves | None = None
        if isinstance(self.store, FleetStore) and isinstance(self.store, MoveStore):
            self._moves = TenantMoves(self.directory, self.store, self.store, self.provider, now, acts)
        if self.settings.migrate_on_demand:
            self._with_migrations()  # what cannot be done is refused now
        self._open: AsyncExitStack | None = None
        self._parents: AsyncExitStack | None = None  # what was open where this process was forked

    @asynccontextmanager
    async def lifespan(self, app: Starlette) -> AsyncIterator[None]:
        """For `FastAPI(lifespan=tenancy.lifespan)`, or inside a lifespan of your own."""
        if isinstance(app, FastAPI):
            document_tenant(
                app,
                self.resolvers.resolvers,
                reveal_inactive=self.settings.reveal_inactive,
                limited=self.limits is not None,
            )
        async with self:
            try:
                yield
            finally:
                self.drain()
                await asyncio.sleep(self.settings.drain_delay)

    async def __aenter__(self) -> Self:
        if self._parents is not None:
            raise ConfigurationError(_FORKED)
        if self._open is not None:
            raise ConfigurationError("this Tenancy is open already; open it once, in the lifespan of the outermost app")
        async with AsyncExitStack() as stack:
            stack.push_async_callback(self.store.close)
            stack.push_async_callback(self._events.aclose, self.settings.shutdown_timeout)
            if (scripts := self.provider.root_profile.scripts) is not None:
                scripts.refresh()
            await self.store.open()
            stack.push_async_callback(self.directory.forget_all)
            if self._shared is not None:
                await stack.enter_async_context(self._shared.running(store_name(self.settings, self.store)))
            stack.push_async_callback(self.readiness.aclose)
            if self._domains is not None:
                stack.push_async_callback(self._domains.forget_all)
            if self._tokens is not None:
                stack.push_async_callback(self._tokens.forget_all)
            if self.limits is not None:
                stack.push_async_callback(self.limits.close)
            await stack.enter_async_context(self._coherence.running())
            await stack.enter_async_context(self.provider.running())
            await stack.enter_async_context(self.watch.running())
            if self.settings.pending_tenants and self.upkeep:
                await stack.enter_async_context(self._pending().running(self.settings.pending_tenants))
            await stack.enter_async_context(self.background.running())  # the last, as its work needs all the others
            self._open = stack.pop_all()
        self.readiness.is_open = True
        tell_of_forks(self)
        return self

    async def __aexit__(self, *_: object) -> None:
        self.drain()
        stack, self._open = self._open, None
        if stack is not None:
            await stack.aclose()

    def drain(self) -> None:
        """Be unready from now on, so that no more requests are sent here; those that come are still served."""
        self.readiness.is_open = False

    def disinherit(self) -> None:
        """Called in a process that was forked while this was open: it serves nobody there."""
        if self._open is not None:
            self._parents, self._open = self._open, None  # kept, as the end of what it holds is the parent's affair
            self.directory.refuse(_FORKED)

    @property
    def domains(self) -> MultitenantRouteManager:
        """The tenants' own domains.

        Raises:
            ConfigurationError: the store that was given keeps none.
        """
        if self._domains is None:
            raise ConfigurationError(
                f"{type(self.store).__name__} keeps no domains; give it the methods of DomainStore, or do without them"
            )
        return self._domains

    @property
    def tokens(self) -> MultitenantTokenManager:
        """The tenants' own bearer tokens.

        Raises:
            ConfigurationError: the store that was given keeps none.
        """
        if self._tokens is None:
            raise ConfigurationError(
                f"{type(self.store).__name__} keeps no tokens; give it the methods of TokenStore, or do without them"
            )
        return self._tokens

    def service(self, factory: ServiceFactory) -> ServiceFactory:
        """Register what makes a service: once for each open profile, when `TenantService` or `Profile.service` asks.

        The type is the one that the factory's annotation names: a function returns the service; one that yields it, or
        returns a context manager, closes it afterwards, when the profile is closed. A `def` runs in a thread.

        Raises:
            ConfigurationError: the annotation names no type, the type has a factory, or the tenancy is open already.
        """
        if self._open is not None:
            raise ConfigurationError("this Tenancy is open already; register services before its lifespan begins")
        self.provider.root_profile.services.add(factory)
        return factory

    def seed(self, function: SeedFunction) -> SeedFunction:
        """A decorator for what writes the first rows of every new tenant: `async def categories(session, tenant)`.

        It runs in a transaction of its own, after those registered before it and before the tenant is active; where it
        raises, the creation fails and leaves nothing. A `def` runs in a thread, with a synchronous session. Inside it
        `current_tenant()` is the new one.

        Raises:
            ConfigurationError: the tenancy is open already.
        """
        if self._open is not None:
            raise ConfigurationError("this Tenancy is open already; register seeds before its lifespan begins")
        self._seeds.add(function)
        return function

    @asynccontextmanager
    async def use(
        self, identifier: str, *, key: GivenKey | None = None, allow_inactive: bool = False
    ) -> AsyncIterator[Profile]:
        """Be a tenant for the length of a block, in jobs, scripts and shells: context set, profile leased.

        Raises:
            TenantNotFoundError: there is none.
            TenantSuspendedError: it is suspended, and not `allow_inactive`.
            TenantMigratingError: it has to be migrated first, and not `allow_inactive`.
            TenantKeyMissingError: its key is not stored, and `key` is None or, as `WrongTenantKeyError`, another one.
        """
        tenant = await self.directory.find(identifier)
        if not allow_inactive:
            tenant = await self.directory.admitted(tenant)
        async with self.lease(tenant, key) as profile:
            with tenant_scope(tenant):
                yield profile

    def on(self, *kinds: EventKind | str, veto: bool = False, timeout: float = LISTENER_TIMEOUT) -> Callable[[L], L]:
        """A decorator for what is to be called with a `TenancyEvent`, sync (in a thread) or async.

        After the act is committed; what it raises is logged. Those with a veto are called before it instead.

        Args:
            kinds: what it listens to, such as "created".
            veto: what it raises stops the act, with a `VetoedError`; so does the end of its time.
            timeout: seconds that the act waits for it.

        Raises:
            ConfigurationError: there is no such kind, or it cannot be stopped.
        """
        return self._events.on(*kinds, veto=veto, timeout=timeout)

    @asynccontextmanager
    async def get_profile_for_token(self, token: str, *, key: GivenKey | None = None) -> AsyncIterator[Profile]:
        """As `use`, for the tenant whose token it is; a key that the token carries need not be given.

        Raises:
            InvalidTokenError: the token is not valid.
            TenantSuspendedError: its tenant is suspended.
            TenantKeyMissingError: as with `use`.
        """
        tenant = await self.directory.admitted(await self.tokens.find_tenant(token))
        if key is None and needs_key(tenant):
            key = await self.tokens.key_in(token, tenant)
        async with self.lease(tenant, key) as profile:
            with tenant_scope(tenant):
                yield profile

    def lease(self, tenant: Tenant, key: GivenKey | None = None) -> AbstractAsyncContextManager[Profile]:
        """The tenant's opened profile, which is not closed inside the block.

        Args:
            tenant: whose.
            key: of a tenant whose key is not stored, also where the profile is open already; else it is not looked at.

        Raises:
            TenantKeyMissingError: the key is missing or, as `WrongTenantKeyError`, wrong.
            TenantUnavailableError: the application is shutting down, or was not started.
        """
        if self._open is None:
            if self._parents is not None:
                raise ConfigurationError(_FORKED)
            raise TenantUnavailableError("the tenancy is closed; open it with: async with tenancy.lifespan(app)")
        return self.provider.for_tenant(tenant).lease(tenant, key)

    async def key_in(self, scope: Scope, tenant: Tenant) -> GivenKey | None:
        """What a request brings to open a tenant whose key is not stored, for `lease`: in its header, or in its token.

        Raises:
            InvalidHeaderError: it has several such headers.
            WrongTenantKeyError: the key that its token carries does not open any more.
        """
        given = key_in_header(scope)
        token = None if given is not None or self._tokens is None else bearer_token(scope)
        if token is None or self._tokens is None:
            return given
        return await self._tokens.key_in(token, tenant)

    def stats(self) -> dict[str, Any]:
        """What the caches and managers of this process did so far, as plain numbers."""
        managers = {path.rpartition(".")[2]: manager.stats() for path, manager in self.provider.managers.items()}
        domains = {} if self._domains is None else self._domains.stats()
        return {
            **self.directory.stats(),
            "managers": managers,
            "domains": domains,
            "tokens": {} if self._tokens is None else self._tokens.stats(),
            "watched": self.watch.stats(),
            "bus": self._coherence.stats(),
            "servers": self.engines.stats(),
            "limits": {} if self.limits is None else self.limits.stats(),
            "usage": {} if self.usage is None else self.usage.stats(),
        }
