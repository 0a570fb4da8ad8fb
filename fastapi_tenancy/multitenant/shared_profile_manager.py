"""The `shared-profile` manager: one opened database for all tenants, who are kept apart inside it."""

import asyncio
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from weakref import WeakValueDictionary

from sqlalchemy import delete
from sqlalchemy.ext.asyncio import AsyncEngine

from ..engines import BEGIN_IMMEDIATE, is_sqlite, make_parent, open_engine, parse_url, sqlite_file
from ..errors import ConfigurationError
from ..tenant import Tenant
from .base import BaseMultitenantManager
from .isolation import RowIsolation, check_metadata, tenant_tables
from .profile import Profile, RootProfile


class SharedProfileMultitenantManager(BaseMultitenantManager):
    """Keeps all tenants' rows in the tables of `database_url`, told apart by their `tenant_id`."""

    def __init__(self, root_profile: RootProfile) -> None:
        super().__init__(root_profile)
        self._url = parse_url(root_profile.settings.database_url, "database_url")
        if root_profile.settings.shared_isolation == "auto" and not is_sqlite(self._url):
            raise ConfigurationError(
                f'shared_isolation "auto" has no default for {self._url.get_backend_name()} yet; set it to "row"'
            )
        check_metadata(root_profile.metadata)
        self._isolation = RowIsolation(root_profile.metadata)
        self._engine: AsyncEngine | None = None
        self._opening = asyncio.Lock()
        # Requests of one tenant share its profile; an entry that the garbage collector takes is simply made again.
        self._profiles: WeakValueDictionary[str, Profile] = WeakValueDictionary()

    @property
    def open_profiles(self) -> Iterable[Profile]:
        return list(self._profiles.values())

    def namespace(self, tenant: Tenant) -> str:
        return f"row/{tenant.id}"

    async def open(self) -> None:
        await self._opened()

    async def create_tenant(self, tenant: Tenant) -> None:
        await self._opened()

    async def update_tenant(self, tenant: Tenant) -> None:
        self._profiles.pop(tenant.id, None)

    async def remove_tenant(self, tenant: Tenant, *, drop_data: bool) -> None:
        await self.update_tenant(tenant)
        if drop_data:
            await self._opened()
            engine = self._unguarded()
            try:
                async with engine.execution_options(**BEGIN_IMMEDIATE).begin() as connection:
                    for table in reversed(tenant_tables(self.root_profile.metadata)):
                        await connection.execute(delete(table).where(table.c.tenant_id == tenant.id))
            finally:
                await engine.dispose()

    @asynccontextmanager
    async def lease(self, tenant: Tenant) -> AsyncIterator[Profile]:
        profile = self._profiles.get(tenant.id)
        if profile is None or profile.tenant.version < tenant.version:
            self._check_recorded(tenant)
            new_session = self._isolation.sessionmaker(
                self._engine or await self._opened(), self.root_profile.session_class, tenant.id
            )
            profile = self._profiles[tenant.id] = Profile(tenant, self._settings_of(tenant), new_session)
        yield profile

    async def aclose(self) -> None:
        if self._engine is not None:
            await self._engine.dispose()
            self._engine = None

    def stats(self) -> dict[str, int]:
        return {"open": 0 if self._engine is None else 1}

    async def _opened(self) -> AsyncEngine:
        async with self._opening:
            if self._engine is None:
                file = sqlite_file(self._url) if is_sqlite(self._url) else None
                if file is not None:
                    make_parent(file, "database_url")
                await self._create_tables()
                settings = self.root_profile.settings
                self._engine = open_engine(
                    self._url,
                    pool_size=settings.pool_size,
                    max_overflow=settings.max_overflow,
                    pool_timeout=settings.pool_timeout,
                )
                self._isolation.guard(self._engine)
            return self._engine

    async def _create_tables(self) -> None:
        engine = self._unguarded()
        try:
            async with engine.execution_options(**BEGIN_IMMEDIATE).begin() as connection:
                await connection.run_sync(self.root_profile.metadata.create_all)
        finally:
            await engine.dispose()

    def _unguarded(self) -> AsyncEngine:
        """For what concerns all tenants or the tables themselves; never handed out."""
        return open_engine(self._url)
