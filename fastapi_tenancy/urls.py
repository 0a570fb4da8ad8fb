"""Database URLs: what people write, and what they mean by it."""

from pathlib import Path
from urllib.parse import quote

from sqlalchemy import URL, make_url
from sqlalchemy.exc import ArgumentError, NoSuchModuleError

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

_SYNC_DRIVERS = {
    "sqlite+aiosqlite": "sqlite+pysqlite",
    "postgresql+psycopg": "postgresql+psycopg",
    "postgresql+asyncpg": "postgresql+psycopg",
    "mysql+asyncmy": "mysql+pymysql",
    "mysql+aiomysql": "mysql+pymysql",
    "mariadb+asyncmy": "mariadb+pymysql",
    "mariadb+aiomysql": "mariadb+pymysql",
}

_BACKENDS = ("sqlite", "postgresql", "mysql", "mariadb")

DEFAULT_PORTS = {"postgresql": 5432, "mysql": 3306, "mariadb": 3306}


def parse_url(text: str, setting: str) -> URL:
    """The URL that `text` means, with an asynchronous driver that is installed.

    Raises:
        ConfigurationError: it is no URL, or its database or driver is unknown, synchronous or missing. The message
            never shows the URL, which may hold a password.
    """
    try:
        url = make_url(text)
    except ArgumentError as error:
        raise ConfigurationError(
            f"{setting} is not a database URL; write it like sqlite+aiosqlite:///./data/tenancy.db"
        ) from error
    url = url.set(drivername=_DRIVERS.get(url.drivername, url.drivername))
    if url.get_backend_name() not in _BACKENDS:
        raise ConfigurationError(
            f"{setting} is for the database {url.get_backend_name()!r}; use one of {', '.join(_BACKENDS)}"
        )
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


def server_of(url: URL) -> str:
    """Host and port, the same however they are written."""
    host = url.host or url.query.get("host") or url.query.get("unix_socket") or "localhost"
    port = url.port or DEFAULT_PORTS[url.get_backend_name()]
    return f"{host if isinstance(host, str) else ','.join(host)}:{port}".lower()


def synchronous(url: URL) -> URL:
    """The same database by way of a driver for threads.

    Raises:
        ConfigurationError: that driver is not installed.
    """
    url = url.set(drivername=_SYNC_DRIVERS[url.drivername])
    try:
        url.get_dialect().import_dbapi()
    except ModuleNotFoundError as error:
        raise ConfigurationError(
            f"synchronous sessions need the driver {error.name!r}, which is not installed: pip install {error.name}"
        ) from error
    return url
