"""An opened tenant: its settings, and sessions that reach its data and nobody else's."""

import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from sqlalchemy import MetaData
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.ext.asyncio import AsyncSession

from ..engines import BEGIN_IMMEDIATE
from ..errors import TenantUnavailableError
from ..settings import TenancySettings
from ..tenant import Tenant


@dataclass(frozen=True, slots=True)
class RootProfile:
    """What all tenants' profiles are made from.

    Attributes:
        settings: of the deployment.
        metadata: the tables that each tenant gets.
        session_class: what a session is made of, such as SQLModel's `AsyncSession`.
        clock: seconds that only go forward.
    """

    settings: TenancySettings
    metadata: MetaData
    session_class: type[AsyncSession] = AsyncSession
    clock: Callable[[], float] = time.monotonic

    @property
    def pool(self) -> Mapping[str, Any]:
        """What the settings say of an engine's connections."""
        settings = self.settings
        return {
            "pool_size": settings.pool_size,
            "max_overflow": settings.max_overflow,
            "pool_timeout": settings.pool_timeout,
        }


async def _nothing_to_close() -> None:
    pass


class Profile:
    """A tenant that is open. Lease it (`tenancy.use`, `CurrentProfile`): what is leased is not closed.

    Attributes:
        tenant: whose it is.
        settings: the deployment's `default_settings`, overlaid by the tenant's own.
        connections: tells how many connections it has open of its own, for the statistics.
    """

    __slots__ = ("__weakref__", "_close", "_new_session", "closed", "connections", "settings", "tenant")

    def __init__(
        self,
        tenant: Tenant,
        settings: Mapping[str, Any],
        new_session: Callable[[], AsyncSession],
        close: Callable[[], Awaitable[None]] = _nothing_to_close,
        connections: Callable[[], int] = lambda: 0,
    ) -> None:
        self.tenant = tenant
        self.settings = settings
        self.closed = False
        self.connections = connections
        self._new_session = new_session
        self._close = close

    def __repr__(self) -> str:
        return f"<Profile of {self.tenant.identifier!r}{', closed' if self.closed else ''}>"

    @asynccontextmanager
    async def session(self) -> AsyncIterator[AsyncSession]:
        """A session that never commits by itself.

        Raises:
            TenantUnavailableError: the profile is closed, or no connection became free within `pool_timeout`.
        """
        try:
            async with self._start() as session:
                yield session
        except PoolTimeoutError as error:
            raise TenantUnavailableError(
                "all of the tenant's connections are in use; raise pool_size or max_overflow"
            ) from error

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[AsyncSession]:
        """A session that commits at the end of the block, and rolls back where the block raises; as `session` else."""
        async with self.session() as session, session.begin():
            if session.get_bind().dialect.name == "sqlite":
                # It would otherwise read before it locks, and a decision made on what was read might be outdated.
                await session.connection(execution_options=BEGIN_IMMEDIATE)
            yield session

    def with_settings(self, extra: Mapping[str, Any]) -> "Profile":
        """The same opened profile, with `extra` laid over its settings."""
        return Profile(self.tenant, MappingProxyType({**self.settings, **extra}), self._start)

    async def close(self) -> None:
        self.closed = True
        await self._close()

    def _start(self) -> AsyncSession:
        if self.closed:
            raise TenantUnavailableError(f"{self!r}: lease it with tenancy.use({self.tenant.identifier!r})")
        return self._new_session()
