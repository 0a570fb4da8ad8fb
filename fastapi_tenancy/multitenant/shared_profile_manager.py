"""The `shared-profile` manager: one opened database for all tenants, who are kept apart inside it."""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from types import MappingProxyType

from pydantic import SecretBytes
from sqlalchemy import Dialect, Engine, inspect

from ..engines import connections_of
from ..errors import ConfigurationError
from ..migrations import MigrationScripts, exclusively, revision_of
from ..sqlite import BEGIN_IMMEDIATE, enter_wal
from ..tenant import Tenant
from ..urls import is_sqlite, make_parent, parse_url, sqlite_file, synchronous
from .base import BaseMultitenantManager
from .databases import uninterrupted
from .engine_pair import EnginePair
from .hygiene import leave_nothing
from .isolation import Isolation, RLSIsolation, RowIsolation, SchemaIsolation
from .isolation.base import Made
from .profile import Profile, RootProfile, Threads
from .recipe import Recipe
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
        place = self._url.render_as_string(hide_password=True)
        self._made: tuple[str, Made | None] | None = None
        self._recipe = Recipe(root_profile, self._url.get_dialect()(), name, place, settings.extensions_schema)

    def namespace(self, tenant: Tenant) -> str:
        if tenant.database_url is not None:
            raise ConfigurationError(
                "the shared-profile manager keeps all tenants in one database; leave out the tenant's database_url, "
                'or set its manager_type to "basic"'
            )
        return self._of(tenant).isolation.place(tenant)

    def recipe(self) -> str | None:
        return self._recipe.digest() if ISOLATIONS[self._default].separates else None

    async def open(self) -> None:
        await self._engines(self._isolation(self._default))

    async def create_tenant(self, tenant: Tenant) -> None:
        opened = self._of(tenant)
        await self._engines(opened)
        if opened.isolation.separates and self.root_profile.scripts is not None and self.root_profile.head is not None:
            await self._create_by(self.root_profile.scripts, self.root_profile.head, opened.isolation, tenant)
        elif opened.isolation.separates:
            await self._as_admin(opened.isolation.create, tenant)

    async def _create_by(self, scripts: MigrationScripts, head: str, isolation: Isolation, tenant: Tenant) -> None:
        if self._made is None or self._made[0] != head:
            self._made = head, await asyncio.to_thread(_made_by, scripts, head, self._admin.dialect)
        made = self._made[1]
        if made is not None:
            await self._as_admin(partial(isolation.create, made=made), tenant)
        else:
            url = synchronous(self._url)
            await uninterrupted(asyncio.to_thread(isolation.create_by, url, tenant, scripts.upgrade))

    async def migrated(self, tenant: Tenant) -> None:
        await self._as_admin(partial(self._of(tenant).isolation.prepare, create=False))

    async def revision(self, tenant: Tenant) -> str | None:
        opened = self._of(tenant)
        if opened.isolation.separates or self.root_profile.head is None:
            return self.root_profile.head
        await self._engines(opened)
        async with self._admin.connect() as connection:
            return await connection.run_sync(revision_of)

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
                scripts = self.root_profile.scripts
                if scripts is not None and scripts.head is not None and not opened.isolation.separates:
                    await asyncio.to_thread(self._fill_if_empty, scripts)
                await self._as_admin(partial(opened.isolation.prepare, create=self.root_profile.head is None))
                opened.engines = EnginePair(
                    self.root_profile.engines,
                    opened.isolation.tenants_url(self._url),
                    starts_with=opened.isolation.starts_with,
                    prepare=partial(_guard, opened.isolation),
                )
            return opened.engines

    def _fill_if_empty(self, scripts: MigrationScripts) -> None:
        """Bring a database without tables to the newest revision; what has tables is left to `Tenancy.migrate`."""
        names = {table.name for table in self.root_profile.metadata.tables.values()} | {"alembic_version"}
        with TenantTables(synchronous(self._url)).connect() as connection:
            connection.execution_options(**BEGIN_IMMEDIATE)
            with connection.begin(), exclusively(connection):
                if names.isdisjoint(inspect(connection).get_table_names()):
                    scripts.upgrade(connection)

    async def _as_admin(self, work: Callable[..., None], *args: Tenant) -> None:
        async with self._admin.execution_options(**BEGIN_IMMEDIATE).begin() as connection:
            await connection.run_sync(work, *args)


@dataclass(slots=True)
class _Opened:
    """An isolation, and the engines of the tenants under it once the first of them was asked for."""

    isolation: Isolation
    engines: EnginePair | None = None
    opening: asyncio.Lock = field(default_factory=asyncio.Lock)


def _made_by(scripts: MigrationScripts, head: str, dialect: Dialect) -> Made | None:
    """What makes a tenant's tables in one transaction; None where that cannot be."""
    statements = scripts.sql(dialect) if dialect.name == "postgresql" else None
    return None if statements is None else Made(head, statements)


def _guard(isolation: Isolation, engine: Engine) -> None:
    isolation.guard(engine)
    leave_nothing(engine)
