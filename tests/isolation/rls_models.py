"""Tables under row-level security with two tenants' rows in them, and ways to be one of the two."""

from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from importlib.util import find_spec
from typing import Any, NamedTuple

import pytest
from servers import drop_database, new_database, plain_role
from sqlalchemy import Connection, Engine, ForeignKey, create_engine, insert, make_url, select, text
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession, create_async_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column, relationship

from fastapi_tenancy.multitenant.isolation import TenantScoped
from fastapi_tenancy.multitenant.isolation.rls import RLSIsolation

A, B = "a" * 32, "b" * 32
DRIVERS = (
    "psycopg",
    pytest.param(
        "asyncpg", marks=pytest.mark.skipif(find_spec("asyncpg") is None, reason="the driver asyncpg is not installed")
    ),
)


class Base(DeclarativeBase):
    pass


class Author(TenantScoped, Base):
    __tablename__ = "authors"

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(unique=True)
    notes: Mapped[list["Note"]] = relationship(back_populates="author")


class Note(TenantScoped, Base):
    __tablename__ = "notes"

    id: Mapped[int] = mapped_column(primary_key=True)
    text: Mapped[str]
    author_id: Mapped[int | None] = mapped_column(ForeignKey("authors.id"))
    country_id: Mapped[int | None] = mapped_column(ForeignKey("countries.id"))
    author: Mapped[Author | None] = relationship(back_populates="notes")
    country: Mapped["Country | None"] = relationship()


class Country(Base):
    __tablename__ = "countries"
    __table_args__ = {"info": {"tenancy": "shared"}}  # noqa: RUF012 - as SQLAlchemy's documentation has it

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str]


class Database(NamedTuple):
    """The URL of a database as a superuser's, and as that of the plain role that owns it."""

    superuser: str
    role: str

    def isolation(self) -> RLSIsolation:
        return RLSIsolation(Base.metadata, make_url(self.role))

    def run(self, *statements: str, as_superuser: bool = False) -> None:
        with connected(self.superuser if as_superuser else self.role) as connection:
            for statement in statements:
                connection.exec_driver_sql(statement)

    def prepare(self, url: str | None = None) -> None:
        with connected(url or self.role) as connection:
            self.isolation().prepare(connection)


@contextmanager
def empty_database(server_url: str) -> Iterator[Database]:
    url = new_database(server_url)
    try:
        yield Database(url, plain_role(url))
    finally:
        drop_database(url)


@contextmanager
def planted_database(server_url: str) -> Iterator[Database]:
    """A prepared database: ids 1 and 2 are A's and say alpha, 101 and 102 are B's and say bravo."""
    with empty_database(server_url) as database:
        database.prepare()
        _plant(database)
        yield database


def _plant(database: Database) -> None:
    with connected(database.role) as operator:
        operator.execute(insert(Country), [{"id": 1, "name": "Norway"}])
    with guarded_sync(database) as (isolation, engine):
        for tenant, first, word in ((A, 1, "alpha"), (B, 101, "bravo")):
            with isolation.sessionmaker(engine, AsyncSession, tenant)() as session:
                session.add(Author(id=first, name=f"{word}-author"))
                session.flush()
                session.add_all(Note(id=i, text=f"{word}-{i}", author_id=first) for i in (first, first + 1))
                session.commit()


@contextmanager
def connected(url: str) -> Iterator[Connection]:
    """A transaction outside of any tenant."""
    engine = create_engine(url)
    try:
        with engine.begin() as connection:
            yield connection
    finally:
        engine.dispose()


@contextmanager
def guarded_sync(database: Database) -> Iterator[tuple[RLSIsolation, Engine]]:
    engine, isolation = create_engine(database.role), database.isolation()
    isolation.guard(engine)
    try:
        yield isolation, engine
    finally:
        engine.dispose()


class Tenants(NamedTuple):
    """A guarded engine with one connection, which all tenants share one after the other."""

    isolation: RLSIsolation
    engine: AsyncEngine

    def session_of(self, tenant: str) -> AsyncSession:
        session: AsyncSession = self.isolation.sessionmaker(self.engine, AsyncSession, tenant)()
        return session


@asynccontextmanager
async def guarded(database: Database, driver: str) -> AsyncIterator[Tenants]:
    url = make_url(database.role).set(drivername=f"postgresql+{driver}")
    engine, isolation = create_async_engine(url, pool_size=1, max_overflow=0), database.isolation()
    isolation.guard(engine.sync_engine)
    try:
        yield Tenants(isolation, engine)
    finally:
        await engine.dispose()


@contextmanager
def sync_session_of(database: Database, tenant: str) -> Iterator[Session]:
    with (
        guarded_sync(database) as (isolation, engine),
        isolation.sessionmaker(engine, AsyncSession, tenant)() as session,
    ):
        yield session


def not_of(superuser: Connection, tenant: str) -> list[Any]:
    """All rows that are not `tenant`'s."""
    return [
        tuple(row)
        for table in Base.metadata.sorted_tables
        for row in superuser.execute(select(table).order_by(table.c.id))
        if getattr(row, "tenant_id", None) != tenant
    ]


def seen_by(connection: Connection, tenant: str) -> list[Any]:
    """All rows that `tenant` has inside the transaction of another tenant, read past the library."""
    cursor = connection.connection.cursor()
    cursor.execute(f"SELECT set_config('tenancy.tenant_id', '{tenant}', true)")
    rows = []
    for table in Base.metadata.sorted_tables:
        cursor.execute(f"SELECT * FROM {table.name} ORDER BY id")
        rows += [tuple(row) for row in cursor.fetchall()]
    cursor.close()
    return rows


async def texts(session: AsyncSession) -> Sequence[str]:
    return (await session.scalars(text("SELECT text FROM notes ORDER BY text"))).all()
