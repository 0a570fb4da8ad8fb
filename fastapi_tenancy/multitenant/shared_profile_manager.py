"""The `shared-profile` manager: one opened database for all tenants, who are kept apart inside it."""

import asyncio
from collections.abc import Callable, Mapping
from functools import partial
from types import MappingProxyType

from sqlalchemy import Engine

from ..engines import connections_of
from ..errors import ConfigurationError
from ..sqlite import BEGIN_IMMEDIATE, enter_wal
from ..tenant import Tenant
from ..urls import is_sqlite, make_parent, parse_url, sqlite_file
from .base import BaseMultitenantManager
from .engine_pair import EnginePair
from .hygiene import leave_nothing
from .isolation import Isolation, RLSIsolation, RowIsolation, SchemaIsolation
from .profile import Profile, RootProfile, Threads

ISOLATIONS: Mapping[str, type[Isolation]] = MappingProxyType(
    {isolation.name: isolation for isolation in (SchemaIsolation, RLSIsolation, RowIsolation)}
)


class SharedProfileMultitenantManager(BaseMultitenantManager):
    """Keeps all tenants in `database_url`, each in a schema of its own, or their rows in the same tables.

    A tenant's profile is a view of the one engine, and costs next to nothing.
    """

    def __init__(self, root_profile: RootProfile) -> None:
        super().__init__(root_profile)
        settings = root_profile.settings
        self._url = parse_url(settings.database_url, "database_url")
        if is_sqlite(self._url) and sqlite_file(self._url) is None:
            raise ConfigurationError(
                "the shared-profile manager cannot keep tenants in a database_url in memory, which no two connections "
                "share; use a file, like sqlite+aiosqlite:///./data/tenancy.db"
            )
        name = settings.shared_isolation
        if name == "auto":
            name = "row" if is_sqlite(self._url) else "schema"
        self.isolation = ISOLATIONS[name](root_profile.metadata, self._url, settings)
        self._admin = root_profile.engines.open(self._url)  # for what concerns all tenants; never handed out
        self._tenants: EnginePair | None = None
        self._opening = asyncio.Lock()

    def namespace(self, tenant: Tenant) -> str:
        if tenant.database_url is not None:
            raise ConfigurationError(
                "the shared-profile manager keeps all tenants in one database; leave out the tenant's database_url, "
                'or set its manager_type to "basic"'
            )
        return self.isolation.place(tenant)

    async def open(self) -> None:
        await self._opened()

    async def create_tenant(self, tenant: Tenant) -> None:
        await self._opened()
        if self.isolation.separates:
            await self._as_admin(self.isolation.create, tenant)

    async def drop_tenant(self, tenant: Tenant) -> None:
        await self._opened()
        await self._as_admin(self.isolation.drop, tenant)

    async def open_profile(self, tenant: Tenant) -> Profile:
        engines = await self._opened()
        if self.isolation.separates:
            await self._as_admin(self.isolation.check, tenant)
        sessionmaker = partial(
            self.isolation.sessionmaker, session_class=self.root_profile.session_class, tenant_id=tenant.id
        )
        return Profile(
            tenant, self.settings_of(tenant), sessionmaker(engines.engine), threads=Threads(engines, sessionmaker)
        )

    async def aclose(self) -> None:
        await super().aclose()
        opened, self._tenants = self._tenants, None
        if opened is not None:
            await opened.dispose()
        await self._admin.dispose()

    def stats(self) -> dict[str, int]:
        tenants = 0 if self._tenants is None else self._tenants.connections()
        return {**super().stats(), "connections": tenants + connections_of(self._admin)}

    async def _opened(self) -> EnginePair:
        async with self._opening:
            if self._tenants is None:
                file = sqlite_file(self._url)
                if file is not None:
                    make_parent(file, "database_url")
                await enter_wal(self._admin)
                await self._as_admin(self.isolation.prepare)
                self._tenants = EnginePair(
                    self.root_profile.engines,
                    self.isolation.tenants_url(self._url),
                    starts_with=self.isolation.starts_with,
                    prepare=self._guard,
                )
            return self._tenants

    def _guard(self, engine: Engine) -> None:
        self.isolation.guard(engine)
        leave_nothing(engine)

    async def _as_admin(self, work: Callable[..., None], *args: Tenant) -> None:
        async with self._admin.execution_options(**BEGIN_IMMEDIATE).begin() as connection:
            await connection.run_sync(work, *args)
