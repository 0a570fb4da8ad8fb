"""Databases that hold the rows of one tenant or two, and sessions of one of them."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from isolation.row_models import A, B, Base, Country, rows_of, said
from sqlalchemy import Connection, create_engine, delete, func, insert, make_url, select
from sqlalchemy.exc import CompileError, DBAPIError
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession, create_async_engine
from sqlalchemy.schema import CreateTable

from fastapi_tenancy.multitenant.isolation import RowIsolation, stamped_sessionmaker
from fastapi_tenancy.urls import synchronous

SERVERS = ("sqlite", "postgresql", "mariadb")

Rows = dict[str, list[tuple[Any, ...]]]


class Database:
    """A database with the rows of `tenants`: ids 1 to 4 are A's and say alpha, 101 to 104 are B's and say bravo.

    `rows` and `restore` work behind the library's back, on a connection that stays open.
    `guarded` and `unguarded` belong to the loop that uses them, until it calls `disconnect`.
    """

    def __init__(self, url: str, *tenants: str) -> None:
        self.url = url
        self.isolation = RowIsolation(Base.metadata)
        self.guarded = create_async_engine(url)
        self.isolation.guard(self.guarded)
        self.unguarded = create_async_engine(url)
        self._tenants = tenants
        self._engine = create_engine(synchronous(make_url(url)))
        self._create()
        self._plant()
        self._planted = self.rows()

    def rows(self) -> Rows:
        with self._engine.connect() as connection:
            return {
                table.name: sorted(
                    map(tuple, connection.exec_driver_sql(f"SELECT * FROM {table.name}").cursor.fetchall()), key=str
                )
                for table in Base.metadata.sorted_tables
            }

    def rows_but(self, tenant: str) -> Rows:
        """All rows that are not `tenant`'s."""
        return {name: [row for row in rows if tenant not in row] for name, rows in self.rows().items()}

    def restore(self) -> None:
        if self.rows() != self._planted:
            self._plant()

    async def disconnect(self) -> None:
        await self.guarded.dispose()
        await self.unguarded.dispose()

    def close(self) -> None:
        self._engine.dispose()

    def _create(self) -> None:
        with self._engine.begin() as connection:
            for table in Base.metadata.sorted_tables:
                # Foreign keys would stop what we have to stop: a tenant who refers to another's rows.
                connection.execute(CreateTable(table, include_foreign_key_constraints=[]))

    def _plant(self) -> None:
        with self._engine.begin() as connection:
            for table in Base.metadata.sorted_tables:
                connection.execute(delete(table))
            connection.execute(insert(Country), [{"id": 1, "name": "Norway"}])
            for tenant, first, word in ((A, 1, "alpha"), (B, 101, "bravo")):
                if tenant in self._tenants:
                    for table, rows in rows_of(tenant, first, word).items():
                        connection.execute(insert(table), rows)
            if connection.dialect.name == "postgresql":
                _number_from(connection, 1000)


def _number_from(connection: Connection, first: int) -> None:
    """The keys that were given are no news to PostgreSQL's sequences."""
    for table in Base.metadata.sorted_tables:
        if table.autoincrement_column is not None:
            sequence = func.pg_get_serial_sequence(table.name, table.autoincrement_column.name)
            connection.execute(select(func.setval(sequence, first)))


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
