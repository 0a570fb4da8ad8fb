"""Open database engines, the same way for the library's own tables and for the tenants'."""

import asyncio
import re
import time
from pathlib import Path
from typing import Any
from urllib.parse import quote

from sqlalchemy import URL, AsyncAdaptedQueuePool, Connection, QueuePool, event, make_url
from sqlalchemy.exc import ArgumentError, NoSuchModuleError, OperationalError
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from .errors import ConfigurationError

# What people write → the asynchronous driver that is meant.
_DRIVERS = {
    "sqlite": "sqlite+aiosqlite",
    "sqlite+pysqlite": "sqlite+aiosqlite",
    "postgres": "postgresql+psycopg",
    "postgresql": "postgresql+psycopg",
    "postgresql+psycopg2": "postgresql+psycopg",
    "mysql": "mysql+asyncmy",
    "mysql+pymysql": "mysql+asyncmy",
    "mysql+mysqldb": "mysql+asyncmy",
    "mariadb": "mariadb+asyncmy",
    "mariadb+pymysql": "mariadb+asyncmy",
}

# Seconds that a SQLite connection waits for another writer.
_BUSY_TIMEOUT = 15.0

# What takes no write lock, and what cannot run inside a transaction.
_BEGINS_NOTHING = re.compile(
    r"\s*(?:SELECT|PRAGMA|EXPLAIN|VALUES|BEGIN|COMMIT|END|ROLLBACK|ATTACH|DETACH|VACUUM)\b", re.IGNORECASE
)


def parse_url(text: str, setting: str) -> URL:
    """The URL that `text` means, with an asynchronous driver that is installed.

    Raises:
        ConfigurationError: it is no URL, or its driver is unknown, synchronous or missing. The message never shows the
            URL, which may hold a password.
    """
    try:
        url = make_url(text)
    except ArgumentError as error:
        raise ConfigurationError(
            f"{setting} is not a database URL; write it like sqlite+aiosqlite:///./data/tenancy.db"
        ) from error
    url = url.set(drivername=_DRIVERS.get(url.drivername, url.drivername))
    try:
        dialect = url.get_dialect().get_async_dialect_cls(url)
        dialect.import_dbapi()
    except NoSuchModuleError as error:
        raise ConfigurationError(
            f"{setting}: no database driver is called {url.drivername!r}; use one of {', '.join(sorted(_DRIVERS))}"
        ) from error
    except ModuleNotFoundError as error:
        raise ConfigurationError(
            f"{setting} needs the driver {error.name!r}, which is not installed: pip install {error.name}"
        ) from error
    if not dialect.is_async:
        raise ConfigurationError(
            f"{setting}: {url.drivername!r} is a synchronous driver; use one of {sorted(set(_DRIVERS.values()))}"
        )
    file = sqlite_file(url)
    # Absolute from now on: the process may change its working directory.
    return url if file is None or url.query.get("uri") else url.set(database=str(file))


def is_sqlite(url: URL) -> bool:
    return url.get_backend_name() == "sqlite"


def sqlite_file(url: URL) -> Path | None:
    """The file of a SQLite URL; None where the database is in memory, or is no SQLite."""
    database = url.database
    if not is_sqlite(url) or not database or database == ":memory:" or url.query.get("mode") == "memory":
        return None
    return Path(database.removeprefix("file:")).absolute()


def existing_sqlite(file: Path) -> URL:
    """A URL that opens `file`, and fails where it is missing instead of creating it."""
    return URL.create("sqlite+aiosqlite", database=f"file:{quote(str(file))}", query={"mode": "rw", "uri": "true"})


def make_parent(file: Path, setting: str) -> None:
    """Create the folder of a SQLite file.

    Raises:
        ConfigurationError: the folder cannot be made, or not be written to.
    """
    folder = file.parent
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe = folder / f".{file.name}.writable"
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise ConfigurationError(
            f"{setting}: cannot write to the folder {folder} ({error.strerror}); create it, or give this user access"
        ) from error


def open_engine(url: URL, **pool: Any) -> AsyncEngine:
    """An engine for `url`; nothing is connected yet. `pool` is what SQLAlchemy takes for its pool."""
    if not is_sqlite(url):
        return create_async_engine(url, pool_pre_ping=True, **pool)
    if sqlite_file(url) is None:
        # A database in memory is its connection: there is one, and whoever needs it waits for it.
        pool = {**pool, "poolclass": AsyncAdaptedQueuePool, "pool_size": 1, "max_overflow": 0}
    engine = create_async_engine(url, connect_args={"timeout": _BUSY_TIMEOUT}, **pool)
    event.listen(engine.sync_engine, "connect", _prepare_sqlite)
    event.listen(engine.sync_engine, "begin", _begin_now_if_asked)
    event.listen(engine.sync_engine, "before_cursor_execute", _begin_before_the_first_write)
    return engine


def connections_of(engine: AsyncEngine) -> int:
    """How many connections the engine has open, in use or not."""
    pool = engine.sync_engine.pool
    return pool.checkedin() + pool.checkedout() if isinstance(pool, QueuePool) else 0


async def enter_wal(engine: AsyncEngine) -> None:
    """Switch the file of a SQLite engine to WAL, which it then keeps; nothing on other databases.

    Raises:
        OperationalError: others had the file locked for as long as a writer may take.
    """
    if engine.dialect.name != "sqlite":
        return
    deadline = time.monotonic() + _BUSY_TIMEOUT
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


def _prepare_sqlite(dbapi_connection: Any, _record: object) -> None:
    dbapi_connection.isolation_level = None  # we say BEGIN ourselves, below
    cursor = dbapi_connection.cursor()
    cursor.execute("PRAGMA foreign_keys=ON")
    cursor.close()


# Python's sqlite3 begins a deferred transaction, which cannot become a writing one once another connection has written:
# the request fails with "database is locked" at once, whatever the time-out. So a transaction that writes takes the
# write lock first and queues for it; one that only reads takes none (see docs/explanation/decisions).
BEGIN_IMMEDIATE = {"tenancy_begin": "IMMEDIATE"}


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
    cursor = connection.connection.cursor()
    cursor.execute("BEGIN IMMEDIATE")
    cursor.close()


def _driver_connection(connection: Connection) -> Any:
    return connection.connection.driver_connection
