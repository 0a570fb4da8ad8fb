"""A tenant's own database on MariaDB or MySQL, which cannot rename one: what is not marked yet is not finished."""

import asyncio
from collections.abc import Collection
from contextlib import suppress

from sqlalchemy import Connection, column, table, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection

from ...tenant import Tenant
from ..owner import mark, owner_at_once
from .addresses import Address
from .base import ServerDatabases, connected, draft_of, error_code, make_tables, quoted, taken

_EXISTS = 1007

# Seconds that a DROP waits for sessions that could not be ended; the server's default is a day or a year.
_PATIENCE = "SET SESSION lock_wait_timeout = 10"

_sessions = text("SELECT id FROM information_schema.processlist WHERE db = :name AND id <> connection_id()")


class MySQLDatabases(ServerDatabases):
    """A database for each tenant, on the deployment's server or on any other.

    A database with the tenant's id in its name can only be ours. Of any other name, an empty database beside it, which
    has the id in its name, notes that we are at work: we began when nothing was there, so what is there now is ours.
    """

    names = table("schemata", column("schema_name"), schema="information_schema").c.schema_name

    async def create(self, address: Address, tenant: Tenant) -> None:
        async with self._autocommit(*address.maintenance) as server:
            found = await self._existing(server, address.name, draft_of(tenant))
            finished = address.name in found and await self._is_finished(server, address, tenant, found)
            if not finished:
                await self._begin(server, address, tenant, found)
        if not finished:
            if self._root_profile.head is not None:
                await asyncio.to_thread(self._migrate, address)
            async with self._transaction(address.url) as connection:
                await connection.run_sync(self._fill, tenant)
        if not _is_named_after(tenant, address):
            async with self._autocommit(*address.maintenance) as server:
                await self._drop(server, draft_of(tenant))

    async def drop(self, address: Address, tenant: Tenant) -> None:
        note = draft_of(tenant)
        async with self._autocommit(*address.maintenance) as server:
            found = await self._existing(server, address.name, note)
            if address.name in found:
                if await self._is_finished(server, address, tenant, found) and note not in found:
                    await _run(server, "CREATE DATABASE {name}", note)
                await self._drop(server, address.name)
            await self._drop(server, note)

    async def _is_finished(
        self, server: AsyncConnection, address: Address, tenant: Tenant, found: Collection[str]
    ) -> bool:
        """Whether the database is the tenant's and whole; False where it is half built, or half dropped."""
        owner = await server.run_sync(owner_at_once, address.name)
        if owner == tenant.id:
            return True
        if owner is None and (draft_of(tenant) in found or _is_named_after(tenant, address)):
            return False
        raise taken(f"a database {address.name!r}", tenant)

    async def _begin(self, server: AsyncConnection, address: Address, tenant: Tenant, found: Collection[str]) -> None:
        note = draft_of(tenant)
        if address.name in found:
            await self._drop(server, address.name)
        elif note not in found and not _is_named_after(tenant, address):
            await _run(server, "CREATE DATABASE {name}", note)
        # A server that was told its character set has a collation of its own too; one that was not may be on latin1.
        told = str(await server.scalar(text("SELECT @@character_set_server"))) == "utf8mb4"
        try:
            await _run(server, "CREATE DATABASE {name}" + ("" if told else " CHARACTER SET utf8mb4"), address.name)
        except DBAPIError as error:
            if error_code(error) != _EXISTS:
                raise
            await self._drop(server, note)
            raise taken(f"a database {address.name!r}", tenant) from error

    def _migrate(self, address: Address) -> None:
        with connected(address.url) as connection:
            make_tables(self._root_profile, connection)

    def _fill(self, connection: Connection, tenant: Tenant) -> None:
        if self._root_profile.head is None:
            make_tables(self._root_profile, connection)
        mark(connection, tenant.id)

    async def _drop(self, server: AsyncConnection, name: str) -> None:
        if name not in await self._existing(server, name):
            return  # IF EXISTS would have the driver log a warning
        for session in await server.scalars(_sessions, {"name": name}):
            with suppress(DBAPIError):  # it has ended, or is another user's
                await server.exec_driver_sql(f"KILL {session:d}")
        await server.exec_driver_sql(_PATIENCE)
        await _run(server, "DROP DATABASE {name}", name)


async def _run(server: AsyncConnection, statement: str, name: str) -> None:
    await server.exec_driver_sql(quoted(server, statement, name=name))


def _is_named_after(tenant: Tenant, address: Address) -> bool:
    return tenant.id in address.name
