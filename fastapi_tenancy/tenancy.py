"""The composition root: wires everything, and owns its life."""

import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from typing import Any, Self

from fastapi import FastAPI
from sqlalchemy import URL, MetaData
from sqlalchemy.ext.asyncio import AsyncSession
from starlette.applications import Starlette

from .context import tenant_scope
from .directory import TenantDirectory, require_active
from .errors import ConfigurationError, TenantUnavailableError
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
from .openapi import document_tenant
from .resolvers import Resolver, ResolverChain
from .resolvers.chain import Conflict
from .settings import TenancySettings
from .store import DomainStore, RetainedNamespace, SQLAlchemyTenantStore, TenantStore, TokenStore
from .tenant import Tenant, TenantStatus, check_identifier, check_name, check_settings
from .watch import TenantWatch


@dataclass(frozen=True, slots=True)
class TenantPage:
    """Some tenants in the order of their identifiers.

    Attributes:
        items: the tenants.
        next: what `after` takes to give the next page; None on the last.
    """

    items: Sequence[Tenant]
    next: str | None


def _utc_now() -> datetime:
    return datetime.now(UTC)


class Tenancy:
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
    ) -> None:
        self.settings = settings or TenancySettings.from_environment()
        root_profile = RootProfile(self.settings, metadata, session_class, clock, placement)
        self.engines = root_profile.engines
        self.store = store or SQLAlchemyTenantStore(
            self.settings.database_url,
            open_engine=partial(self.engines.open, hide_parameters=True),  # they hold the tenants' database URLs
        )
        self.directory = TenantDirectory(self.store, self.settings, clock)
        self._domains: MultitenantRouteManager | None = None
        if isinstance(self.store, DomainStore):
            self._domains = MultitenantRouteManager(
                self.store, self.directory, self.settings, now, clock, domain_checker
            )
        self._tokens: MultitenantTokenManager | None = None
        if isinstance(self.store, TokenStore):
            self._tokens = MultitenantTokenManager(self.store, self.directory, self.settings, now, clock)
        self.resolvers = ResolverChain(resolvers, self, conflict)
        self.provider = MultitenantManagerProvider(root_profile)
        self.provider.provide({})  # a default manager that cannot work is refused now, not at the first request
        self._lifecycle = TenantLifecycle(self.directory, self.provider, now)
        self.watch = TenantWatch(self.directory, self.store, self.settings, clock)
        self.limits = None if limits is None else LimitGate(limits, self.settings, clock)
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

    async def create_tenant(
        self,
        identifier: str,
        *,
        name: str | None = None,
        settings: Mapping[str, Any] | None = None,
        manager_type: str | None = None,
        database_url: str | URL | None = None,
    ) -> Tenant:
        """Create a tenant with its tables, and activate it.

        Where an earlier call was killed half-way, this one takes over, 10 s after that one was last heard of.

        Args:
            identifier: its slug; 1 to 63 of a-z, 0-9 and "-".
            name: what people read; the identifier if None.
            settings: the application's own values, JSON.
            manager_type: the manager that keeps it; the deployment's default if None.
            database_url: where it is kept; the place derived from the settings if None.

        Raises:
            InvalidIdentifierError: `identifier` cannot be one.
            InvalidTenantError: `name` or `settings` cannot be stored.
            TenantExistsError: `identifier` is taken.
            NamespaceExistsError: `database_url` is another tenant's, or there is something already.
            ConfigurationError: `manager_type` is unknown or does not fit the deployment.
        """
        url = database_url.render_as_string(hide_password=False) if isinstance(database_url, URL) else database_url
        draft = self._lifecycle.draft(
            check_identifier(identifier),
            name=check_name(identifier if name is None else name),
            settings=check_settings(settings or {}),
            manager_type=manager_type,
            database_url=url,
        )
        return await self._lifecycle.create(draft)

    async def get_tenant(self, identifier: str) -> Tenant:
        """The tenant as the store has it now.

        Raises:
            TenantNotFoundError: there is none.
        """
        return await self.directory.read(identifier)

    async def list_tenants(
        self, limit: int = 100, after: str | None = None, status: TenantStatus | None = None
    ) -> TenantPage:
        """At most `limit` tenants (1 to 1000) beyond the identifier `after`, in the order of their identifiers."""
        if not 1 <= limit <= 1000:
            raise ValueError(f"limit is {limit}; give 1 to 1000")
        found = await self.directory.page(limit + 1, after, status)
        items = found[:limit]
        return TenantPage(items, items[-1].identifier if len(found) > limit else None)

    async def update_tenant(
        self,
        current: str,
        /,
        *,
        name: str | None = None,
        identifier: str | None = None,
        settings: Mapping[str, Any] | None = None,
        version: int | None = None,
    ) -> Tenant:
        """Change what is given; `settings` replace the old ones as a whole.

        Args:
            current: the identifier that it has now.
            name: what people read.
            identifier: its new slug.
            settings: the application's own values.
            version: the `Tenant.version` that the change was decided on; None for whichever is there.

        Raises:
            TenantNotFoundError: there is no tenant `current`.
            TenantConflictError: somebody else changed it since; nothing was written.
            TenantExistsError: the new `identifier` is taken.
        """
        changes = {
            "name": None if name is None else check_name(name),
            "identifier": None if identifier is None else check_identifier(identifier),
            "settings": None if settings is None else check_settings(settings),
        }
        given = {field: value for field, value in changes.items() if value is not None}
        tenant = await self.directory.read(current)
        return await self._lifecycle.update(replace(tenant, version=version or tenant.version), **given)

    async def suspend_tenant(self, identifier: str) -> Tenant:
        """Refuse its requests from now on; in this process at once, in others within `cache_ttl`."""
        return await self._lifecycle.set_status(await self.directory.read(identifier), TenantStatus.SUSPENDED)

    async def activate_tenant(self, identifier: str) -> Tenant:
        """Serve it again."""
        return await self._lifecycle.set_status(await self.directory.read(identifier), TenantStatus.ACTIVE)

    async def delete_tenant(self, identifier: str, *, drop_data: bool = False) -> None:
        """Delete a tenant; its identifier is free afterwards. Calling it again ends a deletion that was cut short.

        Args:
            identifier: whose.
            drop_data: destroy its data as well. Else they are kept, are listed by `retained_namespaces`, and are never
                handed to another tenant.
        """
        await self._lifecycle.delete(await self.directory.read(identifier), drop_data=drop_data)

    async def retained_namespaces(self) -> Sequence[RetainedNamespace]:
        """Where the data of tenants are that were deleted without `drop_data`."""
        return await self.directory.retained()

    @asynccontextmanager
    async def use(self, identifier: str, *, allow_inactive: bool = False) -> AsyncIterator[Profile]:
        """Be a tenant for the length of a block, in jobs, scripts and shells: context set, profile leased.

        Raises:
            TenantNotFoundError: there is none.
            TenantSuspendedError: it is suspended, and not `allow_inactive`.
        """
        tenant = await self.directory.find(identifier)
        if not allow_inactive:
            require_active(tenant)
        async with self.lease(tenant) as profile:
            with tenant_scope(tenant):
                yield profile

    async def create_auth_token(
        self, identifier: str, *, name: str = "auth token", scopes: Iterable[str] = (), expires_in: float | None = None
    ) -> str:
        """A new token of a tenant, as text; `tokens.create` gives its id as well, and raises the same."""
        return (await self.tokens.create(identifier, name=name, scopes=scopes, expires_in=expires_in)).token

    @asynccontextmanager
    async def get_profile_for_token(self, token: str) -> AsyncIterator[Profile]:
        """As `use`, for the tenant whose token it is.

        Raises:
            InvalidTokenError: the token is not valid.
            TenantSuspendedError: its tenant is suspended.
        """
        tenant = require_active(await self.tokens.find_tenant(token))
        async with self.lease(tenant) as profile:
            with tenant_scope(tenant):
                yield profile

    def lease(self, tenant: Tenant) -> AbstractAsyncContextManager[Profile]:
        """The tenant's opened profile, which is not closed inside the block.

        Raises:
            TenantUnavailableError: the application is shutting down, or was not started.
        """
        if self._open is None:
            raise TenantUnavailableError("the tenancy is closed; open it with: async with tenancy.lifespan(app)")
        return self.provider.for_tenant(tenant).lease(tenant)

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
