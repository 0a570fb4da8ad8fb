"""The mark in a tenant's own database, schema or file that says whose it is, wherever it is moved or restored to."""

from sqlalchemy import Column, Connection, MetaData, String, Table, insert, inspect, select
from sqlalchemy.exc import ProgrammingError


def owner_table(schema: str | None = None) -> Table:
    return Table("tenancy_owner", MetaData(), Column("tenant_id", String(32), primary_key=True), schema=schema)


def mark(connection: Connection, tenant_id: str, schema: str | None = None) -> None:
    """Write the tenant's mark into a place that has none."""
    owner = owner_table(schema)
    owner.create(connection, checkfirst=False)
    connection.execute(insert(owner).values(tenant_id=tenant_id))


def owner_of(connection: Connection, schema: str | None = None) -> str | None:
    """The id in the mark; None where there is none, or where marks were mixed up."""
    if not inspect(connection).has_table(owner_table(schema).name, schema=schema):
        return None
    return _only_mark(connection, schema)


def owner_at_once(connection: Connection, schema: str | None = None) -> str | None:
    """As `owner_of`, in one query; where there is no mark, the transaction can only be rolled back."""
    try:
        return _only_mark(connection, schema)
    except ProgrammingError:
        return None


def _only_mark(connection: Connection, schema: str | None) -> str | None:
    ids = connection.scalars(select(owner_table(schema).c.tenant_id)).all()
    return ids[0] if len(ids) == 1 else None
