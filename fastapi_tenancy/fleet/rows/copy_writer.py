"""Write rows into PostgreSQL."""

# ruff: noqa: S608 - what is put into statements are names, quoted by SQLAlchemy

from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Table

from .target import ReadRows, Rows, RowWriter, no_block

_STAGE = "tenancy_copy"


class CopyWriter(RowWriter):
    """By COPY: each table in one statement, at whose end its references are checked, also those to its own rows."""

    def _write(self, read: ReadRows, counts: Mapping[Table, int]) -> None:
        late = self._late()
        # Where tables refer to each other, or the server alone sees which keys others have: all or nothing.
        at_once = bool(self.target.cyclic) or self.target.rows_of is not None
        with self.connection.begin() if at_once else no_block():
            for table, number in counts.items():
                with no_block() if at_once else self.connection.begin():
                    self.connection.exec_driver_sql("SET CONSTRAINTS ALL DEFERRED")
                    self._write_table(table, number, read, late.get(table, ()))
            for table, names in late.items():
                self._complete(table, names, read(table, 0))

    def _write_table(self, table: Table, number: int, read: ReadRows, late: Collection[str]) -> None:
        there = self.target.count(table)
        if there != number:
            if there:
                self._empty(table)
            names, rows = self._names(table), self._with_tenant(table, read(table, 0))
            self._insert(table, names, _without(late, names, rows) if late else rows)
        self._move_sequences(table)

    def _insert(self, table: Table, names: Sequence[str], rows: Rows) -> None:
        if self.target.rows_of is None:
            return self._copy(self._quoted(table), names, rows)
        listed = self._listed(names)
        with self._staged(table, names, rows):  # as row-level security takes no COPY
            self.connection.exec_driver_sql(
                f"INSERT INTO {self._quoted(table)} ({listed}) OVERRIDING SYSTEM VALUE SELECT {listed} FROM {_STAGE}"
            )
        return None

    def _complete(self, table: Table, late: Collection[str], rows: Rows) -> None:
        """Write what could not be written before the rows that it refers to."""
        names, quote = self._names(table), self.connection.dialect.identifier_preparer.quote
        given = ", ".join(f"{quote(name)} = given.{quote(name)}" for name in late)
        keys = (quote(column.name) for column in table.primary_key.columns)
        same = " AND ".join(f"this.{key} = given.{key}" for key in keys)
        with self._staged(table, names, self._with_tenant(table, rows)):
            self.connection.exec_driver_sql(
                f"UPDATE {self._quoted(table)} AS this SET {given} FROM {_STAGE} AS given WHERE {same}"
            )

    @contextmanager
    def _staged(self, table: Table, names: Sequence[str], rows: Rows) -> Iterator[None]:
        self.connection.exec_driver_sql(
            f"CREATE TEMP TABLE {_STAGE} AS SELECT {self._listed(names)} FROM {self._quoted(table)} WITH NO DATA"
        )
        self._copy(_STAGE, names, rows)
        yield
        self.connection.exec_driver_sql(f"DROP TABLE {_STAGE}")

    def _copy(self, table: str, names: Sequence[str], rows: Rows) -> None:
        driver: Any = self.connection.connection.driver_connection
        with driver.cursor() as cursor, cursor.copy(f"COPY {table} ({self._listed(names)}) FROM STDIN") as copy:
            for row in rows:
                copy.write_row(row)

    def _move_sequences(self, table: Table) -> None:
        """Have them go on after the greatest number that is there."""
        for column in table.columns:
            name = self._sequence_of(column)
            if name is not None:
                greatest = f"SELECT max({self._listed([column.name])}) AS greatest FROM {self._quoted(table)}"
                literal = name.replace("'", "''")
                self.connection.exec_driver_sql(
                    f"SELECT setval('{literal}', greatest) FROM ({greatest}) found, {name} WHERE greatest >= last_value"
                )

    def _sequence_of(self, column: sa.Column[Any]) -> str | None:
        """The quoted name of what numbers the rows by that column."""
        if isinstance(column.default, sa.Sequence):
            return self.connection.dialect.identifier_preparer.format_sequence(column.default)
        if not isinstance(column.type, sa.Integer):
            return None
        owned = sa.func.pg_get_serial_sequence(self._quoted(column.table), column.name)
        name: str | None = self.connection.scalar(sa.select(owned))
        return name

    def _late(self) -> dict[Table, list[str]]:
        """The columns that refer to rows of tables that come later, and can be NULL until then."""
        late: dict[Table, list[str]] = {}
        for constraint in self.target.cyclic:
            names = [column.name for column in constraint.columns if column.nullable and not constraint.deferrable]
            if names:
                late.setdefault(constraint.table, []).extend(names)
        return late

    def _quoted(self, table: Any) -> str:
        return self.connection.dialect.identifier_preparer.format_table(table)

    def _listed(self, names: Sequence[str]) -> str:
        return ", ".join(map(self.connection.dialect.identifier_preparer.quote, names))


def _without(late: Collection[str], names: Sequence[str], rows: Rows) -> Rows:
    return ([None if name in late else value for name, value in zip(names, row, strict=True)] for row in rows)
