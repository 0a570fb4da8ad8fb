"""An opened tenant: its settings, and sessions that reach its data and nobody else's."""

import time
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager, AbstractContextManager
from dataclasses import dataclass, field
from functools import cache
from types import MappingProxyType
from typing import Any, TypeAlias, TypeVar, overload

from sqlalchemy import URL, Engine, MetaData
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Session

from ..engines import Engines
from ..errors import ConfigurationError, TenantUnavailableError
from ..events import Events
from ..migrations import MigrationScripts
from ..settings import TenancySettings
from ..tenant import Tenant
from ..usage import TenantUsage
from .engine_pair import EnginePair
from .keys import TenantKeys
from .services import ProfileServices, ServiceFactories, unregistered
from .session_blocks import SessionBlock, TransactionBlock, session_in_a_thread, transaction_in_a_thread

Place: TypeAlias = str | URL | None
S = TypeVar("S")


@dataclass(frozen=True, slots=True)
class RootProfile:
    """What all tenants' profiles are made from.

    Attributes:
        settings: of the deployment.
        metadata: the tables that each tenant gets.
        session_class: what a session is made of, such as SQLModel's `AsyncSession`.
        clock: seconds that only go forward.
        placement: where a new tenant's own database goes, as a URL that may hold `{id}`; None for the place that the
            settings name.
        usage: what counts the tenants' statements and connections; None where nothing does.
        engines: opens the deployment's databases.
        keys: reads what is recorded of the tenants' keys.
        services: what is made once for each open profile.
        events: who listens to profiles that are opened and closed.
        scripts: the application's migrations, by which the tenants' tables are made and changed; None where
            `metadata` alone makes them.
    """

    settings: TenancySettings
    metadata: MetaData
    session_class: type[AsyncSession] = AsyncSession
    clock: Callable[[], float] = time.monotonic
    placement: Callable[[Tenant], Place | Awaitable[Place]] | None = None
    usage: TenantUsage | None = None
    engines: Engines = field(init=False)
    keys: TenantKeys = field(init=False)
    services: ServiceFactories = field(init=False, default_factory=ServiceFactories)
    events: Events = field(init=False, default_factory=Events)
    scripts: MigrationScripts | None = field(init=False, default=None)

    def __post_init__(self) -> None:
        object.__setattr__(self, "engines", Engines(self.settings, self.usage))
        object.__setattr__(self, "keys", TenantKeys(self.settings.encryption_keys))
        if self.settings.migrations is not None:
            object.__setattr__(self, "scripts", MigrationScripts(self.settings.migrations))

    @property
    def head(self) -> str | None:
        """The revision at which new tables are made; None where they are made as `metadata` has them."""
        return None if self.scripts is None else self.scripts.head


async def _nothing_to_close() -> None:
    pass


class Threads:
    """Sessions of a tenant for threads, on an engine that the first of them opens."""

    def __init__(self, engines: EnginePair, sessionmaker: Callable[[Engine], Callable[[], Session]]) -> None:
        self.turn = engines.turn
        self._new_session = cache(lambda: sessionmaker(engines.sync()))

    def new_session(self) -> Session:
        return self._new_session()()


class Profile:
    """A tenant that is open. Lease it (`tenancy.use`, `CurrentProfile`): what is leased is not closed.

    Attributes:
        tenant: whose it is.
        settings: the deployment's `default_settings`, overlaid by the tenant's own.
        connections: tells how many connections it has open of its own, for the statistics.
        services: what the application has made for it; None where it registers nothing.
    """

    __slots__ = (
        "__weakref__",
        "_close",
        "_new_session",
        "_threads",
        "connections",
        "services",
        "settings",
        "tenant",
    )

    def __init__(
        self,
        tenant: Tenant,
        settings: Mapping[str, Any],
        new_session: Callable[[], AsyncSession],
        close: Callable[[], Awaitable[None]] = _nothing_to_close,
        connections: Callable[[], int] = lambda: 0,
        threads: Threads | None = None,
    ) -> None:
        self.tenant = tenant
        self.settings = settings
        self.services: ProfileServices | None = None
        self.connections = connections
        self._new_session = new_session
        self._threads = threads
        self._close: Callable[[], Awaitable[None]] | None = close

    def __repr__(self) -> str:
        return f"<Profile of {self.tenant.identifier!r}{', closed' if self.closed else ''}>"

    @property
    def closed(self) -> bool:
        return self._close is None

    def session(self) -> AbstractAsyncContextManager[AsyncSession]:
        """A session that never commits by itself, for the length of an `async with` block.

        Raises:
            TenantUnavailableError: the profile is closed, no connection became free within `pool_timeout`, or the
                connection was lost.
        """
        return SessionBlock(self._start)

    def transaction(self) -> AbstractAsyncContextManager[AsyncSession]:
        """A session that commits at the end of the block, and rolls back where the block raises; as `session` else."""
        return TransactionBlock(self._start)

    def sync_session(self) -> AbstractContextManager[Session]:
        """As `session`, for a thread: a `def` endpoint or job. One session belongs to one thread at a time.

        Raises:
            ConfigurationError: the driver's synchronous counterpart is not installed, or the manager has no sessions
                for threads.
        """
        return session_in_a_thread(self._start_sync)

    def sync_transaction(self) -> AbstractContextManager[Session]:
        """As `transaction`, for a thread."""
        return transaction_in_a_thread(self._start_sync)

    @overload
    async def service(self, kind: type[S]) -> S: ...

    @overload
    async def service(self, kind: Callable[..., S]) -> S: ...  # an abstract class or a protocol

    @overload
    async def service(self, kind: object) -> Any: ...  # such as `CrmClient | None`

    async def service(self, kind: Any) -> Any:
        """What the factory registered for a type by `Tenancy.service` makes, once for this profile.

        Raises:
            ConfigurationError: there is no such factory, or services need each other in a circle.
            TenantUnavailableError: the profile is closed.
        """
        if self.services is None:
            raise unregistered(kind)
        return await self.services.get(kind)

    def turn(self) -> AbstractAsyncContextManager[None]:
        """Wait, without holding a thread, until `sync_session` will find a connection; for callers in the event loop.

        Raises:
            TenantUnavailableError: it took longer than `pool_timeout`.
        """
        return self._for_threads().turn()

    def with_settings(self, extra: Mapping[str, Any]) -> "Profile":
        """The same opened profile, with `extra` laid over its settings."""
        profile = Profile(
            self.tenant,
            MappingProxyType({**self.settings, **extra}),
            self._start,
            threads=self._threads,
        )
        profile.services = self.services
        return profile

    async def close(self) -> None:
        try:
            if self.services is not None and self.services.profile is self:
                await self.services.close()  # first, for what closes may write to the tenant's data
        finally:
            close, self._close = self._close, None
            if close is not None:
                await close()

    def _start(self) -> AsyncSession:
        self._check_open()
        return self._new_session()

    def _start_sync(self) -> Session:
        self._check_open()
        return self._for_threads().new_session()

    def _for_threads(self) -> Threads:
        if self._threads is None:
            raise ConfigurationError(f"{self!r} has no synchronous sessions; use `async def` and TenantSession")
        return self._threads

    def _check_open(self) -> None:
        if self._close is None:
            raise TenantUnavailableError(f"{self!r}: lease it with tenancy.use({self.tenant.identifier!r})")
