"""A tenant's own SQLite file: built beside its place, marked with its owner, and put there whole."""

import asyncio
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

from sqlalchemy import URL, Column, Connection, MetaData, String, Table, insert, select
from sqlalchemy.ext.asyncio import AsyncEngine

from ..engines import enter_wal, existing_sqlite, make_parent, open_engine
from ..errors import NamespaceExistsError, NamespaceMissingError
from ..tenant import Tenant

# Says whose the file is, so that it is never opened or dropped for another tenant, wherever files are moved to.
_marker = MetaData()
_owner = Table("tenancy_owner", _marker, Column("tenant_id", String(32), primary_key=True))


async def create_file(file: Path, tenant: Tenant, metadata: MetaData) -> None:
    """Create the tenant's file with its tables, or do nothing if that was done before.

    Raises:
        NamespaceExistsError: another file is there; it was not touched.
        ConfigurationError: the folder cannot be written to.
    """
    make_parent(file, "tenant_database_url")
    if file.exists():
        await _require_owner(file, tenant)
        return
    draft = _draft(file)
    _unlink(draft)
    try:
        await _build(draft, tenant, metadata)
        # The file is there whole or not at all, also after a kill.
        draft.rename(file)
    finally:
        _unlink(draft)


async def open_file(file: Path, tenant: Tenant, **pool: Any) -> AsyncEngine:
    """An engine for the tenant's file.

    Raises:
        NamespaceMissingError: there is no file, or it is another tenant's.
    """
    if not file.exists():
        raise NamespaceMissingError(f"the database of tenant {tenant.identifier!r} is missing; restore {file}")
    owner = await asyncio.to_thread(_owner_of, file)
    if owner != tenant.id:
        raise NamespaceMissingError(f"{file} belongs to {owner or 'nobody'} and not to {tenant.id}; restore it")
    engine = open_engine(existing_sqlite(file), **pool)
    try:
        await enter_wal(engine)
    except BaseException:
        await engine.dispose()
        raise
    return engine


async def drop_file(file: Path, tenant: Tenant) -> None:
    """Destroy the tenant's file, or do nothing if it is gone.

    Raises:
        NamespaceExistsError: the file is not the tenant's; it was not touched.
    """
    _unlink(_draft(file))
    if file.exists():
        await _require_owner(file, tenant)
        _unlink(file)


async def _build(draft: Path, tenant: Tenant, metadata: MetaData) -> None:
    def fill(connection: Connection) -> None:
        metadata.create_all(connection)
        _marker.create_all(connection)
        connection.execute(insert(_owner).values(tenant_id=tenant.id))

    engine = open_engine(URL.create("sqlite+aiosqlite", database=str(draft)))
    try:
        await enter_wal(engine)
        async with engine.begin() as connection:
            await connection.run_sync(fill)
    finally:
        await engine.dispose()


async def _require_owner(file: Path, tenant: Tenant) -> None:
    if await asyncio.to_thread(_owner_of, file) != tenant.id:
        raise NamespaceExistsError(f"{file} is there already and is not of {tenant.identifier!r}; move it away")


def _owner_of(file: Path) -> str | None:
    """The id in the file's mark, read without changing a byte; None where there is none."""
    with closing(sqlite3.connect(f"{file.as_uri()}?mode=ro", uri=True)) as connection:
        try:
            rows = connection.execute(str(select(_owner.c.tenant_id))).fetchall()
        except sqlite3.DatabaseError:
            return None  # no such table, or no database at all: not one of ours
    return rows[0][0] if len(rows) == 1 else None


def _draft(file: Path) -> Path:
    return file.with_name(f"{file.name}.provisioning")


def _unlink(file: Path) -> None:
    for suffix in ("-wal", "-shm", ""):
        file.with_name(file.name + suffix).unlink(missing_ok=True)
