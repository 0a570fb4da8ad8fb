"""The tenant store in a SQL database: SQLite, PostgreSQL or MariaDB."""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from typing import Any, TypeVar

from sqlalchemy import URL, Connection, RowMapping, Select, bindparam, delete, insert, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncEngine

from ..audit import AuditEntry
from ..bus import Change
from ..engines import open_engine, open_sync_engine
from ..errors import ConfigurationError, NamespaceExistsError, TenantExistsError
from ..migrations.store_tables import HEAD, store_revision, upgrade_store_tables
from ..sealing import Sealer
from ..sqlite import enter_wal
from ..tenant import Tenant, TenantStatus, plain
from ..urls import is_sqlite, make_parent, parse_url, sqlite_file, synchronous
from .base import (
    RetainedNamespace,
    folded,
    identifier_taken,
    namespace_taken,
    searched,
    tenant_changed,
    tenant_gone,
)
from .models import aware, domains, naive, tenants, tokens
from .models import store as this_store
from .sealed import SealedRows
from .sqlalchemy_audit import SQLAlchemyAudit, write_entries
from .sqlalchemy_changes import SQLAlchemyChanges
from .sqlalchemy_domains import SQLAlchemyDomains
from .sqlalchemy_fleet import SQLAlchemyFleet
from .sqlalchemy_idempotency import SQLAlchemyIdempotency
from .sqlalchemy_moves import SQLAlchemyMoves
from .sqlalchemy_pending import SQLAlchemyPending
from .sqlalchemy_sealing import SQLAlchemySealing
from .sqlalchemy_tokens import SQLAlchemyTokens
from .transactions import InThreads, OnTheLoop, Transactions

T = TypeVar("T")

# Made once: to build a statement takes as long as to run it.
_ADD = insert(tenants)
_SAVE = update(tenants).where(tenants.c.id == bindparam("the_id"), tenants.c.version == bindparam("read_version"))
_listed = select(tenants).where(tenants.c.identifier.is_not(None))


