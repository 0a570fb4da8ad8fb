"""Make SQLite behave as a server does: writers queue, and readers go on meanwhile."""

import asyncio
import re
import sqlite3
import time
from typing import Any

from sqlalchemy import Connection, Engine, ExceptionContext, event
from sqlalchemy.exc import DBAPIError, OperationalError
from sqlalchemy.ext.asyncio import AsyncEngine
from sqlalchemy.util import await_only

# Seconds that a SQLite connection waits for another writer.
BUSY_TIMEOUT = 15.0

# What takes no write lock, and what cannot run inside a transaction.
_BEGINS_NOTHING = re.compile(
    r"\s*(?:SELECT|PRAGMA|EXPLAIN|VALUES|BEGIN|COMMIT|END|ROLLBACK|ATTACH|DETACH|VACUUM)\b", re.IGNORECASE
)


async def enter_wal(engine: AsyncEngine) -> None:
    """Switch the file of a SQLite engine to WAL, which it then keeps; nothing on other databases.

    Raises:
        OperationalError: others had the file locked for as long as a writer may take.
    """
    if engine.dialect.name != "sqlite":
        return
    deadline = time.monotonic() + BUSY_TIMEOUT
    while True:
        try:
            async with engine.connect() as connection:
                await connection.exec_driver_sql("PRAGMA journal_mode=WAL")
        except OperationalError:
            # For this one, SQLite does not queue: processes that start together would fail.
            if time.monotonic() > deadline:
                raise
            await asyncio.sleep(0.02)
        else:
            return


def prepared(engine: Engine) -> Engine:
    """The engine, whose connections now do so."""
    event.listen(engine, "connect", _prepare_sqlite)
    event.listen(engine, "handle_error", _give_up_if_no_database)
    event.listen(engine, "begin", _begin_now_if_asked)
    event.listen(engine, "before_cursor_execute", _begin_before_the_first_write)
    return engine


def _prepare_sqlite(dbapi_connection: Any, _record: object) -> None:
    dbapi_connection.isolation_level = None  # we say BEGIN ourselves, below
    cursor = dbapi_connection.cursor()
    cursor.execute("PRAGMA foreign_keys=ON")
    cursor.close()


# Python's sqlite3 begins a deferred transaction, which cannot become a writing one once another connection has written:
# the request fails with "database is locked" at once, whatever the time-out. So a transaction that writes takes the
# write lock first and queues for it; one that only reads takes none (see docs/explanation/decisions).
BEGIN_IMMEDIATE = {"tenancy_begin": "IMMEDIATE"}
_BEGIN = "BEGIN IMMEDIATE"


def _is_no_database(error: BaseException) -> bool:
    """Whether the file cannot be read as a database; so one looks that has got another key, or came in its place."""
    return getattr(error, "sqlite_errorcode", None) == sqlite3.SQLITE_NOTADB


def _give_up_if_no_database(context: ExceptionContext) -> None:
    if _is_no_database(context.original_exception):
        context.is_disconnect = True  # what the connection remembers of the file is nonsense from now on


def _begin_now_if_asked(connection: Connection) -> None:
    if "tenancy_begin" in connection.get_execution_options():
        _begin_immediate(connection)


def _begin_before_the_first_write(
    connection: Connection, _cursor: object, statement: str, _parameters: object, context: Any, _many: bool
) -> None:
    if _BEGINS_NOTHING.match(statement) or _driver_connection(connection).in_transaction:
        return
    compiled_read = statement.startswith("WITH") and context.compiled and not (context.is_crud or context.is_text)
    if not compiled_read and connection.get_execution_options().get("isolation_level") != "AUTOCOMMIT":
        _begin_immediate(connection)


def _begin_immediate(connection: Connection) -> None:
    dialect = connection.dialect
    base: Any = dialect.loaded_dbapi.Error
    try:
        begun = _driver_connection(connection).execute(_BEGIN)
        if dialect.is_async:
            await_only(begun)  # a third of what a cursor takes, whose every step is one of the driver's thread
    except base as error:  # as SQLAlchemy does it, which knows nothing of this statement
        is_lost = _is_no_database(error)
        if is_lost:
            connection.invalidate(error)
        raise DBAPIError.instance(_BEGIN, None, error, base, connection_invalidated=is_lost, dialect=dialect) from error


def _driver_connection(connection: Connection) -> Any:
    return connection.connection.driver_connection
