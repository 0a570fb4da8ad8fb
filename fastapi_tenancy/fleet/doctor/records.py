"""Read what the store has recorded, also where its tables are those of another version of the library."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Connection, Table, func, inspect, select
from sqlalchemy.ext.asyncio import AsyncConnection

from ...store import TenantStore
from ...store.models import aware, migrations, moves, pending, tenants, tokens
from ...store.sealed import SealedRows
from ...tenant import Tenant, TenantStatus

_READ = (tenants, pending, moves)

# Of each tenant, the last attempt.
_LAST = (
    select(migrations.c.tenant_id, migrations.c.error)
    .where(migrations.c.id.in_(select(func.max(migrations.c.id)).group_by(migrations.c.tenant_id)))
    .order_by(migrations.c.id)
)

# What a column holds in tables that are older than it.
_BEFORE: Mapping[str, Any] = {"key_management_mode": "managed", "encrypted": False}

_PAGE = 1000  # tenants that are read at once from a store of another kind


@dataclass(frozen=True, slots=True)
class Records:
    """What the store knows at one moment.

    Attributes:
        tenants: all that have an identifier.
        retained: the ids, former identifiers and namespaces of those that were deleted without their data.
        rows: of the tenants' table, as they are stored; none where the store is no SQL database.
        pending: the rows of tenants that wait for a name.
        moves: those of tenants that are on their way, or whose source is still kept.
        errors: by tenant's id, why the last attempt to migrate it failed.
        has_tokens: whether any tenant has one.
    """

    tenants: Sequence[Tenant]
    retained: Sequence[tuple[str, str, str | None]]
    rows: Sequence[Mapping[str, Any]] = ()
    pending: Sequence[Mapping[str, Any]] = ()
    moves: Sequence[Mapping[str, Any]] = ()
    errors: Mapping[str, str] = field(default_factory=dict)
    has_tokens: bool = False
    by_id: Mapping[str, Tenant] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "by_id", {tenant.id: tenant for tenant in self.tenants})

    @property
    def namespaces(self) -> set[str]:
        """All that belong to somebody."""
        of_tenants = (tenant.namespace for tenant in self.tenants)
        others = (row["namespace"] for row in (*self.pending, *self.moves))
        return {name for name in (*of_tenants, *others, *(kept[2] for kept in self.retained)) if name}

    @property
    def ids(self) -> set[str]:
        """Of all who may have rows in shared tables."""
        return {*self.by_id, *(kept[0] for kept in self.retained), *(row["id"] for row in self.pending)}

    def name_of(self, tenant_id: str) -> str | None:
        tenant = self.by_id.get(tenant_id)
        return None if tenant is None else tenant.identifier


async def read_tables(connection: AsyncConnection, sealed: SealedRows) -> Records:
    """What the tables `tenancy_*` hold."""
    rows = await connection.run_sync(_rows)
    listed = [sealed.listed(row) for row in rows["tenancy_tenants"]]  # type: ignore[arg-type]  # any mapping will do
    return Records(
        [_to_tenant(row) for row in listed if row["identifier"] is not None],
        [(row["id"], row["former_identifier"], row["namespace"]) for row in listed if row["identifier"] is None],
        rows["tenancy_tenants"],
        rows["tenancy_pending"],
        rows["tenancy_moves"],
        {row["tenant_id"]: row["error"] for row in rows["tenancy_migrations"] if row["error"]},
        bool(rows["tenancy_tokens"]),
    )


async def read_store(store: TenantStore) -> Records:
    """What a store of another kind tells; raises what it raises."""
    found: list[Tenant] = []
    after = None
    while page := await store.page(_PAGE, after):
        found += page
        after = page[-1].identifier
    return Records(found, [(kept.id, kept.identifier, kept.namespace) for kept in await store.retained()])


def _rows(connection: Connection) -> dict[str, Sequence[Mapping[str, Any]]]:
    there = set(inspect(connection).get_table_names())
    rows = {table.name: _rows_of(connection, table, there) for table in _READ}
    for table, query in ((migrations, _LAST), (tokens, select(tokens.c.token_id).limit(1))):
        found = connection.execute(query).mappings() if table.name in there else ()
        rows[table.name] = [dict(row) for row in found]
    return rows


def _rows_of(connection: Connection, table: Table, there: set[str]) -> Sequence[Mapping[str, Any]]:
    if table.name not in there:
        return ()
    names = {column["name"] for column in inspect(connection).get_columns(table.name)}
    found = [column for column in table.columns if column.name in names]
    if not found:
        return ()
    absent = {column.name: _BEFORE.get(column.name) for column in table.columns if column.name not in names}
    query = select(*found).order_by(*(column for column in table.primary_key if column.name in names))
    return [{**absent, **row} for row in connection.execute(query).mappings()]


def _to_tenant(row: Mapping[str, Any]) -> Tenant:
    until = row["work_until"]
    names = ("id", "identifier", "name", "settings", "manager_type", "database_url", "key_management_mode")
    more = ("key_record", "encrypted", "namespace", "revision", "work", "version")
    return Tenant(
        **{name: row[name] for name in (*names, *more)},
        status=TenantStatus(row["status"]),
        work_until=None if until is None else aware(until),
        created_at=aware(row["created_at"]),
        updated_at=aware(row["updated_at"]),
    )
