"""Where tenants' tables really are, and how to spoil them."""

import sqlite3
from contextlib import closing

from fastapi_tenancy import Tenancy


async def _database(tenancy: Tenancy, identifier: str) -> str:
    tenant = await tenancy.get_tenant(identifier)
    tables = await tenancy.provider.for_tenant(tenant).tables(tenant)
    return f"{tables.url.database}?mode=rw"


async def execute(tenancy: Tenancy, identifier: str, statement: str) -> list[tuple[object, ...]]:
    with closing(sqlite3.connect(await _database(tenancy, identifier), uri=True)) as connection, connection:
        return connection.execute(statement).fetchall()


async def spoil(tenancy: Tenancy, *identifiers: str) -> None:
    """Have the next migration fail."""
    for identifier in identifiers:
        await execute(tenancy, identifier, "CREATE TABLE tags (mine INTEGER)")


async def mend(tenancy: Tenancy, *identifiers: str) -> None:
    for identifier in identifiers:
        await execute(tenancy, identifier, "DROP TABLE tags")


async def truth(tenancy: Tenancy, *identifiers: str) -> list[str]:
    return [
        str((await execute(tenancy, each, "SELECT version_num FROM alembic_version"))[0][0]) for each in identifiers
    ]


async def recorded(tenancy: Tenancy, *identifiers: str) -> list[str | None]:
    return [(await tenancy.get_tenant(each)).revision for each in identifiers]
