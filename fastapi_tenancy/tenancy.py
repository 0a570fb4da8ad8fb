"""The composition root: wires everything, and owns its life."""

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
from .context import tenant_scope
from .directory import TenantDirectory, require_active
from .errors import ConfigurationError, TenantUnavailableError
from .events import LISTENER_TIMEOUT, EventKind, L
from .fleet import Fleet
from .lifecycle import TenantLifecycle
from .limits import LimitGate, TenantLimits
from .multitenant import (
    DomainChecker,
    MultitenantManagerProvider,
    MultitenantRouteManager,
    MultitenantTokenManager,
    Place,
    Profile,
    RootProfile,
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
    SealingStore,
    SQLAlchemyTenantStore,
    TenantStore,
    TokenStore,
)
from .tenant import Tenant
from .trail import AuditTrail
from .watch import TenantWatch

ServiceFactory = TypeVar("ServiceFactory", bound=Callable[[Profile], Any])


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
    ) -> None:
        self.settings = settings or TenancySettings.from_environment()
        root_profile = RootProfile(self.settings, metadata, session_class, clock, placement)
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
        self.directory = TenantDirectory(self.store, self.settings, clock)
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
        self._lifecycle = TenantLifecycle(self.directory, self.provider, now, acts)
        self._rekeying = TenantRekeying(self.directory, self.provider, now, acts)
        self.watch = TenantWatch(self.directory, self.store, self.settings, clock)
        self.limits = None if limits is None else LimitGate(limits, self.settings, clock)
        self.background = Background(self.settings.shutdown_timeout)
        self.now = now
        self._open: AsyncExitStack | None = None

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
            yield

    async def __aenter__(self) -> Self:
        if self._open is not None:
            raise ConfigurationError("this Tenancy is open already; open it once, in the lifespan of the outermost app")
        async with AsyncExitStack() as stack:
            stack.push_async_callback(self.store.close)
            stack.push_async_callback(self._events.aclose, self.settings.shutdown_timeout)
            await self.store.open()
            stack.push_async_callback(self.directory.forget_all)
            if self._domains is not None:
                stack.push_async_callback(self._domains.forget_all)
            if self._tokens is not None:
                stack.push_async_callback(self._tokens.forget_all)
            if self.limits is not None:
                stack.push_async_callback(self.limits.close)
            await stack.enter_async_context(self.provider.running())
            await stack.enter_async_context(self.watch.running())
            await stack.enter_async_context(self.background.running())  # the last, as its work needs all the others
            self._open = stack.pop_all()
        return self

    async def __aexit__(self, *_: object) -> None:
        stack, self._open = self._open, None
        if stack is not None:
            await stack.aclose()

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

    @asynccontextmanager
    async def use(
        self, identifier: str, *, key: GivenKey | None = None, allow_inactive: bool = False
    ) -> AsyncIterator[Profile]:
        """Be a tenant for the length of a block, in jobs, scripts and shells: context set, profile leased.

        Raises:
            TenantNotFoundError: there is none.
            TenantSuspendedError: it is suspended, and not `allow_inactive`.
            TenantKeyMissingError: its key is not stored, and `key` is None or, as `WrongTenantKeyError`, another one.
        """
        tenant = await self.directory.find(identifier)
        if not allow_inactive:
            require_active(tenant)
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
        tenant = require_active(await self.tokens.find_tenant(token))
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
            "servers": self.engines.stats(),
            "limits": {} if self.limits is None else self.limits.stats(),
        }
