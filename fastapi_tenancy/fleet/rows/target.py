"""What is the same however rows are written into another place."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import islice
from typing import Any, TypeVar

from sqlalchemy import Column, Connection, Table, delete
from sqlalchemy.exc import DBAPIError

from ...multitenant.isolation.scoped import fills_tenant_column, tenant_column
from .columns import conversion
from .problems import RowsError
from .source import TenantRows

T = TypeVar("T")

Rows = Iterator[Sequence[Any]]

# Gives the rows of a table in the order of their keys, without so many at the beginning.
ReadRows = Callable[[Table, int], Rows]


class RowWriter(ABC):
    """Writes a tenant's rows; each kind of database has its own.

    Args:
        target: where to; in no transaction.
    """

    def __init__(self, target: TenantRows) -> None:
        self.target = target
        self.connection: Connection = target.connection

    def write(self, read: ReadRows, counts: Mapping[Table, int]) -> None:
        """Write what is missing, and commit it; after a failure or a kill, calling it again ends the work.

        Args:
            read: gives the rows.
            counts: how many each table has, each table after those that it refers to.

        Raises:
            RowsError: the target does not take them.
        """
        errors: Any = self.connection.dialect.loaded_dbapi.Error
        try:
            self._write(read, counts)
        except (DBAPIError, errors) as error:  # COPY goes past SQLAlchemy
            raise RowsError(f"the database does not take the rows: {getattr(error, 'orig', error)}") from error

    @abstractmethod
    def _write(self, read: ReadRows, counts: Mapping[Table, int]) -> None: ...

    def _names(self, table: Table) -> list[str]:
        filled = filled_column(table)
        names = [column.name for column in self.target.columns[table]]
        return names if filled is None else [*names, filled.name]

    def _with_tenant(self, table: Table, rows: Rows) -> Rows:
        """The rows as `_names` has them, as the driver takes them."""
        whose = [] if filled_column(table) is None else [self.target.tenant_id]
        dumped = conversion(column.dump for column in self.target.columns[table])
        return ([*dumped(row), *whose] for row in rows)

    def _empty(self, table: Table) -> None:
        self.connection.execute(delete(table).where(*self.target.whose(table)))


def filled_column(table: Table) -> Column[str] | None:
    """The column that says whose a row is, where it is one that we fill."""
    return tenant_column(table) if fills_tenant_column(table) else None


def in_batches(items: Iterable[T], size: int) -> Iterator[list[T]]:
    remaining = iter(items)
    while batch := list(islice(remaining, size)):
        yield batch


@contextmanager
def no_block() -> Iterator[None]:
    """What is in the place of a transaction where there is one already."""
    yield
