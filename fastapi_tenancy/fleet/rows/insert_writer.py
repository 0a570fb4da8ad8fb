"""Write rows into SQLite, MariaDB and MySQL."""

from collections.abc import Mapping
from typing import ClassVar

from sqlalchemy import Column, ForeignKeyConstraint, MetaData, String, Table, and_, insert, literal, select

from ...multitenant.isolation.scoped import is_shared
from .problems import RowsError
from .source import BATCH
from .target import ReadRows, Rows, RowWriter, in_batches


class InsertWriter(RowWriter):
    """By INSERT, a transaction for each thousand rows, so that others need not wait for the whole.

    References are checked when all is there. As nobody else writes here, what was written before a kill are the first
    rows by their keys.

    Attributes:
        checks_off: the statement after which the connection checks no references.
        sees_shared: whether the tables that all tenants share are in the same database.
    """

    checks_off: ClassVar[str]
    sees_shared: ClassVar[bool] = False

    def _write(self, read: ReadRows, counts: Mapping[Table, int]) -> None:
        self.connection.exec_driver_sql(self.checks_off)
        for table, number in counts.items():
            there = self.target.count(table)
            if there and not table.primary_key.columns:  # it has no order
                self._empty(table)
                there = 0
            if there < number:
                self._insert(table, read(table, there))
        for table in counts:
            for constraint in table.foreign_key_constraints:
                self._check(table, constraint)
        self.connection.rollback()

    def _insert(self, table: Table, rows: Rows) -> None:
        names = self._names(table)
        types = {column.name: column.type for column in self.target.columns[table]}
        plain = Table(table.name, MetaData(), *(Column(name, types.get(name, String())) for name in names))
        for batch in in_batches(self._with_tenant(table, rows), BATCH):
            self.connection.execute(insert(plain), [dict(zip(names, row, strict=True)) for row in batch])
            self.connection.commit()

    def _check(self, table: Table, constraint: ForeignKeyConstraint) -> None:
        referred = constraint.referred_table
        if is_shared(referred) and not self.sees_shared:
            return
        parent = referred.alias()
        pairs = [(each.parent, parent.c[each.column.key]) for each in constraint.elements]
        joined = table.outerjoin(parent, and_(*(child == other for child, other in pairs)))
        orphans = (
            select(literal(1))
            .select_from(joined)
            .where(pairs[0][1].is_(None), *(child.is_not(None) for child, _ in pairs), *self.target.whose(table))
        )
        if self.connection.scalar(orphans.limit(1)) is not None:
            raise RowsError(
                f"rows of {table.name} refer to rows of {referred.name} that are not there; add those first"
            )


class SQLiteWriter(InsertWriter):
    checks_off = "PRAGMA foreign_keys=OFF"
    sees_shared = True


class MySQLWriter(InsertWriter):
    # Without the second, a key of 0 would be given another number.
    checks_off = "SET SESSION foreign_key_checks=0, sql_mode=CONCAT(@@sql_mode, ',NO_AUTO_VALUE_ON_ZERO')"
