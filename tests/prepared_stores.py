"""An empty store, made once and then copied: most tests want one, and only those of the store want to see it made."""

from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

from servers import administer, new_database, plain_role
from sqlalchemy import NullPool, create_engine, make_url

from fastapi_tenancy.migrations import upgrade_store_tables
from fastapi_tenancy.urls import synchronous


def put_store(file: Path) -> None:
    """Make the SQLite file, unless there is one or its folder is missing."""
    if file.parent.is_dir() and not file.exists():
        file.write_bytes(_sqlite_store())


def new_store_database(server_url: str, *, by_role: bool = False) -> str:
    """As `new_database`, with a store in it; by a plain role, on PostgreSQL, both belong to it."""
    if make_url(server_url).get_backend_name() == "postgresql":
        store = make_url(_postgresql_store(server_url, by_role))
        database = make_url(new_database(server_url, store.database, store.username))
        return store.set(database=database.database).render_as_string(hide_password=False)
    database_url = new_database(server_url)
    administer(server_url, f"USE {make_url(database_url).database}", *_mysql_store(server_url))
    return database_url


@cache
def _sqlite_store() -> bytes:
    with TemporaryDirectory() as folder:
        file = Path(folder, "store.db")
        _make_store(f"sqlite:///{file}", "PRAGMA journal_mode=WAL")
        return file.read_bytes()


@cache
def _postgresql_store(server_url: str, by_role: bool) -> str:
    database = new_database(server_url)
    url = plain_role(database) if by_role else database
    _make_store(url)
    return url


@cache
def _mysql_store(server_url: str) -> tuple[str, ...]:
    """The statements that make one in the current database."""
    database = new_database(server_url)
    _make_store(synchronous(make_url(database)).render_as_string(hide_password=False))
    name = make_url(database).database
    tables = [table for (table,) in administer(server_url, f"SHOW TABLES IN {name}")]
    made = [administer(server_url, f"SHOW CREATE TABLE {name}.{table}")[0][1] for table in tables]
    filled = [
        f"INSERT INTO {table} SELECT * FROM {name}.{table}"
        for table in tables
        if administer(server_url, f"SELECT 1 FROM {name}.{table}")
    ]
    return "SET foreign_key_checks = 0", *made, *filled, "SET foreign_key_checks = 1"


def _make_store(url: str, *first: str) -> None:
    engine = create_engine(url, poolclass=NullPool)
    with engine.connect() as connection:
        for statement in first:
            connection.exec_driver_sql(statement)
    with engine.begin() as connection:
        upgrade_store_tables(connection)
