"""The tenant store in a SQL database: SQLite, PostgreSQL or MariaDB."""

from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import replace
from typing import Any

from sqlalchemy import URL, RowMapping, Select, delete, insert, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from ..engines import open_engine
from ..errors import ConfigurationError, NamespaceExistsError, TenantExistsError
from ..migrations import upgrade_store_tables
from ..sqlite import BEGIN_IMMEDIATE, enter_wal
from ..tenant import Tenant, TenantStatus, plain
from ..urls import make_parent, parse_url, sqlite_file
from .base import RetainedNamespace, identifier_taken, namespace_taken, tenant_changed, tenant_gone
from .models import aware, domains, naive, tenants
from .sqlalchemy_domains import SQLAlchemyDomains

_listed = select(tenants).where(tenants.c.identifier.is_not(None))


class SQLAlchemyTenantStore(SQLAlchemyDomains):
    """A `TenantStore` in the table `tenancy_tenants`, and a `DomainStore` in `tenancy_domains`.

    Args:
        url: of the database.
        open_engine: opens it; within a `Tenancy` that is `tenancy.engines.open`, so that one budget of connections
            holds for all.
    """

    def __init__(self, url: str | URL, *, open_engine: Callable[[URL], AsyncEngine] = open_engine) -> None:
        self.url = url if isinstance(url, URL) else parse_url(url, "database_url")
        self._open_engine = open_engine
        self._engine: AsyncEngine | None = None

    async def open(self) -> None:
        file = sqlite_file(self.url)
        if file is not None:
            make_parent(file, "database_url")
        self._engine = self._open_engine(self.url)
        await enter_wal(self._engine)
        async with self._write() as connection:
            await connection.run_sync(upgrade_store_tables)

    async def close(self) -> None:
        if self._engine is not None:
            await self._engine.dispose()
            self._engine = None

    async def add(self, tenant: Tenant) -> None:
        try:
            async with self._write() as connection:
                await connection.execute(insert(tenants).values(_to_row(tenant)))
        except IntegrityError as error:
            raise await self._clash(tenant) from error

    async def get(self, tenant_id: str) -> Tenant | None:
        return await self._one(_listed.where(tenants.c.id == tenant_id))

    async def get_by_identifier(self, identifier: str) -> Tenant | None:
        return await self._one(_listed.where(tenants.c.identifier == identifier))

    async def page(self, limit: int, after: str | None = None, status: TenantStatus | None = None) -> Sequence[Tenant]:
        query = _listed.order_by(tenants.c.identifier).limit(limit)
        if after is not None:
            query = query.where(tenants.c.identifier > after)
        if status is not None:
            query = query.where(tenants.c.status == status.value)
        return [_to_tenant(row) for row in await self._rows(query)]

    async def save(self, tenant: Tenant) -> Tenant:
        saved = replace(tenant, version=tenant.version + 1)
        mine = (tenants.c.id == tenant.id) & (tenants.c.version == tenant.version)
        try:
            async with self._write() as connection:
                result = await connection.execute(update(tenants).where(mine).values(_to_row(saved)))
        except IntegrityError as error:
            raise await self._clash(tenant) from error
        if result.rowcount == 1:
            return saved
        if await self.get(tenant.id) is None:
            raise tenant_gone(tenant)
        raise tenant_changed(tenant)

    async def remove(self, tenant: Tenant, *, keep_namespace: bool) -> None:
        this = tenants.c.id == tenant.id
        retired = {"identifier": None, "former_identifier": tenant.identifier, "version": tenants.c.version + 1}
        async with self._write() as connection:
            if keep_namespace:
                await connection.execute(update(tenants).where(this, tenants.c.identifier.is_not(None)).values(retired))
                await connection.execute(delete(domains).where(domains.c.tenant_id == tenant.id))
            else:  # the domains go with it, by their foreign key
                await connection.execute(delete(tenants).where(this))

    async def retained(self) -> Sequence[RetainedNamespace]:
        kept = ("id", "former_identifier", "namespace", "database_url", "manager_type")
        query = select(*(tenants.c[name] for name in kept)).where(tenants.c.identifier.is_(None)).order_by(tenants.c.id)
        return [RetainedNamespace(*row.values()) for row in await self._rows(query)]

    def _connected(self) -> AsyncEngine:
        if self._engine is None:
            # Loud, as it mostly means that a test or a server did not run the lifespan.
            raise ConfigurationError(
                "the tenancy is not open; give FastAPI(lifespan=tenancy.lifespan), or write: async with tenancy"
            )
        return self._engine

    def _write(self) -> AbstractAsyncContextManager[AsyncConnection]:
        return self._connected().execution_options(**BEGIN_IMMEDIATE).begin()

    async def _rows(self, query: Select[Any]) -> Sequence[RowMapping]:
        async with self._connected().connect() as connection:
            rows: Sequence[RowMapping] = (await connection.execute(query)).mappings().all()
        return rows

    async def _one(self, query: Select[Any]) -> Tenant | None:
        rows = await self._rows(query)
        return _to_tenant(rows[0]) if rows else None

    async def _clash(self, tenant: Tenant) -> TenantExistsError | NamespaceExistsError:
        holder = await self.get_by_identifier(tenant.identifier)
        if holder is not None and holder.id != tenant.id:
            return identifier_taken(tenant)
        return namespace_taken()


def _to_row(tenant: Tenant) -> dict[str, Any]:
    return {
        "id": tenant.id,
        "identifier": tenant.identifier,
        "name": tenant.name,
        "status": tenant.status.value,
        "settings": plain(tenant.settings),
        "manager_type": tenant.manager_type,
        "database_url": tenant.database_url,
        "namespace": tenant.namespace,
        "version": tenant.version,
        "created_at": naive(tenant.created_at),
        "updated_at": naive(tenant.updated_at),
    }


def _to_tenant(row: RowMapping) -> Tenant:
    return Tenant(
        id=row["id"],
        identifier=row["identifier"],
        name=row["name"],
        status=TenantStatus(row["status"]),
        settings=row["settings"],
        manager_type=row["manager_type"],
        database_url=row["database_url"],
        namespace=row["namespace"],
        version=row["version"],
        created_at=aware(row["created_at"]),
        updated_at=aware(row["updated_at"]),
    )
