"""Make and drop databases and roles on a test server, from tests and fixtures of either colour."""

from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import Any
from uuid import uuid4

from sqlalchemy import URL, make_url

from fastapi_tenancy.urls import synchronous

_Address = tuple[str | None, int | None]

_OPTIONS: dict[str, dict[str, Any]] = {
    "psycopg": {"autocommit": True},
    "pymysql": {"autocommit": True, "ssl_disabled": True},  # it reads all certificates there are for each connection
}

# Of each server, a connection that makes and drops databases: most tests want one, and to connect takes as long.
_administrators: dict[_Address, Any] = {}


def new_database(server_url: str, template: str | None = None, owner: str | None = None) -> str:
    """The URL of a database of its own: an empty one; on PostgreSQL also a copy of another, or owned by a role."""
    url, name = make_url(server_url), f"test_{uuid4().hex}"
    # Where nothing is flushed to disk, copying the files takes half as long as logging the copy.
    how = " STRATEGY FILE_COPY" if url.get_backend_name() == "postgresql" else ""
    of = "" if template is None else f" TEMPLATE {template}"
    whose = "" if owner is None else f" OWNER {owner}"
    administer(server_url, f"CREATE DATABASE {name}{of}{how}{whose}")
    return _text(url.set(database=name))


def drop_database(database_url: str) -> None:
    """Drop the database of the URL, whoever is still connected to it."""
    url = make_url(database_url)
    name = url.get_dialect()().identifier_preparer.quote_identifier(url.database or "")
    how = " WITH (FORCE)" if url.get_backend_name() == "postgresql" else ""
    administer(database_url, f"DROP DATABASE IF EXISTS {name}{how}")


def plain_role(database_url: str, *, createdb: bool = False, createrole: bool = False) -> str:
    """The URL of a new PostgreSQL role that owns the database and is subject to row-level security."""
    url, role, password = make_url(database_url), f"role_{uuid4().hex}", uuid4().hex
    may = f"{'CREATEDB' if createdb else 'NOCREATEDB'} {'CREATEROLE' if createrole else 'NOCREATEROLE'}"
    administer(database_url, f"CREATE ROLE {role} LOGIN NOSUPERUSER NOBYPASSRLS {may} PASSWORD '{password}'")
    administer(database_url, f'ALTER DATABASE "{url.database}" OWNER TO {role}')
    return _text(url.set(username=role, password=password))


def rows_of(database_url: str, query: str) -> list[tuple[Any, ...]]:
    """What the query finds in the database of the URL; it fails as the driver does."""
    with closing(_connected(make_url(database_url))) as connection:
        return _run(connection, query)


def administer(server_url: str, *statements: str) -> list[tuple[Any, ...]]:
    """Run statements that concern the whole server, and return the rows of the last one."""
    url = make_url(server_url)
    if _address(url) not in _administrators:
        database = "postgres" if url.get_backend_name() == "postgresql" else None
        _administrators[_address(url)] = _connected(url._replace(database=database))
    return _run(_administrators[_address(url)], *statements)


@contextmanager
def administered(server_url: str) -> Iterator[str]:
    """The same URL, where `administer` may connect to until the block is left."""
    try:
        yield server_url
    finally:
        if connection := _administrators.pop(_address(make_url(server_url)), None):
            connection.close()


def _address(url: URL) -> _Address:
    return url.host, url.port


def _connected(url: URL) -> Any:
    """A connection of the driver itself: SQLAlchemy would ask each new database who it is."""
    url = synchronous(url)
    dialect = url.get_dialect()()
    arguments, options = dialect.create_connect_args(url)
    return dialect.import_dbapi().connect(*arguments, **options, **_OPTIONS[dialect.driver])


def _run(connection: Any, *statements: str) -> list[tuple[Any, ...]]:
    with connection.cursor() as cursor:
        for statement in statements:
            cursor.execute(statement)
        return [tuple(row) for row in cursor.fetchall()] if cursor.description else []


def _text(url: URL) -> str:
    return url.render_as_string(hide_password=False)
