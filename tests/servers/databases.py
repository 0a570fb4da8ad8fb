"""Make and drop databases and roles on a test server, from tests and fixtures of either colour."""

import asyncio
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import Any
from uuid import uuid4

from sqlalchemy import URL, NullPool, make_url, text
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine


def new_database(server_url: str, template: str | None = None) -> str:
    """The URL of a database of its own: an empty one, or a copy of another on the same PostgreSQL."""
    url, name = make_url(server_url), f"test_{uuid4().hex}"
    # Where nothing is flushed to disk, copying the files takes half as long as logging the copy.
    how = " STRATEGY FILE_COPY" if url.get_backend_name() == "postgresql" else ""
    of = "" if template is None else f" TEMPLATE {template}"
    _execute(url, f"CREATE DATABASE {name}{of}{how}")
    return _text(url.set(database=name))


def drop_database(database_url: str) -> None:
    """Drop the database of the URL, whoever is still connected to it."""
    url = make_url(database_url)
    name = url.get_dialect()().identifier_preparer.quote_identifier(url.database or "")
    if url.get_backend_name() == "postgresql":
        _execute(url.set(database="postgres"), f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")
    else:
        _execute(url._replace(database=None), f"DROP DATABASE IF EXISTS {name}")


def plain_role(database_url: str, *, createdb: bool = False, createrole: bool = False) -> str:
    """The URL of a new PostgreSQL role that owns the database and is subject to row-level security."""
    url, role, password = make_url(database_url), f"role_{uuid4().hex}", uuid4().hex
    may = f"{'CREATEDB' if createdb else 'NOCREATEDB'} {'CREATEROLE' if createrole else 'NOCREATEROLE'}"
    _execute(
        url,
        f"CREATE ROLE {role} LOGIN NOSUPERUSER NOBYPASSRLS {may} PASSWORD '{password}'",
        f'ALTER DATABASE "{url.database}" OWNER TO {role}',
    )
    return _text(url.set(username=role, password=password))


def rows_of(database_url: str, query: str) -> list[tuple[Any, ...]]:
    """What the query finds in the database of the URL."""
    return _execute(make_url(database_url), query)


def _execute(url: URL, *statements: str) -> list[tuple[Any, ...]]:
    """Run the statements, and return the rows of the last one."""

    async def run() -> list[tuple[Any, ...]]:
        async with _engine(url).connect() as connection:
            for statement in statements:
                result = await connection.execute(text(statement))
            return [tuple(row) for row in result] if result.returns_rows else []

    # Not every driver is synchronous, and the caller's own loop may be running.
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(asyncio.run, run()).result()


@cache
def _engine(url: URL) -> AsyncEngine:
    """Belongs to no loop, since it keeps no connection."""
    return create_async_engine(url, isolation_level="AUTOCOMMIT", poolclass=NullPool)


def _text(url: URL) -> str:
    return url.render_as_string(hide_password=False)