class SQLAlchemyTenantStore(
    SQLAlchemyChanges,  # first: the others call what it does
    SQLAlchemyDomains,
    SQLAlchemyTokens,
    SQLAlchemyAudit,
    SQLAlchemySealing,
    SQLAlchemyIdempotency,
    SQLAlchemyPending,
    SQLAlchemyFleet,
    SQLAlchemyMoves,
):
    """A store of tenants, domains, tokens and the audit trail, in tables whose names begin with `tenancy_`.

    Args:
        url: of the database.
        open_engine: opens it; within a `Tenancy` that is `tenancy.engines.open`, so that one budget of connections to a
            server holds for all.
        sealer: seals the tenants' database URLs and their secret settings; None stores them in plain.
        secret_settings: the names of those settings.

    Raises:
        ConfigurationError: `url` cannot work, or there are `secret_settings` and no `sealer`.
    """

    def __init__(
        self,
        url: str | URL,
        *,
        open_engine: Callable[[URL], AsyncEngine] = open_engine,
        sealer: Sealer | None = None,
        secret_settings: Collection[str] = (),
    ) -> None:
        self.url = url if isinstance(url, URL) else parse_url(url, "database_url")
        self._sealed = SealedRows(sealer, secret_settings)
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
        self.store_id = (await self._rows(select(this_store)))[0]["id"]

    async def close(self) -> None:
        transactions, self._transactions = self._transactions, None
        if transactions is not None:
            await transactions.close()

    async def add(self, tenant: Tenant) -> None:
        row = self._row(tenant)

        def work(connection: Connection) -> None:
            connection.execute(_ADD, row)
            self._tell(connection, Change.of_tenant(tenant.id, tenant.identifier))

        try:
            await self._write(work)
        except IntegrityError as error:
            raise await self._clash(tenant) from error

    async def is_current(self) -> bool:
        return await self._read(store_revision) >= HEAD  # beyond it, a newer release is being rolled out

    async def get(self, tenant_id: str) -> Tenant | None:
        return await self._one(_listed.where(tenants.c.id == tenant_id))

    async def get_by_identifier(self, identifier: str) -> Tenant | None:
        return await self._one(_listed.where(tenants.c.identifier == identifier))

    async def page(
        self, limit: int, after: str | None = None, status: TenantStatus | None = None, q: str | None = None
    ) -> Sequence[Tenant]:
        # A search in SQLite goes by no index: in its order the table would be read here and there, ten times as slowly.
        name = tenants.c.identifier + "" if q is not None and is_sqlite(self.url) else tenants.c.identifier
        query = _listed.order_by(name).limit(limit)
        if after is not None:
            query = query.where(name > after)
        if status is not None:
            query = query.where(tenants.c.status == status.value)
        if q is not None:
            query = query.where(tenants.c.searched.contains(folded(q), autoescape=True))
        return await self._tenants(query)

    async def save(self, tenant: Tenant, *, audit: Sequence[AuditEntry] = ()) -> Tenant:
        saved = replace(tenant, version=tenant.version + 1)
        row = {**self._row(saved), "the_id": tenant.id, "read_version": tenant.version}

        def work(connection: Connection) -> int:
            changed = connection.execute(_SAVE, row).rowcount
            if changed == 1:
                write_entries(connection, audit)
                self._tell(connection, Change.of_tenant(tenant.id, tenant.identifier))
            return changed

        try:
            changed = await self._write(work)
        except IntegrityError as error:
            raise await self._clash(tenant) from error
        if changed == 1:
            return saved
        if await self.get(tenant.id) is None:
            raise tenant_gone(tenant)
        raise tenant_changed(tenant)

    async def remove(self, tenant: Tenant, *, keep_namespace: bool, audit: Sequence[AuditEntry] = ()) -> bool:
        this = tenants.c.id == tenant.id
        retired = {"identifier": None, "former_identifier": tenant.identifier, "version": tenants.c.version + 1}

        listed = this & tenants.c.identifier.is_not(None)

        def work(connection: Connection) -> bool:
            if keep_namespace:
                removed = connection.execute(update(tenants).where(listed).values(retired)).rowcount
                for owned in (domains, tokens):
                    connection.execute(delete(owned).where(owned.c.tenant_id == tenant.id))
            else:  # its domains and tokens go with it, by their foreign keys
                removed = connection.execute(delete(tenants).where(this)).rowcount
            if removed == 1:
                write_entries(connection, audit)
                self._tell(connection, Change.of_tenant(tenant.id, tenant.identifier))
            return removed == 1

        return await self._write(work)

    async def retained(self) -> Sequence[RetainedNamespace]:
        kept = ("id", "former_identifier", "namespace", "database_url", "manager_type")
        query = select(*(tenants.c[name] for name in kept)).where(tenants.c.identifier.is_(None)).order_by(tenants.c.id)
        return [RetainedNamespace(*self._sealed.listed(row).values()) for row in await self._rows(query)]

    def _connected(self) -> Transactions:
        if self._transactions is None:
            # Loud, as it mostly means that a test or a server did not run the lifespan.
            raise ConfigurationError(
                "the tenancy is not open; give FastAPI(lifespan=tenancy.lifespan), or write: async with tenancy"
            )
        return self._transactions

    async def _write(self, work: Callable[[Connection], T]) -> T:
        return await self._connected().write(work)

    async def _read(self, work: Callable[[Connection], T]) -> T:
        return await self._connected().read(work)

    async def _has_changed(self) -> bool:
        return await self._connected().has_changed()

    async def _rows(self, query: Select[Any]) -> Sequence[RowMapping]:
        return await self._read(lambda connection: connection.execute(query).mappings().all())

    async def _tenants(self, query: Select[Any]) -> Sequence[Tenant]:
        return [_to_tenant(self._sealed.listed(row)) for row in await self._rows(query)]

    async def _one(self, query: Select[Any]) -> Tenant | None:
        rows = await self._rows(query)
        return _to_tenant(self._sealed.opened(rows[0])) if rows else None

    def _row(self, tenant: Tenant) -> dict[str, Any]:
        return {**_to_row(tenant), **self._sealed.closed(tenant)}

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
        "searched": searched(tenant),
        "status": tenant.status.value,
        "settings": plain(tenant.settings),
        "manager_type": tenant.manager_type,
        "database_url": tenant.database_url,
        "key_management_mode": tenant.key_management_mode,
        "key_record": tenant.key_record,
        "encrypted": tenant.encrypted,
        "namespace": tenant.namespace,
        "revision": tenant.revision,
        "version": tenant.version,
        "created_at": naive(tenant.created_at),
        "updated_at": naive(tenant.updated_at),
    }


def _to_tenant(row: Mapping[str, Any]) -> Tenant:
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
        revision=row["revision"],
        work=row["work"],
        work_until=None if row["work_until"] is None else aware(row["work_until"]),
        version=row["version"],
        created_at=aware(row["created_at"]),
        updated_at=aware(row["updated_at"]),
    )
