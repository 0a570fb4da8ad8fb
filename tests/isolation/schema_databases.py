"""A deployment that keeps its tenants in schemas, on each server and driver, and what is written into it."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import pytest
from isolation.schema_models import Animal, Author, Base, Country, Dog, Mood, Note, Tag, Ticket
from servers import drop_database, new_database
from sqlalchemy import URL, MetaData, NullPool, insert, make_url, text
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession, create_async_engine

from fastapi_tenancy import TenancySettings, Tenant
from fastapi_tenancy.engines import Engines
from fastapi_tenancy.multitenant.isolation.schema import SchemaIsolation
from fastapi_tenancy.tenant import TenantStatus

# A database on MariaDB is the whole server's: C and D are there while A and B may be in use.
A, B, C, D = (letter * 32 for letter in "abcd")

# Driver → the fixture that has the server's URL, and the name of the driver in it.
DRIVERS = {
    "psycopg": ("postgresql_url", "postgresql+psycopg"),
    "asyncpg": ("postgresql_url", "postgresql+asyncpg"),
    "mariadb": ("mysql_url", "mysql+asyncmy"),
}


@dataclass
class Deployment:
    """The parts that a manager holds; `admin` keeps no connection."""

    driver: str
    url: URL
    isolation: SchemaIsolation
    admin: AsyncEngine
    engine: AsyncEngine
    tenants: set[str] = field(default_factory=set)

    @property
    def home(self) -> str:
        """The schema that the deployment's own tables are in."""
        return "public" if self.url.get_backend_name() == "postgresql" else str(self.url.database)

    async def run(self, work: Callable[..., Any], *arguments: Any) -> Any:
        async with self.admin.begin() as connection:
            return await connection.run_sync(work, *arguments)

    async def create(self, *tenants: str) -> None:
        for tenant_id in tenants:
            self.tenants.add(tenant_id)
            await self.run(self.isolation.create, tenant(tenant_id))

    def session(self, tenant_id: str) -> AsyncSession:
        session: AsyncSession = self.isolation.sessionmaker(self.engine, AsyncSession, tenant_id)()
        return session

    async def rows(self, query: str) -> list[tuple[Any, ...]]:
        """What the deployment's own user finds."""
        async with self.admin.connect() as connection:
            return [tuple(row) for row in await connection.execute(text(query))]

    async def execute(self, *statements: str) -> None:
        async with self.admin.begin() as connection:
            for statement in statements:
                await connection.execute(text(statement))

    async def has_schema(self, tenant_id: str) -> bool:
        query = f"SELECT count(*) FROM information_schema.schemata WHERE schema_name = 't_{tenant_id}'"
        return await self.rows(query) == [(1,)]


def tenant(tenant_id: str) -> Tenant:
    now = datetime(2026, 1, 1, tzinfo=UTC)
    active = TenantStatus.ACTIVE
    return Tenant(
        id=tenant_id, identifier=f"tenant-{tenant_id[0]}", name="T", status=active, created_at=now, updated_at=now
    )


def isolation_for(url: URL, metadata: MetaData = Base.metadata, **settings: Any) -> SchemaIsolation:
    return SchemaIsolation(metadata, url, TenancySettings(database_url=url, **settings))


@asynccontextmanager
async def deployed(
    driver: str, request: pytest.FixtureRequest, metadata: MetaData = Base.metadata, **settings: Any
) -> AsyncIterator[Deployment]:
    """A deployment in a database of its own, prepared, without tenants."""
    fixture, name = DRIVERS[driver]
    database = new_database(request.getfixturevalue(fixture))
    url = make_url(database).set(drivername=name)
    admin = create_async_engine(url, poolclass=NullPool)
    isolation = isolation_for(url, metadata, **settings)
    engines = Engines(TenancySettings(database_url=url, **{"pool_size": 2, "max_overflow": 0, **settings}))
    engine = engines.open(isolation.tenants_url(url), starts_with=isolation.starts_with)
    isolation.guard(engine.sync_engine)
    deployment = Deployment(driver, url, isolation, admin, engine)
    try:
        await deployment.run(isolation.prepare)
        yield deployment
    finally:
        await engine.dispose()
        for tenant_id in deployment.tenants if driver == "mariadb" else ():
            await deployment.execute(f"DROP DATABASE IF EXISTS t_{tenant_id}")
        await admin.dispose()
        drop_database(database)


async def rows_of(deployment: Deployment, tenant_id: str) -> dict[str, list[tuple[Any, ...]]]:
    """All that a tenant has."""
    tables = [table.name for table in Base.metadata.sorted_tables if table.name != "countries"]
    return {name: sorted(await deployment.rows(f"SELECT * FROM t_{tenant_id}.{name}"), key=str) for name in tables}


async def plant(deployment: Deployment, tenant_id: str, word: str) -> None:
    """The same ids for each tenant; only the words tell them apart."""
    async with deployment.session(tenant_id) as session:
        session.add_all(
            [
                Author(id=1, name=word, notes=[Note(id=1, text=f"{word}-1", words=[word], country_id=1)]),
                Note(id=2, text=f"{word}-2", mood=Mood.sad, data={"word": word}, tags=[Tag(id=1, label=word)]),
                Animal(id=1, name=f"{word}-cat"),
                Dog(id=2, name=f"{word}-dog", trick=f"{word}-trick"),
                Ticket(title=word),
            ]
        )
        await session.commit()


@asynccontextmanager
async def planted(
    driver: str, request: pytest.FixtureRequest, first: str = C, second: str = D, **settings: Any
) -> AsyncIterator[Deployment]:
    """Two tenants, whose rows say alpha and bravo, and a table `notes` of the deployment's."""
    async with deployed(driver, request, **settings) as deployment:
        await deployment.execute(
            "CREATE TABLE notes (id INTEGER, text VARCHAR(20))", "INSERT INTO notes VALUES (1, 'public')"
        )
        async with deployment.admin.begin() as connection:
            await connection.execute(insert(Country), [{"id": 1, "name": "Norway"}])
        await deployment.create(first, second)
        await plant(deployment, first, "alpha")
        await plant(deployment, second, "bravo")
        yield deployment
