"""URLs mean what people mean by them, and SQLite behaves as a server does."""

import asyncio
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from sqlalchemy import text
from sqlalchemy.exc import OperationalError
from support import make_tenancy

from fastapi_tenancy.engines import open_engine
from fastapi_tenancy.sqlite import BEGIN_IMMEDIATE, enter_wal
from fastapi_tenancy.urls import existing_sqlite, parse_url, sqlite_file


@pytest.mark.parametrize(
    ("written", "driver"),
    [
        ("sqlite:///x.db", "sqlite+aiosqlite"),
        ("sqlite+pysqlite:///x.db", "sqlite+aiosqlite"),
        ("sqlite+aiosqlite:///x.db", "sqlite+aiosqlite"),
        ("postgres://u:p@h/d", "postgresql+psycopg"),
        ("postgresql://u:p@h/d", "postgresql+psycopg"),
        ("postgresql+psycopg2://u:p@h/d", "postgresql+psycopg"),
    ],
)
def test_a_url_gets_an_asynchronous_driver(written: str, driver: str) -> None:
    assert parse_url(written, "database_url").drivername == driver


@pytest.mark.parametrize("written", ["sqlite://", "sqlite:///:memory:", "sqlite:///file:x?mode=memory&uri=true"])
def test_a_database_in_memory_has_no_file(written: str) -> None:
    assert sqlite_file(parse_url(written, "database_url")) is None


@pytest.mark.parametrize("name", ["a b.db", "50%.db", "a#b?.db", "ü.db"])
async def test_any_file_name_can_be_opened_and_is_not_created(tmp_path: Path, name: str) -> None:
    file = tmp_path / name
    engine = open_engine(existing_sqlite(file))
    with pytest.raises(OperationalError):
        async with engine.connect() as connection:
            await connection.execute(text("SELECT 1"))
    assert not file.exists()
    file.touch()
    async with engine.connect() as connection:
        assert await connection.scalar(text("SELECT 1")) == 1
    await engine.dispose()


@pytest.fixture
async def engine(tmp_path: Path):
    engine = open_engine(parse_url(f"sqlite:///{tmp_path}/x.db", "database_url"))
    async with engine.begin() as connection:
        await connection.execute(text("CREATE TABLE t (n INTEGER)"))
    yield engine
    await engine.dispose()


@pytest.mark.parametrize(
    ("statement", "locks"),
    [
        ("SELECT * FROM t", False),
        ("  select * from t", False),
        ("PRAGMA user_version", False),
        ("EXPLAIN SELECT 1", False),
        ("VACUUM", False),
        ("BEGIN IMMEDIATE", True),
        ("INSERT INTO t VALUES (1)", True),
        ("WITH x AS (SELECT 1) INSERT INTO t SELECT * FROM x", True),
        ("CREATE TABLE u (n INTEGER)", True),
        ("SAVEPOINT a", True),
    ],
)
async def test_only_what_may_write_takes_the_write_lock(engine, statement: str, locks: bool) -> None:
    async with engine.connect() as connection:
        await connection.execute(text(statement))
        raw = await connection.get_raw_connection()
        assert raw.driver_connection.in_transaction is locks


async def test_what_is_created_in_a_transaction_is_rolled_back(engine) -> None:
    async with engine.connect() as connection:
        await connection.execute(text("CREATE TABLE u (n INTEGER)"))
        await connection.rollback()
        assert await connection.scalar(text("SELECT count(*) FROM sqlite_master WHERE name = 'u'")) == 0


async def test_a_transaction_can_take_the_write_lock_before_it_reads(engine) -> None:
    async with engine.execution_options(**BEGIN_IMMEDIATE).begin() as connection:
        raw = await connection.get_raw_connection()
        assert raw.driver_connection.in_transaction


async def test_autocommit_stays_autocommit(engine) -> None:
    async with engine.connect() as connection:
        await connection.execution_options(isolation_level="AUTOCOMMIT")
        await connection.execute(text("INSERT INTO t VALUES (1)"))
        await connection.rollback()
        assert await connection.scalar(text("SELECT count(*) FROM t")) == 1


async def test_wal_is_entered_as_soon_as_whoever_has_the_file_lets_go(tmp_path: Path) -> None:
    """SQLite itself fails at once where two switch at the same time, whatever the busy time-out."""
    url = parse_url(f"sqlite:///{tmp_path}/x.db", "database_url")
    holder, waiting = open_engine(url), open_engine(url)
    async with holder.connect() as connection:
        await connection.exec_driver_sql("BEGIN EXCLUSIVE")
        switching = asyncio.create_task(enter_wal(waiting))
        await asyncio.wait({switching}, timeout=0.05)
        assert not switching.done()
    await switching
    async with waiting.connect() as connection:
        assert (await connection.exec_driver_sql("PRAGMA journal_mode")).scalar() == "wal"
    for each in (holder, waiting):
        await each.dispose()


async def test_a_restored_copy_runs_in_wal_again(tmp_path: Path) -> None:
    async with make_tenancy(tmp_path) as tenancy:
        acme = await tenancy.create_tenant("acme")
        file = tmp_path / "tenants" / f"{acme.id}.db"
        with closing(sqlite3.connect(file)) as connection:
            connection.execute("PRAGMA journal_mode=DELETE")
        async with tenancy.use("acme") as profile, profile.session() as session:
            assert (await session.execute(text("PRAGMA journal_mode"))).scalar() == "wal"
