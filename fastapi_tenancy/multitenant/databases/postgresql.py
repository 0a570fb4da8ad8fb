"""A tenant's own PostgreSQL database: built under another name, and renamed when it is whole."""

import asyncio
import random
from collections import defaultdict
from contextlib import AbstractAsyncContextManager, nullcontext
from functools import partial

from sqlalchemy import URL, Connection, column, table, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection

from ...errors import ConfigurationError, TenantUnavailableError
from ...tenant import Tenant
from .. import ddl
from ..owner import mark, owner_at_once, owner_of
from ..profile import RootProfile
from . import roles
from .addresses import Address
from .base import ServerDatabases, connected, draft_of, error_code, make_tables, quoted, taken
from .own_template import OwnTemplates

_IN_USE, _MISSING, _DUPLICATE = "55006", "3D000", "42P04"

# How often `CREATE DATABASE` is tried while somebody uses what it copies; the server itself waits 5 s each time.
_TRIES = 3

# A pooler such as PgBouncer keeps its connections to the draft, and a database that is in use cannot be renamed.
_DISCONNECT = text(
    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = :name AND usename = current_user"
)


class _TemplateGoneError(TenantUnavailableError):
    """What was to be copied is not there any more."""


class PostgreSQLDatabases(ServerDatabases):
    """A database for each tenant, on the deployment's server or on any other."""

    names = table("pg_database", column("datname"), schema="pg_catalog").c.datname

    def __init__(self, root_profile: RootProfile) -> None:
        super().__init__(root_profile)
        self._template = root_profile.settings.tenant_template
        self._keeps_roles_out = root_profile.settings.tenant_role
        self._own = OwnTemplates(root_profile)
        self._script = ddl.MadeOnce[str]()
        self._turns: defaultdict[str | None, asyncio.Lock] = defaultdict(asyncio.Lock)

    async def create(self, address: Address, tenant: Tenant) -> None:
        draft = draft_of(tenant)
        try:
            is_there = await self._begun(address, draft)
        except _TemplateGoneError:
            self._own.forget()
            is_there = await self._begun(address, draft)
        if is_there:
            await self._require_owner(address, tenant)
        else:
            if self._template is not None and self._root_profile.head is not None:
                await asyncio.to_thread(self._migrate, address.admin.set(database=draft))
            async with self._transaction(address.admin.set(database=draft)) as connection:
                await connection.run_sync(self._fill, address, tenant)
            async with self._autocommit(*address.maintenance) as server:
                await self._rename(server, draft, address, tenant)

    async def drop(self, address: Address, tenant: Tenant) -> None:
        draft = draft_of(tenant)
        async with self._autocommit(*address.maintenance) as server:
            found = await self._existing(server, address.name, draft)
            if draft in found:
                await self._drop(server, draft)
        if address.name in found:
            await self._require_owner(address, tenant)
            async with self._autocommit(*address.maintenance) as server:
                if address.role is not None:
                    await roles.take_over(server, address.role)
                await self._drop(server, address.name)
        if address.role is not None:
            async with self._autocommit(*address.maintenance) as server:
                await roles.drop(server, address.role)

    async def _begun(self, address: Address, draft: str) -> bool:
        """Whether a database is there already; else its draft is, copied from the template."""
        head, template = self._root_profile.head, self._template
        if template is None and head is not None:
            template = await self._own.on_server(address, head)
        async with self._turn(address), self._autocommit(*address.maintenance) as server:
            found = await self._existing(server, address.name, draft)
            if draft in found:
                await self._drop(server, draft)
            if address.name not in found:
                await self._begin(server, draft, address, template)
        return address.name in found

    async def _begin(self, server: AsyncConnection, draft: str, address: Address, template: str | None) -> None:
        if address.role is not None:
            await roles.create(server, address.role, str(address.url.password))
        await self._copy(server, draft, template)
        if self._keeps_roles_out or address.role is not None:
            await roles.keep_out(server, draft)
        if address.role is not None:
            await roles.let_in(server, address.role, draft)

    async def _copy(self, server: AsyncConnection, draft: str, template: str | None) -> None:
        statement = "CREATE DATABASE {draft}" + (" TEMPLATE {template}" if template else "")
        statement = quoted(server, statement, draft=draft, template=template or "")
        for tries_left in reversed(range(_TRIES)):
            try:
                await server.exec_driver_sql(statement)
            except DBAPIError as error:
                if error_code(error) == _MISSING and self._template is None:
                    raise _TemplateGoneError("somebody dropped the library's template; try again") from error
                if error_code(error) == _MISSING:
                    raise ConfigurationError(
                        f"the server has no database {self._template!r}, which tenant_template names; create it first"
                    ) from error
                if error_code(error) != _IN_USE or not tries_left:
                    raise
            else:
                return
            await asyncio.sleep(random.random())  # noqa: S311 - so that those who wait do not all come back at once

    def _fill(self, connection: Connection, address: Address, tenant: Tenant) -> None:
        if self._template is not None and owner_of(connection) is not None:
            raise ConfigurationError(
                f"tenant_template names {self._template!r}, the database of a tenant; name one that belongs to nobody"
            )
        if self._root_profile.head is None:  # else the template has them, or the migrations have made them
            self._create_tables(connection)
        mark(connection, tenant.id)
        if address.role is not None:
            roles.let_use(connection, address.role)

    def _create_tables(self, connection: Connection) -> None:
        if self._template is None and not ddl.runs_python(self._metadata, self._metadata.tables.values()):
            script = self._script.get(self._metadata.tables.values(), partial(self._render, connection))
            ddl.run_script(connection, script)
        else:
            self._metadata.create_all(connection, checkfirst=self._template is not None)

    def _migrate(self, draft: URL) -> None:
        with connected(draft) as connection:
            make_tables(self._root_profile, connection)

    def _render(self, connection: Connection) -> str:
        """What creates the tables, in one round trip."""
        dialect = connection.dialect
        # A script has no parameters, so that a % in it means itself.
        plain = ddl.dialect_with(dialect, type(dialect.identifier_preparer), paramstyle="named", positional=False)
        schema = dialect.default_schema_name or "public"
        return "\n;\n".join(ddl.rendered_tables(plain, schema, self._metadata, self._metadata.sorted_tables))

    async def _rename(self, server: AsyncConnection, draft: str, address: Address, tenant: Tenant) -> None:
        await server.execute(_DISCONNECT, {"name": draft})
        try:
            await server.exec_driver_sql(
                quoted(server, "ALTER DATABASE {draft} RENAME TO {name}", draft=draft, name=address.name)
            )
        except DBAPIError as error:
            if error_code(error) != _DUPLICATE:
                raise
            await self._drop(server, draft)
            raise taken(f"a database {address.name!r}", tenant) from error

    async def _require_owner(self, address: Address, tenant: Tenant) -> None:
        async with self._transaction(address.admin) as connection:
            if await connection.run_sync(owner_at_once) != tenant.id:
                raise taken(f"a database {address.name!r}", tenant)

    async def _drop(self, server: AsyncConnection, name: str) -> None:
        await server.exec_driver_sql(quoted(server, "DROP DATABASE IF EXISTS {name} WITH (FORCE)", name=name))

    def _turn(self, address: Address) -> AbstractAsyncContextManager[object]:
        """Those who may be connected to `template1` would keep each other from copying it."""
        return self._turns[address.url.host] if len(address.maintenance) > 1 else nullcontext()
