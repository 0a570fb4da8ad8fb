"""A tenant's own SQLite file: a copy of a finished one, marked with its owner, and put into its place whole."""

import asyncio
import os
import sqlite3
from contextlib import closing, suppress
from pathlib import Path
from uuid import uuid4

from sqlalchemy import create_engine, insert, select

from ...errors import ConfigurationError, NamespaceMissingError
from ...sqlite import enter_wal
from ...tenant import Tenant
from ...urls import existing_sqlite, make_parent, sqlite_file
from ..ddl import MadeOnce
from ..engine_pair import EnginePair
from ..owner import owner_table
from ..profile import RootProfile
from .addresses import Address
from .base import Databases, make_tables, taken

_owner = owner_table()
_OWNER = str(select(_owner.c.tenant_id))

# Whose the finished file is, until a copy is made: as long as an id, so that its bytes can be put in their place.
_NOBODY = uuid4().hex.encode()

# Which journal a file has: <https://www.sqlite.org/fileformat.html#file_format_version_numbers>
_FORMAT_VERSIONS, _WAL = slice(18, 20), b"\x02\x02"


class SQLiteFiles(Databases):
    """A file for each tenant."""

    def __init__(self, root_profile: RootProfile) -> None:
        super().__init__(root_profile)
        self._template = MadeOnce[bytes]()

    async def create(self, address: Address, tenant: Tenant) -> None:
        file = file_of(address)
        if file.exists():
            if await asyncio.to_thread(_owner_of, file) != tenant.id:
                raise taken(file, tenant)
            return
        try:
            await asyncio.to_thread(self._copy, file, tenant)
        except OSError:
            make_parent(file, "tenant_database_url")  # says what is wrong with it, if anything
            await asyncio.to_thread(self._copy, file, tenant)

    async def open(self, address: Address, tenant: Tenant) -> EnginePair:
        file = file_of(address)
        if not file.exists():
            raise NamespaceMissingError(f"the database of tenant {tenant.identifier!r} is missing; restore {file}")
        owner = await asyncio.to_thread(_owner_of, file)
        if owner != tenant.id:
            raise NamespaceMissingError(f"{file} belongs to {owner or 'nobody'} and not to {tenant.id}; restore it")
        return await in_wal(EnginePair(self._engines, existing_sqlite(file)))

    async def drop(self, address: Address, tenant: Tenant) -> None:
        file = file_of(address)
        unlink(draft_of_file(file))
        if file.exists():
            if await asyncio.to_thread(_owner_of, file) != tenant.id:
                raise taken(file, tenant)
            unlink(file)

    def _copy(self, file: Path, tenant: Tenant) -> None:
        template = self._template.get(self._metadata.tables.values(), self._build, self._root_profile.head)
        _write(file, template.replace(_NOBODY, _as_long_as(_NOBODY, tenant.id)))

    def _build(self) -> bytes:
        engine = create_engine("sqlite://")
        with engine.connect() as connection:
            make_tables(self._root_profile, connection)
            _owner.create(connection)
            connection.execute(insert(_owner).values(tenant_id=_NOBODY.decode()))
            connection.commit()
            connection.exec_driver_sql("VACUUM")  # migrations may have rebuilt tables
            driver: sqlite3.Connection = connection.connection.driver_connection  # type: ignore[assignment]  # pysqlite's
            content = bytearray(driver.serialize())
        engine.dispose()
        content[_FORMAT_VERSIONS] = _WAL
        return bytes(content)


async def in_wal(engines: EnginePair) -> EnginePair:
    """The engines of a file that is there, once its journal is a write-ahead log."""
    try:
        await enter_wal(engines.engine)
    except BaseException:
        await engines.dispose()
        raise
    return engines


def _write(file: Path, content: bytes) -> None:
    draft = draft_of_file(file)
    try:
        with draft.open("wb") as target:
            target.write(content)
            target.flush()
            os.fsync(target.fileno())
        # The file is there whole or not at all, also after a kill.
        draft.rename(file)
    finally:
        unlink(draft)


def _as_long_as(other: bytes, tenant_id: str) -> bytes:
    if len(tenant_id.encode()) != len(other):
        raise ConfigurationError(f"a tenant's id has {len(other)} characters, not {len(tenant_id)}")
    return tenant_id.encode()


def file_of(address: Address) -> Path:
    return Path(sqlite_file(address.url) or "")


def _owner_of(file: Path) -> str | None:
    """The id in the file's mark, read without changing a byte; None where there is none."""
    with closing(sqlite3.connect(f"{file.as_uri()}?mode=ro", uri=True)) as connection:
        try:
            rows = connection.execute(_OWNER).fetchall()
        except sqlite3.DatabaseError:
            return None  # no such table, or no database at all: not one of ours
    return rows[0][0] if len(rows) == 1 else None


def draft_of_file(file: Path) -> Path:
    return file.with_name(f"{file.name}.provisioning")


def unlink(file: Path) -> None:
    for suffix in ("-wal", "-shm", ""):
        with suppress(FileNotFoundError, NotADirectoryError):
            file.with_name(file.name + suffix).unlink()
