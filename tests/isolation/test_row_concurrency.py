"""Many tenants at once, through the same engine, the same compiled statements and the same connections."""

import asyncio
import random
import sqlite3
from contextlib import closing
from pathlib import Path

from isolation.row_models import A, B, Base, Note, Tag, guarded
from sqlalchemy import create_engine, delete, func, insert, lambda_stmt, select, update
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker

from fastapi_tenancy.engines import open_engine, parse_url
from fastapi_tenancy.multitenant.isolation import RowIsolation


async def test_one_statement_serves_two_tenants_in_turn(planted: Path) -> None:
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


async def test_one_statement_serves_two_tenants_at_once(planted: Path) -> None:
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


async def test_a_statement_is_compiled_once_for_all_tenants(planted: Path) -> None:
    async with guarded(planted) as (isolation, engine):
        for number in range(20):
            async with isolation.sessionmaker(engine, AsyncSession, f"{number:032}")() as session:
                await session.execute(select(Note).where(Note.id == number))
        cache = engine.sync_engine._compiled_cache
        assert cache is not None
        assert len(cache) == 1


async def test_two_thousand_operations_of_ten_tenants_stay_apart(tmp_path: Path) -> None:
    file = tmp_path / "busy.db"
    plain = create_engine(f"sqlite:///{file}")
    Base.metadata.create_all(plain)
    plain.dispose()
    engine = open_engine(parse_url(f"sqlite:///{file}", "test"), pool_size=10)
    isolation = RowIsolation(Base.metadata)
    isolation.guard(engine)
    tenants = [f"{number:032}" for number in range(10)]
    expected = dict.fromkeys(tenants, 0)

    async def work(tenant: str, seed: int) -> None:
        dice = random.Random(seed)
        sessions = isolation.sessionmaker(engine, AsyncSession, tenant)
        for _ in range(200):
            async with sessions() as session, session.begin():
                match dice.randrange(5):
                    case 0:
                        session.add(Tag(label=tenant))
                        expected[tenant] += 1
                    case 1:
                        await session.execute(insert(Tag), [{"label": tenant}, {"label": tenant}])
                        expected[tenant] += 2
                    case 2:
                        changed = await session.execute(update(Tag).values(label=func.lower(Tag.label)))
                        assert changed.rowcount == expected[tenant]
                    case 3:
                        assert set(await session.scalars(select(Tag.label))) <= {tenant}
                    case _:
                        oldest = select(func.min(Tag.id)).scalar_subquery()
                        gone = await session.execute(delete(Tag).where(Tag.id == oldest))
                        expected[tenant] -= gone.rowcount

    # Two workers of one tenant would each have to know what the other has just added.
    await asyncio.gather(*(work(tenant, seed) for seed, tenant in enumerate(tenants)))
    await engine.dispose()

    with closing(sqlite3.connect(file)) as connection:
        rows = connection.execute("SELECT tenant_id, label, count(*) FROM tags GROUP BY 1, 2").fetchall()
    assert sorted(rows) == sorted((tenant, tenant, count) for tenant, count in expected.items() if count)
