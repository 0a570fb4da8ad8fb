"""Tables that tenants share: who could read others' rows, what makes reading slow, and rows of nobody."""

from collections.abc import AsyncIterator, Iterable, Iterator
from typing import Any

from sqlalchemy import Column, Connection, MetaData, String, Table, cast, func, inspect, select
from sqlalchemy.ext.asyncio import AsyncConnection

from ....multitenant.isolation import tenant_columns
from ....multitenant.isolation.rls_faults import faults, has_all_tables
from ..deployment import Deployment
from ..finding import Found, error, warning

_SHOWN = 5  # ids of nobody that a message names


async def row_level_security(deployment: Deployment) -> AsyncIterator[Found]:
    if "rls" not in (await deployment.places()).isolations():
        return
    metadata = deployment.root.metadata
    async with deployment.reach(deployment.url) as connection:
        if not await connection.run_sync(has_all_tables, metadata):
            yield warning("the tenants' tables are not all there yet", "fastapi-tenancy tenants list, which makes them")
            metadata = MetaData()  # then only the role can be judged
        found = await connection.run_sync(faults, metadata)
    for fault in found:
        yield error(fault.what, fault.remedy)


async def tenant_id(deployment: Deployment) -> AsyncIterator[Found]:
    if not (await deployment.places()).isolations():
        return
    async with deployment.reach(deployment.url) as connection:
        for found in await connection.run_sync(lambda sync: list(_column_faults(sync, _columns(deployment, sync)))):
            yield found


async def unknown_rows(deployment: Deployment) -> AsyncIterator[Found]:
    # Under row-level security even the deployment's own role sees no rows of nobody.
    if (await deployment.places()).isolations() != {"row"}:
        return
    async with deployment.reach(deployment.url) as connection:
        columns = await connection.run_sync(lambda sync: list(_columns(deployment, sync)))
        rows = [(column, await _ids_in(connection, column)) for column in columns]
    # Afterwards: a tenant that was created meanwhile is known by now.
    known = (await deployment.fresh_records()).ids
    for column, ids in rows:
        if strange := sorted(ids - known):
            more = "" if len(strange) <= _SHOWN else f" and {len(strange) - _SHOWN} more"
            yield warning(
                f"the table {column.table.name} has rows of nobody: tenant_id is {', '.join(strange[:_SHOWN])}{more}",
                f"DELETE FROM {column.table.name} WHERE tenant_id IN "  # noqa: S608 - shown, and not run
                f"({', '.join(map(repr, strange))})",
            )


def _columns(deployment: Deployment, connection: Connection) -> Iterator[Column[str]]:
    """The columns that say whose a row is, of the tables that are there."""
    looking = inspect(connection)
    for column in tenant_columns(deployment.root.metadata):
        table: Any = column.table
        if looking.has_table(table.name, table.schema):
            yield column


def _column_faults(connection: Connection, columns: Iterable[Column[str]]) -> Iterator[Found]:
    looking, is_postgresql = inspect(connection), connection.dialect.name == "postgresql"
    for column in columns:
        table: Any = column.table
        name = connection.dialect.identifier_preparer.format_table(table)
        there = {each["name"]: each for each in looking.get_columns(table.name, table.schema)}.get(column.name)
        if there is None:
            yield error(f"the table {name} has no tenant_id", f"ALTER TABLE {name} ADD COLUMN tenant_id varchar(32)")
            continue
        if there["nullable"]:
            yield error(f"tenant_id may be NULL in the table {name}", _NOT_NULL[connection.dialect.name].format(name))
        if not _is_indexed(looking, table):
            create = "CREATE INDEX CONCURRENTLY" if is_postgresql else "CREATE INDEX"
            yield warning(
                f"the table {name} has no index that begins with tenant_id, so what one tenant asks reads all rows",
                f"{create} ix_{table.name}_tenant_id ON {name} (tenant_id)",
            )


_NOT_NULL = {
    "postgresql": "ALTER TABLE {} ALTER COLUMN tenant_id SET NOT NULL",
    "mysql": "ALTER TABLE {} MODIFY tenant_id varchar(32) NOT NULL",
    "mariadb": "ALTER TABLE {} MODIFY tenant_id varchar(32) NOT NULL",
    "sqlite": "make the table {} again, with tenant_id NOT NULL: alembic's batch_alter_table does that",
}


def _is_indexed(looking: Any, table: Table) -> bool:
    begins = [index["column_names"][:1] for index in looking.get_indexes(table.name, table.schema)]
    begins += [key["column_names"][:1] for key in looking.get_unique_constraints(table.name, table.schema)]
    begins.append(looking.get_pk_constraint(table.name, table.schema)["constrained_columns"][:1])
    return ["tenant_id"] in begins


async def _ids_in(connection: AsyncConnection, column: Column[str]) -> set[str]:
    """All that occur, each found by one step through the index, however many rows there are."""
    least = cast(select(func.min(column)).scalar_subquery(), String(32))
    steps = select(least.label("id")).cte("steps", recursive=True)
    beyond = column.table.alias("beyond").c[column.key]
    next_one = cast(select(func.min(beyond)).where(beyond > steps.c.id).scalar_subquery(), String(32))
    steps = steps.union_all(select(next_one).where(steps.c.id.is_not(None)))
    return set(await connection.scalars(select(steps.c.id).where(steps.c.id.is_not(None))))
