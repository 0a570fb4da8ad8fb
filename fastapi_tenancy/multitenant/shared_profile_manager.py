"""The `shared-profile` manager: one opened database for all tenants, who are kept apart inside it."""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from types import MappingProxyType

from pydantic import SecretBytes
from sqlalchemy import Engine

from ..engines import connections_of
from ..errors import ConfigurationError
from ..sqlite import BEGIN_IMMEDIATE, enter_wal
from ..tenant import Tenant
from ..urls import is_sqlite, make_parent, parse_url, sqlite_file, synchronous
from .base import BaseMultitenantManager
from .engine_pair import EnginePair
from .hygiene import leave_nothing
from .isolation import Isolation, RLSIsolation, RowIsolation, SchemaIsolation
from .profile import Profile, RootProfile, Threads
from .tables import TenantTables

ISOLATIONS: Mapping[str, type[Isolation]] = MappingProxyType(
    {isolation.name: isolation for isolation in (SchemaIsolation, RLSIsolation, RowIsolation)}
)


class SharedProfileMultitenantManager(BaseMultitenantManager):
    """Keeps all tenants in `database_url`, each in a schema of its own, or their rows in the same tables.

    A tenant's profile is a view of an engine that it shares with others, and costs next to nothing. A tenant stays
    under the isolation that it was created or moved under, which its namespace tells; `shared_isolation` is for new
    ones.
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
        self._admin = root_profile.engines.open(self._url)  # for what concerns all tenants; never handed out
        self._opened: dict[str, _Opened] = {}
        self._default = name
        self._isolation(name)  # one that cannot work is refused now

    def namespace(self, tenant: Tenant) -> str:
        if tenant.database_url is not None:
            raise ConfigurationError(
                "the shared-profile manager keeps all tenants in one database; leave out the tenant's database_url, "
                'or set its manager_type to "basic"'
            )
        return self._of(tenant).isolation.place(tenant)

    async def open(self) -> None:
        await self._engines(self._isolation(self._default))

    async def create_tenant(self, tenant: Tenant) -> None:
        opened = self._of(tenant)
        await self._engines(opened)
        if opened.isolation.separates:
            await self._as_admin(opened.isolation.create, tenant)

    async def drop_tenant(self, tenant: Tenant) -> None:
        opened = self._of(tenant)
        await self._engines(opened)
        await self._as_admin(opened.isolation.drop, tenant)

    async def open_profile(self, tenant: Tenant) -> Profile:
        opened = self._of(tenant)
        isolation, engines = opened.isolation, await self._engines(opened)
        if isolation.separates:
            await self._as_admin(isolation.check, tenant)
        sessionmaker = partial(
            isolation.sessionmaker, session_class=self.root_profile.session_class, tenant_id=tenant.id
        )
        return Profile(
            tenant, self.settings_of(tenant), sessionmaker(engines.engine), threads=Threads(engines, sessionmaker)
        )

    async def tables(self, tenant: Tenant, key: SecretBytes | None = None) -> TenantTables:
        return self._of(tenant).isolation.tables(synchronous(self._url), tenant)

    async def aclose(self) -> None:
        await super().aclose()
        for opened in self._opened.values():
            engines, opened.engines = opened.engines, None
            if engines is not None:
                await engines.dispose()
        await self._admin.dispose()

    def stats(self) -> dict[str, int]:
        tenants = sum(opened.engines.connections() for opened in self._opened.values() if opened.engines is not None)
        return {**super().stats(), "connections": tenants + connections_of(self._admin)}

    def _of(self, tenant: Tenant) -> "_Opened":
        name = (tenant.namespace or "").partition("/")[0]
        return self._isolation(name if name in ISOLATIONS else self._default)

    def _isolation(self, name: str) -> "_Opened":
        if name not in self._opened:
            root = self.root_profile
            self._opened[name] = _Opened(ISOLATIONS[name](root.metadata, self._url, root.settings))
        return self._opened[name]

    async def _engines(self, opened: "_Opened") -> EnginePair:
        async with opened.opening:
            if opened.engines is None:
                file = sqlite_file(self._url)
                if file is not None:
                    make_parent(file, "database_url")
                await enter_wal(self._admin)
                await self._as_admin(opened.isolation.prepare)
                opened.engines = EnginePair(
                    self.root_profile.engines,
                    opened.isolation.tenants_url(self._url),
                    starts_with=opened.isolation.starts_with,
                    prepare=partial(_guard, opened.isolation),
                )
            return opened.engines

    async def _as_admin(self, work: Callable[..., None], *args: Tenant) -> None:
        async with self._admin.execution_options(**BEGIN_IMMEDIATE).begin() as connection:
            await connection.run_sync(work, *args)


@dataclass(slots=True)
class _Opened:
    """An isolation, and the engines of the tenants under it once the first of them was asked for."""

    isolation: Isolation
    engines: EnginePair | None = None
    opening: asyncio.Lock = field(default_factory=asyncio.Lock)


def _guard(isolation: Isolation, engine: Engine) -> None:
    isolation.guard(engine)
    leave_nothing(engine)
