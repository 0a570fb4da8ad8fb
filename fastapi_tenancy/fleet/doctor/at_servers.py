"""Look into many schemas, or MySQL's databases, by few questions to their server."""

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from sqlalchemy import Connection, String, bindparam, case, cast, column, func, literal, null, select, table, text
from sqlalchemy import union_all as all_of
from sqlalchemy.ext.asyncio import AsyncConnection

from ...multitenant.owner import owner_table

_ON_POSTGRESQL = text("""
    SELECT n.nspname, c.relname
    FROM pg_catalog.pg_namespace n
    LEFT JOIN pg_catalog.pg_class c ON c.relnamespace = n.oid AND c.relkind IN ('r', 'p')
    WHERE n.nspname = ANY(CAST(:names AS text[]))
""")

_ON_MYSQL = text("""
    SELECT s.schema_name, t.table_name
    FROM information_schema.schemata s
    LEFT JOIN information_schema.tables t ON t.table_schema = s.schema_name AND t.table_type = 'BASE TABLE'
    WHERE s.schema_name IN :names
""").bindparams(bindparam("names", expanding=True))

_TABLES = {"postgresql": _ON_POSTGRESQL, "mysql": _ON_MYSQL, "mariadb": _ON_MYSQL}

_DATABASES = {
    "postgresql": text("SELECT datname FROM pg_catalog.pg_database"),
    "mysql": text("SELECT schema_name FROM information_schema.schemata"),
    "mariadb": text("SELECT schema_name FROM information_schema.schemata"),
}

_AT_ONCE = 200  # schemas whose marks one statement reads


class Content(NamedTuple):
    """What is in a schema, as `Sight` has it."""

    tables: frozenset[str]
    owner: str | None
    revision: str | None


async def databases_there(server: AsyncConnection) -> set[str]:
    return set(await server.scalars(_DATABASES[server.dialect.name]))


async def contents(connection: AsyncConnection, schemas: Sequence[str]) -> Mapping[str, Content]:
    """Of those schemas that are there."""
    return await connection.run_sync(_contents, schemas) if schemas else {}


def _contents(connection: Connection, schemas: Sequence[str]) -> dict[str, Content]:
    tables = defaultdict[str, set[str]](set)
    for schema, name in connection.execute(_TABLES[connection.dialect.name], {"names": list(schemas)}):
        tables[schema].update([name] if name is not None else [])
    marked = [schema for schema, names in tables.items() if not names.isdisjoint(_MARKS)]
    marks: dict[str, tuple[str | None, str | None]] = {}
    for begin in range(0, len(marked), _AT_ONCE):
        some = marked[begin : begin + _AT_ONCE]
        query = all_of(*(_marks_of(number, schema, tables[schema]) for number, schema in enumerate(some)))
        marks |= {some[number]: (owner, revision) for number, owner, revision in connection.execute(query)}
    return {schema: Content(frozenset(names), *marks.get(schema, (None, None))) for schema, names in tables.items()}


def _marks_of(number: int, schema: str, tables: set[str]) -> Any:
    found = [read(schema) if name in tables else cast(null(), String(255)) for name, read in _MARKS.items()]
    return select(literal(number), *found)


def _owner_in(schema: str) -> Any:
    owner = owner_table(schema).c.tenant_id
    return select(case((func.count() == 1, func.min(owner)))).select_from(owner.table).scalar_subquery()


def _revision_in(schema: str) -> Any:
    version = table("alembic_version", column("version_num", String(255)), schema=schema).c.version_num
    return select(func.min(version)).scalar_subquery()


_MARKS: Mapping[str, Callable[[str], Any]] = {"tenancy_owner": _owner_in, "alembic_version": _revision_in}
