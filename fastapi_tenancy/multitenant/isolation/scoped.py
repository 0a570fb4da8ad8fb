"""Which tables are a tenant's, which are shared by all, and which fit neither."""

from collections.abc import Iterator

from sqlalchemy import Column, FromClause, MetaData, String, Table, TypeDecorator
from sqlalchemy.orm import Mapped, mapped_column

from ...errors import ConfigurationError

TENANT_COLUMN = "tenant_id"


class TenantScoped:
    """Mix into a model whose rows each belong to one tenant; `tenant_id` is filled in for you.

    It is deliberately not part of the primary key, so models keep their own. In joined-table inheritance the mixin
    reaches the parent's table only; a child with a table of its own adds
    `own_tenant_id: Mapped[str] = mapped_column("tenant_id", String(32), index=True)`.
    """

    tenant_id: Mapped[str] = mapped_column(String(32), index=True)


def is_shared(table: Table) -> bool:
    return table.info.get("tenancy") == "shared"


def tenant_column(table: FromClause) -> Column[str] | None:
    """The column that says whose a row is, found by its SQL name: a model may call the attribute something else."""
    return next((column for column in table.c if isinstance(column, Column) and column.name == TENANT_COLUMN), None)


def fills_tenant_column(table: FromClause) -> bool:
    """Whether the column is one that we fill, rather than a column of the application's that has the same name."""
    column = tenant_column(table)
    return column is not None and not is_shared(column.table) and not any(_column_problems(column))


def tenant_columns(metadata: MetaData) -> list[Column[str]]:
    """The column of each table that holds tenants' rows, the tables each after those they refer to."""
    columns = ((table, tenant_column(table)) for table in metadata.sorted_tables)
    return [column for table, column in columns if column is not None and fills_tenant_column(table)]


def problem(table: Table) -> str | None:
    """Why the table cannot be used where tenants share tables; None where it can."""
    return next(_problems(table), None)


def check_metadata(metadata: MetaData) -> None:
    """Refuse tables that row isolation cannot keep apart.

    Raises:
        ConfigurationError: names every such table, why, and what to do.
    """
    found = [f"  {table.key}: {why}" for table in metadata.tables.values() if (why := problem(table))]
    if found:
        raise ConfigurationError("row isolation cannot keep tenants apart in these tables:\n" + "\n".join(found))


def _problems(table: Table) -> Iterator[str]:
    column = tenant_column(table)
    if is_shared(table):
        if column is not None:
            yield "it has tenant_id and is marked as shared; drop one of the two"
    elif column is None:
        yield (
            "it has no tenant_id; mix TenantScoped into the model (a child table in joined inheritance declares the "
            'column itself), or, if all tenants read it and none writes it, set info={"tenancy": "shared"}'
        )
    else:
        yield from _column_problems(column)
    if _replaces_on_conflict(table):
        yield "ON CONFLICT REPLACE lets an insert replace another tenant's row; use another resolution"


def _column_problems(column: Column[str]) -> Iterator[str]:
    if column.nullable:
        yield "its tenant_id may be NULL; make it NOT NULL"
    if column.primary_key:
        yield "its tenant_id is part of the primary key; take it out"
    kind = column.type.impl_instance if isinstance(column.type, TypeDecorator) else column.type
    if not isinstance(kind, String):
        yield "its tenant_id is not a string; make it String(32)"


def _replaces_on_conflict(table: Table) -> bool:
    return any(
        name.startswith("sqlite_on_conflict") and str(resolution).upper() == "REPLACE"
        for part in (*table.columns, *table.constraints)
        for name, resolution in part.dialect_kwargs.items()
    )
