"""The tenant store in a SQL database: SQLite, PostgreSQL or MariaDB."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, TypeVar

from sqlalchemy import URL, Connection, RowMapping, Select, bindparam, delete, insert, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncEngine

from ..engines import open_engine, open_sync_engine
from ..errors import ConfigurationError, NamespaceExistsError, TenantExistsError
from ..migrations import upgrade_store_tables
from ..sqlite import enter_wal
from ..tenant import Tenant, TenantStatus, plain
from ..urls import make_parent, parse_url, sqlite_file, synchronous
from .base import RetainedNamespace, identifier_taken, namespace_taken, tenant_changed, tenant_gone
from .models import aware, domains, naive, tenants, tokens
from .sqlalchemy_domains import SQLAlchemyDomains
from .sqlalchemy_tokens import SQLAlchemyTokens
from .transactions import InThreads, OnTheLoop, Transactions

T = TypeVar("T")

# Made once: to build a statement takes as long as to run it.
_ADD = insert(tenants)
_SAVE = update(tenants).where(tenants.c.id == bindparam("the_id"), tenants.c.version == bindparam("read_version"))
_listed = select(tenants).where(tenants.c.identifier.is_not(None))


class SQLAlchemyTenantStore(SQLAlchemyDomains, SQLAlchemyTokens):
    """A store of tenants, domains and tokens, in the tables `tenancy_tenants`, `tenancy_domains` and `tenancy_tokens`.

    Args:
        url: of the database.
        open_engine: opens it; within a `Tenancy` that is `tenancy.engines.open`, so that one budget of connections to a
            server holds for all.
    """

    def __init__(self, url: str | URL, *, open_engine: Callable[[URL], AsyncEngine] = open_engine) -> None:
        self.url = url if isinstance(url, URL) else parse_url(url, "database_url")
        self._open_engine = open_engine
        self._transactions: Transactions | None = None

    async def open(self) -> None:
        file = sqlite_file(self.url)
        if file is not None:
            make_parent(file, "database_url")
        engine = self._open_engine(self.url)
        self._transactions = OnTheLoop(engine)
        await enter_wal(engine)
        await self._write(upgrade_store_tables)
        if file is not None:
            await self.close()
            self._transactions = InThreads(open_sync_engine(synchronous(self.url), hide_parameters=True))

    async def close(self) -> None:
        transactions, self._transactions = self._transactions, None
        if transactions is not None:
            await transactions.close()

    async def add(self, tenant: Tenant) -> None:
        try:
            await self._write(lambda connection: connection.execute(_ADD, _to_row(tenant)))
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
        row = {**_to_row(saved), "the_id": tenant.id, "read_version": tenant.version}
        try:
            changed = await self._write(lambda connection: connection.execute(_SAVE, row).rowcount)
        except IntegrityError as error:
            raise await self._clash(tenant) from error
        if changed == 1:
            return saved
        if await self.get(tenant.id) is None:
            raise tenant_gone(tenant)
        raise tenant_changed(tenant)

    async def remove(self, tenant: Tenant, *, keep_namespace: bool) -> None:
        this = tenants.c.id == tenant.id
        retired = {"identifier": None, "former_identifier": tenant.identifier, "version": tenants.c.version + 1}

        def work(connection: Connection) -> None:
            if keep_namespace:
                connection.execute(update(tenants).where(this, tenants.c.identifier.is_not(None)).values(retired))
                for owned in (domains, tokens):
                    connection.execute(delete(owned).where(owned.c.tenant_id == tenant.id))
            else:  # its domains and tokens go with it, by their foreign keys
                connection.execute(delete(tenants).where(this))

        await self._write(work)

    async def retained(self) -> Sequence[RetainedNamespace]:
        kept = ("id", "former_identifier", "namespace", "database_url", "manager_type")
        query = select(*(tenants.c[name] for name in kept)).where(tenants.c.identifier.is_(None)).order_by(tenants.c.id)
        return [RetainedNamespace(*row.values()) for row in await self._rows(query)]

    def _connected(self) -> Transactions:
        if self._transactions is None:
            # Loud, as it mostly means that a test or a server did not run the lifespan.
            raise ConfigurationError(
                "the tenancy is not open; give FastAPI(lifespan=tenancy.lifespan), or write: async with tenancy"
            )
        return self._transactions

    async def _write(self, work: Callable[[Connection], T]) -> T:
        return await self._connected().write(work)

    async def _rows(self, query: Select[Any]) -> Sequence[RowMapping]:
        return await self._connected().read(lambda connection: connection.execute(query).mappings().all())

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
        "key_management_mode": tenant.key_management_mode,
        "key_record": tenant.key_record,
        "encrypted": tenant.encrypted,
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
        key_management_mode=row["key_management_mode"],
        key_record=row["key_record"],
        encrypted=row["encrypted"],
        namespace=row["namespace"],
        version=row["version"],
        created_at=aware(row["created_at"]),
        updated_at=aware(row["updated_at"]),
    )
