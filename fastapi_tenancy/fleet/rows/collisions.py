"""Look whether rows have keys that other tenants' rows have already, where all are in the same tables."""

from collections.abc import Iterator, Sequence
from typing import Any

from sqlalchemy import PrimaryKeyConstraint, Table, UniqueConstraint, literal, select, tuple_

from .columns import conversion
from .problems import RowsError
from .source import BATCH, TenantRows
from .target import ReadRows, filled_column, in_batches


def refuse_collisions(target: TenantRows, read: ReadRows) -> None:
    """Look for each key of each row; nothing where the tables are the tenant's own.

    Under row-level security other tenants' rows cannot be seen; there the writing of them fails, as a whole.

    Raises:
        RowsError: another tenant has such a key.
    """
    if target.rows_of is None:
        return
    for table in target.tables:
        keys = list(_keys(table))
        for batch in in_batches(read(table, 0), BATCH) if keys else ():
            for key in keys:
                _refuse(target, table, key, batch)


def _keys(table: Table) -> Iterator[set[str]]:
    """The names of columns that no two rows may have in common, whoever's they are."""
    constraints = [each for each in table.constraints if isinstance(each, UniqueConstraint | PrimaryKeyConstraint)]
    filled = filled_column(table)
    for key in (*constraints, *(index for index in table.indexes if index.unique)):
        names = {column.name for column in key.columns}
        if names and (filled is None or filled.name not in names):
            yield names


def _refuse(target: TenantRows, table: Table, key: set[str], rows: Sequence[Sequence[Any]]) -> None:
    columns = target.columns[table]
    places = [place for place, column in enumerate(columns) if column.name in key]
    filled = filled_column(table)
    dumped = conversion(columns[place].dump for place in places)
    given = [tuple(values) for row in rows if None not in (values := dumped(row[place] for place in places))]
    if filled is None or not given:
        return
    read = [columns[place].read for place in places]
    same = read[0].in_([value for (value,) in given]) if len(read) == 1 else tuple_(*read).in_(given)
    taken = select(literal(1)).select_from(table).where(filled != target.tenant_id, same).limit(1)
    if target.connection.scalar(taken) is not None:
        raise RowsError(
            f"another tenant has rows with the same {', '.join(sorted(key))} in {table.name}, which all tenants share "
            "there; use keys that are unique everywhere, such as uuid4, or give the tenant a schema or database of its "
            "own"
        )
