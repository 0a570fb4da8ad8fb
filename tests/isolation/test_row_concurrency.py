"""Many tenants at once, through the same engine, the same compiled statements and the same connections."""

import asyncio
import random

from isolation.row_databases import Database, guarded
from isolation.row_models import (
    A,
    B,
    Base,
    Note,
    Tag,
)
from sqlalchemy import NullPool, delete, func, insert, lambda_stmt, select, update
from sqlalchemy.exc import OperationalError
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker, create_async_engine

from fastapi_tenancy.engines import open_engine
from fastapi_tenancy.multitenant.isolation import RowIsolation
from fastapi_tenancy.urls import parse_url


async def test_one_statement_serves_two_tenants_in_turn(planted: Database) -> None:
    statements = [
        select(Note.id).order_by(Note.id),
        lambda_stmt(lambda: select(Note.id).order_by(Note.id)),
        select(select(Note.id).order_by(Note.id).cte("c").c.id),
    ]
    async with guarded(planted) as (isolation, engine):
        makers = [isolation.sessionmaker(engine, AsyncSession, tenant) for tenant in (A, B)]
        for statement in statements * 2:
            for first, maker in zip((1, 101), makers, strict=True):
                async with maker() as session:
                    assert list(await session.scalars(statement)) == [first, first + 1, first + 2, first + 3]


async def test_one_statement_serves_two_tenants_at_once(planted: Database) -> None:
    statement = select(Note.id).order_by(Note.id).limit(1)

    async def read(maker: async_sessionmaker[AsyncSession]) -> list[int | None]:
        seen = []
        for _ in range(20):
            async with maker() as session:
                seen.append(await session.scalar(statement))
        return seen

    async with guarded(planted) as (isolation, engine):
        makers = [isolation.sessionmaker(engine, AsyncSession, tenant) for tenant in (A, B)]
        seen = await asyncio.gather(*(read(maker) for maker in makers * 5))
    assert seen == [[1] * 20, [101] * 20] * 5


async def test_a_statement_is_compiled_once_for_all_tenants(planted: Database) -> None:
    async with guarded(planted) as (isolation, engine):
        for number in range(20):
            async with isolation.sessionmaker(engine, AsyncSession, f"{number:032}")() as session:
                await session.execute(select(Note).where(Note.id == number))
        cache = engine.sync_engine._compiled_cache
        assert cache is not None
        assert len(cache) == 1


async def step(session: AsyncSession, tenant: str, kind: int, rows: int) -> int:
    """Do one thing to the tenant's `rows` tags; how many there are afterwards."""
    match kind:
        case 0:
            session.add(Tag(label=tenant))
            return rows + 1
        case 1:
            await session.execute(insert(Tag), [{"label": tenant}, {"label": tenant}])
            return rows + 2
        case 2:
            changed = await session.execute(update(Tag).values(label=func.lower(Tag.label)))
            assert changed.rowcount == rows
            return rows
        case 3:
            assert list(await session.scalars(select(Tag.label))) == [tenant] * rows
            return rows
        case _:
            oldest = await session.scalar(select(func.min(Tag.id)))
            gone = await session.execute(delete(Tag).where(Tag.id == oldest))
            return rows - gone.rowcount


async def work(sessions: async_sessionmaker[AsyncSession], tenant: str, seed: int, times: int) -> int:
    dice, rows, done = random.Random(seed), 0, 0
    while done < times:
        try:
            async with sessions() as session, session.begin():
                left = await step(session, tenant, dice.randrange(5), rows)
        except OperationalError as error:
            # InnoDB locks the gaps between rows, also those between two tenants', and asks the loser to try again.
            if "Deadlock" not in str(error):
                raise
        else:
            rows, done = left, done + 1
    return rows


async def test_a_thousand_operations_of_ten_tenants_stay_apart(empty: str, server: str) -> None:
    times = 100 if server == "postgresql" else 30  # elsewhere they wait for each other, in SQLite always
    engine = open_engine(parse_url(empty, "test"), pool_size=10)
    async with engine.begin() as connection:
        await connection.run_sync(Base.metadata.create_all)
    isolation = RowIsolation(Base.metadata)
    isolation.guard(engine)
    tenants = [f"{number:032}" for number in range(10)]

    # Two workers of one tenant would each have to know what the other has just added.
    async with asyncio.TaskGroup() as group:
        workers = [
            group.create_task(work(isolation.sessionmaker(engine, AsyncSession, tenant), tenant, seed, times))
            for seed, tenant in enumerate(tenants)
        ]
    await engine.dispose()

    counted = select(Tag.tenant_id, Tag.label, func.count()).group_by(Tag.tenant_id, Tag.label)
    async with create_async_engine(empty, poolclass=NullPool).connect() as behind:
        rows = [tuple(row) for row in await behind.execute(counted)]
    left = {tenant: worker.result() for tenant, worker in zip(tenants, workers, strict=True)}
    assert sorted(rows) == [(tenant, tenant, count) for tenant, count in left.items() if count]
