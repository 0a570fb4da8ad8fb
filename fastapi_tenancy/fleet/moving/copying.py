"""Take a tenant's rows from one place to another, in a thread, and look whether they arrived."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from threading import Event
from typing import Any

from sqlalchemy import MetaData, Table

from ...errors import MoveError
from ...migrations import revision_of
from ...multitenant.tables import TenantTables
from ..rows import BATCH, RowsError, TenantRows, refuse_collisions, writer_for
from .fence import fence_around

# The step, the table, how many of its rows are done, and how many it has.
Tell = Callable[[str, str, int, int], None]


@dataclass(frozen=True, slots=True)
class Copying:
    """The work on two databases; each method is one step, which can be done again.

    Attributes:
        source: where the tenant is.
        target: where it is to be; with empty tables, or with what was copied already.
        stop: ends the work where it is set, at the next rows.
    """

    source: TenantTables
    target: TenantTables
    metadata: MetaData
    tenant_id: str
    tell: Tell
    stop: Event

    def check(self) -> None:
        """Look whether all could be copied, before anything is.

        Raises:
            MoveError: something would be left behind, or could not be kept there.
        """
        with _told(), self._rows(self.source) as source, self._rows(self.target) as target:
            if unknown := source.unknown_tables():
                raise MoveError(
                    f"the tables {', '.join(unknown)} are not in the metadata, and would be left behind; add them to "
                    "it, or drop them"
                )
            _refuse_other_kinds(source, target)
            here, there = revision_of(source.connection), revision_of(target.connection)
            if here != there:
                raise MoveError(
                    f"the tenant's tables are at revision {here}, and those of its new place at {there}; run: "
                    "fastapi-tenancy migrate"
                )
            refuse_collisions(target, self._reading(source, "check"))

    def fence(self) -> None:
        """Let the source be read only."""
        with self._rows(self.source) as source:
            fence_around(source).put()

    def unfence(self) -> None:
        with self._rows(self.source) as source:
            fence_around(source).take_away()

    def copy(self) -> None:
        """Write what is missing in the target; the source is fenced.

        Raises:
            MoveError: the target does not take it.
        """
        with _told(), self._rows(self.source) as source, self._rows(self.target) as target:
            counts = {table: source.count(table) for table in source.tables}
            writer_for(target).write(self._reading(source, "copy"), counts)

    def verify(self) -> dict[str, int]:
        """Compare the two places; returns how many rows each table has.

        Raises:
            MoveError: they differ.
        """
        rows: dict[str, int] = {}
        with _told(), self._rows(self.source) as source, self._rows(self.target) as target:
            for table in source.tables:
                here, there = source.digest(table), target.digest(table)
                if here != there:
                    raise MoveError(
                        f"the rows of {table.name} are not the same in the new place ({here.rows} and {there.rows}); "
                        "its database does not keep some of their values"
                    )
                rows[table.name] = here.rows
                self.tell("verify", table.name, here.rows, here.rows)
        return rows

    def _rows(self, place: TenantTables) -> AbstractContextManager[TenantRows]:
        return TenantRows.at(place, self.metadata, self.tenant_id)

    def _reading(self, source: TenantRows, step: str) -> Callable[[Table, int], Iterator[Sequence[Any]]]:
        def read(table: Table, skip: int) -> Iterator[Sequence[Any]]:
            total = source.count(table)
            for number, row in enumerate(source.read(table, skip), start=skip):
                if number % BATCH == 0:
                    if self.stop.is_set():
                        raise MoveError("the move was stopped")
                    self.tell(step, table.name, number, total)
                yield row
            self.tell(step, table.name, total, total)

        return read


def _refuse_other_kinds(source: TenantRows, target: TenantRows) -> None:
    for table in source.tables:
        for here, there in zip(source.columns[table], target.columns[table], strict=True):
            if here.shape != there.shape:
                raise MoveError(
                    f"the column {table.name}.{here.name} is stored as {here.shape} here, and as {there.shape} in the "
                    "new place; move the tenant to the same kind of database"
                )


@contextmanager
def _told() -> Iterator[None]:
    try:
        yield
    except RowsError as error:
        raise MoveError(str(error)) from error
