"""What a transaction costs on PostgreSQL under each isolation, and what creating tenants takes.

    python benchmarks/postgres.py [--quick] [--rival-python PATH]

Beside SQLAlchemy without tenants, and fastapi-tenancy 0.5.0. A step is one transaction with one SELECT of five rows,
for 20 tenants in turn; all sides take turns, 20 steps at a time, so the ratios hold where the absolute numbers do not.
The others test a connection before they use it (`pool_pre_ping`, the rival's default), except where the table says
otherwise. PostgreSQL is the server that TENANCY_TEST_POSTGRES_URL names, else one that is started here.
"""

import argparse
import asyncio
import itertools
from contextlib import AsyncExitStack
from pathlib import Path
from statistics import quantiles
from typing import Any

from provisioning import provisioning
from rival import RIVAL, rival_if_there
from sides import Batch, database, in_process, in_turn, our_tenancy, postgresql, rival_side
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker, create_async_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column
from tables import Base, Note

from fastapi_tenancy import TenantScoped

TENANTS = 20
ROUNDS = 200
NOTES = 50


class ScopedBase(DeclarativeBase): ...


class ScopedNote(TenantScoped, ScopedBase):
    __tablename__ = "note"
    id: Mapped[int] = mapped_column(primary_key=True)
    text: Mapped[str]


# How `TenancySettings` are set, and the table: as the isolation wants it.
ISOLATIONS: dict[str, tuple[dict[str, Any], Any]] = {
    "shared-profile, schema": ({"manager_type": "shared-profile", "shared_isolation": "schema"}, Note),
    "shared-profile, rls": ({"manager_type": "shared-profile", "shared_isolation": "rls"}, ScopedNote),
    "shared-profile, row": ({"manager_type": "shared-profile", "shared_isolation": "row"}, ScopedNote),
    "basic": ({"manager_type": "basic"}, Note),
}
SINGLE = "single-tenant SQLAlchemy"
SINGLES = {
    SINGLE: ("psycopg", True),
    f"{SINGLE}, asyncpg": ("asyncpg", True),
    f"{SINGLE}, no pre-ping": ("psycopg", False),
}

# The session is had as the dependency in the rival's README has it; the commit makes it a transaction like the others.
RIVAL_STEP = f"""
async def step_of(manager):
    tenants = [await register(manager) for _ in range({TENANTS})]
    for tenant in tenants:
        async with manager.isolation_provider.get_session(tenant) as session:
            session.add_all([Note(text=f"note {{number}}") for number in range({NOTES})])
            await session.commit()
    turns = itertools.cycle(tenants)

    async def step():
        async with manager.isolation_provider.get_session(next(turns)) as session:
            (await session.scalars(select(Note.text).limit(5))).all()
            await session.commit()

    return step
"""


async def single(stack: AsyncExitStack, url: str, pre_ping: bool) -> Batch:
    engine = create_async_engine(url, pool_pre_ping=pre_ping)
    stack.push_async_callback(engine.dispose)
    async with engine.begin() as connection:
        await connection.run_sync(Base.metadata.create_all)
    new_session = async_sessionmaker(engine, expire_on_commit=False)
    async with new_session.begin() as session:
        fill(session, Note)

    async def step() -> None:
        async with new_session() as session, session.begin():
            (await session.scalars(select(Note.text).limit(5))).all()

    return in_process(step)


async def ours(stack: AsyncExitStack, url: str, settings: dict[str, Any], note: Any) -> Batch:
    tenancy = await stack.enter_async_context(our_tenancy(note.metadata, database_url=url, **settings))
    tenants = [await tenancy.create_tenant(f"tenant-{number}") for number in range(TENANTS)]
    for tenant in tenants:
        async with tenancy.lease(tenant) as profile, profile.transaction() as session:
            fill(session, note)
    turns = itertools.cycle(tenants)

    async def step() -> None:
        async with tenancy.lease(next(turns)) as profile, profile.transaction() as session:
            (await session.scalars(select(note.text).limit(5))).all()

    return in_process(step)


def fill(session: AsyncSession, note: Any) -> None:
    session.add_all([note(text=f"note {number}") for number in range(NOTES)])


async def transactions(server: str, python: Path | None, rounds: int) -> None:
    async with AsyncExitStack() as stack:
        sides: dict[str, Batch] = {}
        for name, (driver, pre_ping) in SINGLES.items():
            sides[name] = await single(stack, stack.enter_context(database(server, driver)), pre_ping)
        for name, (settings, note) in ISOLATIONS.items():
            sides[name] = await ours(stack, stack.enter_context(database(server)), settings, note)
        for driver in ("asyncpg", "psycopg"):
            url = stack.enter_context(database(server, driver))
            sides |= rival_side(stack, python, RIVAL_STEP, url, isolation_strategy="schema")
        await in_turn(sides, 6, TENANTS)  # psycopg prepares a statement once it has run five times
        report(await in_turn(sides, rounds, TENANTS))


def report(took: dict[str, list[float]]) -> None:
    percentiles = {name: quantiles(samples, n=100) for name, samples in took.items()}
    p50 = {name: values[49] for name, values in percentiles.items()}
    rival = next((name for name in took if name.startswith(RIVAL)), None)
    title = f"a transaction, {len(took[SINGLE])} a side"
    print(f"{title:44}{'p50':>12}{'p99':>12}{'of single':>12}{'of the rival':>14}")
    for name, values in percentiles.items():
        of_rival = f"{p50[name] / p50[rival]:.2f}" if rival else "-"
        ratios = f"{p50[name] / p50[SINGLE]:>12.2f}{of_rival:>14}"
        print(f"{name:44}{values[49] * 1e6:>9.0f} µs{values[98] * 1e6:>9.0f} µs{ratios}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="a tenth of the rounds and of the tenants")
    parser.add_argument(
        "--rival-python", type=Path, help=f"an interpreter that has {RIVAL}, asyncpg, psycopg and aiosqlite"
    )
    given = parser.parse_args()
    python = rival_if_there(given.rival_python)
    with postgresql() as server:
        asyncio.run(transactions(server, python, ROUNDS // 10 if given.quick else ROUNDS))
        provisioning(server, python, quick=given.quick)


if __name__ == "__main__":
    main()
