"""Let one process at a time change the tables that all of them use."""

from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy import Connection, text

# Any number will do, if nobody else locks it: the bytes of "tenancy".
_LOCK = 0x74656E616E6379


@contextmanager
def exclusively(connection: Connection) -> Iterator[None]:
    """Hold off other processes that start at the same time; the caller's transaction ends the lock, but on MySQL."""
    backend = connection.dialect.name
    if backend == "postgresql":
        connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _LOCK})
    if backend not in ("mysql", "mariadb"):  # SQLite's write transaction is the lock
        yield
        return
    connection.execute(text("SELECT GET_LOCK('fastapi_tenancy', 60)"))
    try:
        yield
    finally:
        connection.execute(text("SELECT RELEASE_LOCK('fastapi_tenancy')"))
