"""An empty store, made once and then copied: most tests want one, and only those of the store want to see it made."""

from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

from servers import new_database
from sqlalchemy import NullPool, create_engine, make_url

from fastapi_tenancy.migrations import upgrade_store_tables


def put_store(file: Path) -> None:
    """Make the SQLite file, unless there is one or its folder is missing."""
    if file.parent.is_dir() and not file.exists():
        file.write_bytes(_sqlite_store())


def new_store_database(server_url: str) -> str:
    """As `new_database`, with a store in it where the server can copy one."""
    is_postgresql = make_url(server_url).get_backend_name() == "postgresql"
    return new_database(server_url, _postgresql_store(server_url) if is_postgresql else None)


@cache
def _sqlite_store() -> bytes:
    with TemporaryDirectory() as folder:
        file = Path(folder, "store.db")
        _make_store(f"sqlite:///{file}", "PRAGMA journal_mode=WAL")
        return file.read_bytes()


@cache
def _postgresql_store(server_url: str) -> str:
    database = new_database(server_url)
    _make_store(database, "SELECT 1")
    return make_url(database).database or ""


def _make_store(url: str, first: str) -> None:
    engine = create_engine(url, poolclass=NullPool)
    with engine.connect() as connection:
        connection.exec_driver_sql(first)
    with engine.begin() as connection:
        upgrade_store_tables(connection)
