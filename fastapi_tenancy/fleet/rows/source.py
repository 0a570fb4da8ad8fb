"""A tenant's rows where they are: in which order they can be written again, what they are, and how to compare them."""

import json
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import sha256
from typing import Any, Self

from sqlalchemy import (
    ColumnElement,
    Connection,
    ForeignKeyConstraint,
    MetaData,
    Result,
    Table,
    event,
    func,
    inspect,
    literal,
    select,
    table,
    text,
)
from sqlalchemy.schema import sort_tables_and_constraints

from ...multitenant.isolation.policies import SETTING
from ...multitenant.isolation.scoped import is_shared, tenant_column
from ...multitenant.tables import TenantTables
from .columns import Column, columns_of, conversion

BATCH = 1000  # rows that are in memory at once

_MODULUS = 1 << 256

# How a transaction begins that sees one moment only, where SQLAlchemy's does not.
_SNAPSHOTS = {
    "sqlite": "BEGIN",
    "mysql": "START TRANSACTION WITH CONSISTENT SNAPSHOT, READ ONLY",
    "mariadb": "START TRANSACTION WITH CONSISTENT SNAPSHOT, READ ONLY",
}

# Of an extension, such as PostGIS' systems of coordinates.
_EXTENSIONS_TABLES = text(
    "SELECT relname FROM pg_class JOIN pg_depend ON objid = pg_class.oid "
    "WHERE classid = 'pg_class'::regclass AND deptype = 'e'"
)


@dataclass(frozen=True, slots=True)
class Digest:
    """What is the same for the same rows of a table, whatever their order.

    Attributes:
        rows: how many.
        sum: of their SHA-256, as numbers, modulo 2**256; in hexadecimal.
    """

    rows: int
    sum: str


class TenantRows:
    """The rows of one tenant, by a connection to where they are.

    Args:
        connection: of `TenantTables.connect`, in no transaction.
        metadata: the tenants' tables; those that all tenants share are left out.
        tenant_id: whose rows.
        rows_of: None where all rows are the tenant's.

    Attributes:
        tables: those that are the tenant's, each after those that it refers to as far as that is possible.
        cyclic: the foreign keys for which it is not; those from a table to itself are not among them.

    Raises:
        RowsError: a column has a type that is not known.
    """

    def __init__(self, connection: Connection, metadata: MetaData, tenant_id: str, rows_of: str | None) -> None:
        self.connection = connection
        self._being_read = set[Result[Any]]()
        self.tenant_id = tenant_id
        self.tenant_id = tenant_id
        self.rows_of = rows_of
        own = [table for table in metadata.tables.values() if not is_shared(table)]
        self._shared = {table.name for table in metadata.tables.values() if is_shared(table)}
        *ordered, (_, cyclic) = sort_tables_and_constraints(own)  # type: ignore[no-untyped-call] # half typed
        self.tables: Sequence[Table] = [table for table, _ in ordered if table is not None]
        self.cyclic: Sequence[ForeignKeyConstraint] = list(cyclic)
        self.columns: dict[Table, list[Column]] = {each: columns_of(each, connection.dialect) for each in self.tables}
        if connection.dialect.name == "postgresql":
            event.listen(connection, "begin", self._set_up)

    @classmethod
    @contextmanager
    def at(cls, place: TenantTables, metadata: MetaData, tenant_id: str) -> Iterator[Self]:
        """Those of a tenant at a place, for the length of a block; arguments and errors are as those of the class."""
        with place.connect() as connection:
            rows = cls(connection, metadata, tenant_id, place.rows_of)
            try:
                yield rows
            finally:
                for result in rows._being_read:  # whoever read them has failed
                    result.close()

    def begin_snapshot(self) -> None:
        """Begin a transaction that sees one moment, and writes nothing."""
        for_postgresql = {"postgresql_readonly": True} if self.connection.dialect.name == "postgresql" else {}
        if self.connection.dialect.name != "sqlite":
            self.connection.execution_options(isolation_level="REPEATABLE READ", **for_postgresql)
        if begin := _SNAPSHOTS.get(self.connection.dialect.name):
            self.connection.exec_driver_sql(begin)

    def count(self, table: Table) -> int:
        found: int = self.connection.scalar(select(func.count()).select_from(table).where(*self.whose(table))) or 0
        return found

    def read(self, table: Table, skip: int = 0) -> Iterator[list[Any]]:
        """The rows in the order of their keys, each as the values of `columns`, a few at a time."""
        columns = self.columns[table]
        query = select(*(each.read for each in columns)).where(*self.whose(table)).order_by(*table.primary_key.columns)
        if skip:
            query = query.offset(skip)
        loaded = conversion(each.load for each in columns)
        with self.connection.execute(query, execution_options={"yield_per": BATCH}) as result:
            self._being_read.add(result)
            for row in result:
                yield loaded(row)
        self._being_read.discard(result)

    def digest(self, table: Table) -> Digest:
        return digest_of(self.read(table), self.columns[table])

    def unknown_tables(self) -> list[str]:
        """Tables beside the tenant's own that `metadata` does not know, and whose rows would be left behind."""
        if self.rows_of is not None:
            return []
        known = {*self._shared, *(table.name for table in self.tables), "alembic_version"}
        if self.connection.dialect.name == "postgresql":
            known.update(self.connection.scalars(_EXTENSIONS_TABLES))
        found = set(inspect(self.connection).get_table_names()) - known
        others = sorted(name for name in found if not name.startswith(("tenancy_", "sqlite_")))
        return [name for name in others if self.connection.scalar(select(literal(1)).select_from(table(name)).limit(1))]

    def whose(self, table: Table) -> list[ColumnElement[bool]]:
        """What narrows a statement on one of the tables to the tenant's rows."""
        column = tenant_column(table)
        return [] if self.rows_of is None or column is None else [column == self.rows_of]

    def _set_up(self, connection: Connection) -> None:
        connection.execute(select(func.set_config("intervalstyle", "iso_8601", True)))
        if self.rows_of is not None:  # row-level security shows nothing otherwise
            connection.execute(select(func.set_config(SETTING, self.rows_of, True)))


def digest_of(rows: Iterable[Sequence[Any]], columns: Sequence[Column]) -> Digest:
    canonical = conversion(each.kind.canonical for each in columns)
    dumps = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), sort_keys=True).encode
    count = total = 0
    for row in rows:
        line = dumps(canonical(row))
        total += int.from_bytes(sha256(line.encode()).digest())
        count += 1
    return Digest(count, f"{total % _MODULUS:064x}")
