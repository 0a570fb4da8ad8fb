"""Databases that hold the rows of one tenant or two, and sessions of one of them."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from anyio.from_thread import BlockingPortal
from isolation.row_models import A, B, Base, Country, rows_of, said
from sqlalchemy import delete, func, insert, select, text
from sqlalchemy.exc import CompileError, DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, AsyncSession, create_async_engine
from sqlalchemy.schema import CreateTable

from fastapi_tenancy.multitenant.isolation import RowIsolation, stamped_sessionmaker

SERVERS = ("sqlite", "postgresql", "mariadb")

Rows = dict[str, list[tuple[Any, ...]]]


class Database:
    """A database with the rows of `tenants`: ids 1 to 4 are A's and say alpha, 101 to 104 are B's and say bravo.

    `rows` and `restore` work behind the library's back, on a connection that stays open in the loop of `portal`.
    `guarded` and `unguarded` belong to the loop that uses them, until it calls `disconnect`.
    """

    def __init__(self, url: str, portal: BlockingPortal, *tenants: str) -> None:
        self.url = url
        self.isolation = RowIsolation(Base.metadata)
        self.guarded = create_async_engine(url)
        self.isolation.guard(self.guarded)
        self.unguarded = create_async_engine(url)
        self._portal, self._tenants = portal, tenants
        self._engine = create_async_engine(url)
        portal.call(self._create)
        portal.call(self._plant)
        self._planted = self.rows()

    def rows(self) -> Rows:
        return self._portal.call(self._read)

    def rows_but(self, tenant: str) -> Rows:
        """All rows that are not `tenant`'s."""
        return {name: [row for row in rows if tenant not in row] for name, rows in self.rows().items()}

    def restore(self) -> None:
        if self.rows() != self._planted:
            self._portal.call(self._plant)

    async def disconnect(self) -> None:
        await self.guarded.dispose()
        await self.unguarded.dispose()

    def close(self) -> None:
        self._portal.call(self._engine.dispose)

    async def _create(self) -> None:
        async with self._engine.begin() as connection:
            for table in Base.metadata.sorted_tables:
                # Foreign keys would stop what we have to stop: a tenant who refers to another's rows.
                await connection.execute(CreateTable(table, include_foreign_key_constraints=[]))

    async def _plant(self) -> None:
        async with self._engine.begin() as connection:
            for table in Base.metadata.sorted_tables:
                await connection.execute(delete(table))
            await connection.execute(insert(Country), [{"id": 1, "name": "Norway"}])
            for tenant, first, word in ((A, 1, "alpha"), (B, 101, "bravo")):
                if tenant in self._tenants:
                    for table, rows in rows_of(tenant, first, word).items():
                        await connection.execute(insert(table), rows)
            if connection.dialect.name == "postgresql":
                await _number_from(connection, 1000)

    async def _read(self) -> Rows:
        async with self._engine.connect() as connection:
            return {
                table.name: sorted(map(tuple, await connection.execute(text(f"SELECT * FROM {table.name}"))), key=str)
                for table in Base.metadata.sorted_tables
            }


async def _number_from(connection: AsyncConnection, first: int) -> None:
    """The keys that were given are no news to PostgreSQL's sequences."""
    for table in Base.metadata.sorted_tables:
        if table.autoincrement_column is not None:
            sequence = func.pg_get_serial_sequence(table.name, table.autoincrement_column.name)
            await connection.execute(select(func.setval(sequence, first)))


@asynccontextmanager
async def session_of(database: Database, tenant: str) -> AsyncIterator[AsyncSession]:
    async with database.isolation.sessionmaker(database.guarded, AsyncSession, tenant)() as session:
        yield session


@asynccontextmanager
async def session_alone(database: Database) -> AsyncIterator[AsyncSession]:
    """A session of A on a database that needs no isolation, since it holds nobody else."""
    async with stamped_sessionmaker(database.unguarded, AsyncSession, A)() as session:
        yield session


@asynccontextmanager
async def guarded(database: Database) -> AsyncIterator[tuple[RowIsolation, AsyncEngine]]:
    """An engine that keeps its connections, and has compiled nothing yet."""
    engine = create_async_engine(database.url)
    isolation = RowIsolation(Base.metadata)
    isolation.guard(engine)
    try:
        yield isolation, engine
    finally:
        await engine.dispose()


async def outcome(session: AsyncSession, statement: Any) -> list[str] | None:
    """None where the database does not know such a statement."""
    try:
        return said(await session.execute(statement))
    except (DBAPIError, CompileError):
        await session.rollback()
        return None
