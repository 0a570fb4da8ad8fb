"""A tenant's SQLite file is a copy of a finished one."""

import asyncio
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from sqlalchemy import Column, Index, Integer, MetaData, String, Table, insert, select
from support import Base, add_notes, make_tenancy, read_notes

from fastapi_tenancy import Tenancy
from fastapi_tenancy.multitenant.databases import SQLiteFiles


@pytest.fixture
async def tenancy(tmp_path: Path):
    async with make_tenancy(tmp_path) as tenancy:
        yield tenancy


def ask(file: Path, query: str) -> list[tuple[object, ...]]:
    with closing(sqlite3.connect(file)) as connection:
        return connection.execute(query).fetchall()


async def test_a_new_file_is_whole_in_wal_mode_and_marked(tenancy: Tenancy, tmp_path: Path) -> None:
    for name in ("acme", "globex"):
        tenant = await tenancy.create_tenant(name)
        file = tmp_path / "tenants" / f"{tenant.id}.db"
        assert ask(file, "PRAGMA journal_mode") == [("wal",)]
        assert ask(file, "PRAGMA integrity_check") == [("ok",)]
        assert ask(file, "SELECT * FROM tenancy_owner") == [(tenant.id,)]
        assert {name for (name,) in ask(file, "SELECT name FROM sqlite_master WHERE type = 'table'")} == {
            *Base.metadata.tables,
            "tenancy_owner",
        }


async def test_the_tables_are_made_once_for_all_tenants(tenancy: Tenancy, monkeypatch: pytest.MonkeyPatch) -> None:
    await tenancy.create_tenant("acme")
    monkeypatch.setattr(SQLiteFiles, "_build", lambda _: pytest.fail("made again"))
    await tenancy.create_tenant("globex")
    await add_notes(tenancy, "globex", "works")
    assert await read_notes(tenancy, "globex") == ["works"]


async def test_tables_that_are_added_later_are_in_the_next_file(tmp_path: Path) -> None:
    metadata = MetaData()
    table = Table("first", metadata, Column("id", Integer, primary_key=True))

    def add_table() -> None:
        Table("second", metadata, Column("id", Integer, primary_key=True))

    changes = [
        add_table,
        lambda: table.append_column(Column("more", String(9))),
        lambda: Index("by_more", table.c.more),
    ]
    async with make_tenancy(tmp_path, metadata=metadata) as tenancy:
        await tenancy.create_tenant("before")
        for number, change in enumerate(changes):
            change()
            tenant = await tenancy.create_tenant(f"n{number}")
        query = "SELECT name FROM sqlite_master WHERE name IN ('second', 'by_more')"
        assert len(ask(tmp_path / "tenants" / f"{tenant.id}.db", query)) == 2
        async with tenancy.use(tenant.identifier) as profile, profile.transaction() as session:
            await session.execute(insert(table).values(more="x"))
            assert list(await session.scalars(select(table.c.more))) == ["x"]


async def test_many_are_created_at_once(tenancy: Tenancy, tmp_path: Path) -> None:
    tenants = await asyncio.gather(*(tenancy.create_tenant(f"n{number}") for number in range(20)))
    assert {file.name for file in (tmp_path / "tenants").iterdir()} == {f"{tenant.id}.db" for tenant in tenants}


async def test_a_folder_that_cannot_be_written_to_is_named(tmp_path: Path) -> None:
    (tmp_path / "tenants").touch()
    async with make_tenancy(tmp_path) as tenancy:
        with pytest.raises(ValueError, match="cannot write to the folder"):
            await tenancy.create_tenant("acme")
