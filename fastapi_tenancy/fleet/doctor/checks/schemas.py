"""What stands in the way of bare names under schema isolation on PostgreSQL."""

import re
from collections.abc import AsyncIterator, Iterator
from typing import Any

from sqlalchemy import Row, text

from ....multitenant.isolation.scoped import is_shared
from ..deployment import Deployment
from ..finding import Found, error, info, warning

# The settings that new connections begin with, by the role, the database, or both.
_DEFAULTS = text("""
    SELECT split_part(line, '=', 2) AS path, quote_ident(d.datname) AS database, quote_ident(r.rolname) AS role
    FROM pg_catalog.pg_db_role_setting s
    CROSS JOIN unnest(setconfig) AS line
    LEFT JOIN pg_catalog.pg_database d ON d.oid = setdatabase
    LEFT JOIN pg_catalog.pg_roles r ON r.oid = setrole
    WHERE line LIKE 'search_path=%'
        AND (setdatabase = 0 OR d.datname = current_database()) AND (setrole = 0 OR r.rolname = current_user)
""")

_TABLES = text("SELECT current_schema(), tablename FROM pg_catalog.pg_tables WHERE schemaname = current_schema()")

_OF_A_TENANT = re.compile(r"t_[0-9a-f]{32}")

_HAS_SCHEMA = text("SELECT to_regnamespace(:name) IS NOT NULL")


async def schemas(deployment: Deployment) -> AsyncIterator[Found]:
    places = [place for place in (await deployment.places()).all() if place.kind == "schema"]
    if not places:
        return
    async with deployment.reach(deployment.url) as connection:
        defaults = (await connection.execute(_DEFAULTS)).all()
        here = (await connection.execute(_TABLES)).all()
        extensions = deployment.settings.extensions_schema
        missing = extensions is not None and not await connection.scalar(_HAS_SCHEMA, {"name": extensions})
    if missing:
        yield error(f"extensions_schema names {extensions!r}, which is not there", f'CREATE SCHEMA "{extensions}"')
    for found in (*_of_defaults(defaults), *_of_tables(deployment, here)):
        yield found


def _of_defaults(rows: Any) -> Iterator[Found]:
    for row in rows:
        first = row.path.split(",")[0].strip().strip('"')
        remedy = f"{_altered(row)} RESET search_path"
        if _OF_A_TENANT.fullmatch(first):
            yield error(
                f"connections begin in a tenant's schema, as search_path={row.path}: what is meant for the "
                "deployment's own tables finds that tenant's",
                remedy,
            )
        elif first not in ("public", "$user"):
            yield warning(
                f"connections begin with search_path={row.path}: the store's tables are looked for in {first}. The "
                "tenants' connections are not affected, since they begin with a path of their own",
                remedy,
            )
        else:
            yield info(
                f"connections begin with search_path={row.path}. The tenants' begin with a path of their own, so bare "
                "names find nothing there; other programs' do not",
                remedy,
            )


def _altered(row: Row[Any]) -> str:
    if row.role is None:
        return f"ALTER DATABASE {row.database}"
    return f"ALTER ROLE {row.role}" + (f" IN DATABASE {row.database}" if row.database is not None else "")


def _of_tables(deployment: Deployment, rows: Any) -> Iterator[Found]:
    if rows and _OF_A_TENANT.fullmatch(rows[0].current_schema):
        return
    own = {table.name for table in deployment.root.metadata.tables.values() if not is_shared(table)}
    same = sorted(row.tablename for row in rows if row.tablename in own)
    if same:
        schema = rows[0].current_schema
        yield info(
            f"the deployment's schema {schema} has tables that are called like the tenants': {', '.join(same)}. "
            "The library never uses them",
            f"see what is in them, and then: DROP TABLE {', '.join(f'{schema}.{name}' for name in same)}",
        )
