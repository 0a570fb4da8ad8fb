"""What each driver does in its own way: to report that a server refuses, and to hang up."""

import os
import re
import socket
from typing import Any

from ..errors import NamespaceMissingError, TenantUnavailableError

# Seconds that the server is given to hang up once it was told to; it takes about half a millisecond.
HANG_UP = 1.0

# How a server says that it has no such database: PostgreSQL's SQLSTATE, MySQL's error number. libpq reports no SQLSTATE
# of a failed connection, so psycopg has only the words to tell; PgBouncer has its own.
_NO_DATABASE = ("3D000", 1049)
_NO_DATABASE_WORDS = re.compile(r'database "[^"]*" does not exist|no such database')


def is_refusal(error: BaseException, dialect: object) -> bool:
    """Whether a connection failed at the server or on the way to it, and not by a mistake of the application."""
    of_driver = getattr(getattr(dialect, "dbapi", None), "Error", OSError)
    # Before 2.1, SQLAlchemy does not translate what asyncpg raises here: it bears a SQLSTATE, but has no common base.
    return isinstance(error, (of_driver, OSError, EOFError)) or hasattr(error, "sqlstate")


def codes_of(error: BaseException | None) -> tuple[object, ...]:
    """By what the server calls a driver's error: PostgreSQL's SQLSTATE comes first, else MySQL's error number."""
    state = getattr(error, "sqlstate", None)
    return (*((state,) if state else ()), *getattr(error, "args", ())[:1])


def unavailable(error: BaseException) -> TenantUnavailableError:
    """The 503 for a refused connection."""
    if any(code in _NO_DATABASE for code in codes_of(error)) or _NO_DATABASE_WORDS.search(str(error)):
        return NamespaceMissingError(f"the database is not there: {error}")
    return TenantUnavailableError(f"the database server cannot be reached: {error}")


def second_handle(driver_connection: Any) -> socket.socket | None:
    """A handle on the socket that outlives the connection's `close()`; None where the driver gives none.

    psycopg and psycopg2 tell the server and close their own at once, while the server still counts the connection.
    """
    if getattr(driver_connection, "closed", True) or not hasattr(driver_connection, "fileno"):
        return None
    try:
        return socket.socket(fileno=os.dup(driver_connection.fileno()))
    except OSError:
        return None
