"""The `shared-profile` manager: one opened database for all tenants, who are kept apart inside it."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from sqlalchemy import delete
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from ..engines import (
    BEGIN_IMMEDIATE,
    connections_of,
    enter_wal,
    is_sqlite,
    make_parent,
    open_engine,
    parse_url,
    sqlite_file,
)
from ..errors import ConfigurationError
from ..tenant import Tenant
from .base import BaseMultitenantManager
from .isolation import RowIsolation, check_metadata, tenant_columns
from .profile import Profile, RootProfile


class SharedProfileMultitenantManager(BaseMultitenantManager):
    """Keeps all tenants' rows in the tables of `database_url`, told apart by their `tenant_id`.

    A tenant's profile is a view of the one engine, and costs next to nothing.
    """

    def __init__(self, root_profile: RootProfile) -> None:
        super().__init__(root_profile)
        self._url = parse_url(root_profile.settings.database_url, "database_url")
        if root_profile.settings.shared_isolation == "auto" and not is_sqlite(self._url):
            raise ConfigurationError(
                f'shared_isolation "auto" has no default for {self._url.get_backend_name()} yet; set it to "row"'
            )
        if is_sqlite(self._url) and sqlite_file(self._url) is None:
            raise ConfigurationError(
                "the shared-profile manager cannot keep tenants in a database_url in memory, which no two connections "
                "share; use a file, like sqlite+aiosqlite:///./data/tenancy.db"
            )
        check_metadata(root_profile.metadata)
        self._isolation = RowIsolation(root_profile.metadata)
        self._engine: AsyncEngine | None = None
        self._opening = asyncio.Lock()

    def namespace(self, tenant: Tenant) -> str:
        if tenant.database_url is not None:
            raise ConfigurationError(
                "the shared-profile manager keeps all tenants in one database; leave out the tenant's database_url, "
                'or set its manager_type to "basic"'
            )
        return f"row/{tenant.id}"

    async def open(self) -> None:
        await self._opened()

    async def create_tenant(self, tenant: Tenant) -> None:
        await self._opened()

    async def drop_tenant(self, tenant: Tenant) -> None:
        await self._opened()
        async with self._unguarded() as connection:
            for column in reversed(tenant_columns(self.root_profile.metadata)):
                await connection.execute(delete(column.table).where(column == tenant.id))

    async def open_profile(self, tenant: Tenant) -> Profile:
        engine = await self._opened()
        new_session = self._isolation.sessionmaker(engine, self.root_profile.session_class, tenant.id)
        return Profile(tenant, self.settings_of(tenant), new_session)

    async def aclose(self) -> None:
        await super().aclose()
        if self._engine is not None:
            await self._engine.dispose()
            self._engine = None

    def stats(self) -> dict[str, int]:
        return {**super().stats(), "connections": 0 if self._engine is None else connections_of(self._engine)}

    async def _opened(self) -> AsyncEngine:
        async with self._opening:
            if self._engine is None:
                file = sqlite_file(self._url)
                if file is not None:
                    make_parent(file, "database_url")
                async with self._unguarded() as connection:
                    await connection.run_sync(self.root_profile.metadata.create_all)
                self._engine = open_engine(self._url, **self.root_profile.pool)
                self._isolation.guard(self._engine)
            return self._engine

    @asynccontextmanager
    async def _unguarded(self) -> AsyncIterator[AsyncConnection]:
        """A transaction for what concerns all tenants or the tables themselves; never handed out."""
        engine = open_engine(self._url)
        try:
            await enter_wal(engine)
            async with engine.execution_options(**BEGIN_IMMEDIATE).begin() as connection:
                yield connection
        finally:
            await engine.dispose()
