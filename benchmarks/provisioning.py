"""What it takes to create tenants with ten tables, beside fastapi-tenancy 0.5.0.

    python benchmarks/provisioning.py [--quick] [--rival-python PATH]

One tenant after another, each with its record in the store; the sides of a table take turns, five tenants at a time.
Where tenants come from the pending pool, filling it is measured as well, beside the sign-ups: it is work that is done
before, and not work that is saved. `create_all` is what the template saves: the tables made one by one in each file.
PostgreSQL is the server that TENANCY_TEST_POSTGRES_URL names, else one that is started here and never flushes to disk.
"""

import argparse
import asyncio
import itertools
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import AsyncExitStack, contextmanager
from pathlib import Path
from statistics import mean, median
from typing import Any

from rival import RIVAL, rival_if_there
from sides import Batch, database, in_process, in_turn, new_database, our_tenancy, postgresql, rival_side
from sqlalchemy import NullPool, create_engine, make_url
from tables import Base

from fastapi_tenancy.testing import tenant_named

TENANTS = 200
OWN_DATABASES = 20  # of a server, each of which takes 8 MB of disk
SIZE = 5

RIVAL_STEP = """
async def step_of(manager):
    return lambda: register(manager)
"""


async def schemas(server: str, python: Path | None, tenants: int) -> None:
    async with AsyncExitStack() as stack:
        shared = {"manager_type": "shared-profile", "shared_isolation": "schema"}
        sides = {"shared-profile, schema": await ours(stack, stack.enter_context(database(server)), **shared)}
        sides |= await pooled(stack, stack.enter_context(database(server)), **shared)
        for driver in ("asyncpg", "psycopg"):
            url = stack.enter_context(database(server, driver))
            sides |= rival_side(stack, python, RIVAL_STEP, url, isolation_strategy="schema")
        await report("a PostgreSQL schema", sides, tenants)


async def databases(server: str, python: Path | None, tenants: int) -> None:
    async with AsyncExitStack() as stack:
        sides = {"basic": await ours(stack, stack.enter_context(database(server)))}
        url = stack.enter_context(database(server))
        sides["basic, tenant_template"] = await ours(stack, url, tenant_template=stack.enter_context(template(url)))
        url = stack.enter_context(database(server, "asyncpg"))
        options = {
            "isolation_strategy": "database",
            "database_url_template": url.rpartition("/")[0] + "/{database_name}",
        }
        sides |= rival_side(stack, python, RIVAL_STEP, url, **options)
        await report("a PostgreSQL database", sides, tenants)


async def files(folder: Path, python: Path | None, tenants: int) -> None:
    async with AsyncExitStack() as stack:
        sides = {"basic": await ours(stack, f"sqlite:///{folder}/ours/tenancy.db")}
        sides |= await pooled(stack, f"sqlite:///{folder}/pool/tenancy.db")
        sides |= {"its place alone, from the template": await places(stack, f"sqlite:///{folder}/places/tenancy.db")}
        sides |= {"its place alone, by create_all": by_create_all(folder)}
        (folder / "rival").mkdir()
        url = f"sqlite+aiosqlite:///{folder}/rival/store.db"
        options = {"database_url_template": f"sqlite+aiosqlite:///{folder}/rival/{{database_name}}.db"}
        sides |= rival_side(stack, python, RIVAL_STEP, url, isolation_strategy="database", **options)
        url = f"sqlite+aiosqlite:///{folder}/rival/shared.db"  # where each tenant's tables have a prefix
        sides |= rival_side(stack, python, RIVAL_STEP, url, isolation_strategy="schema")
        await report("a SQLite file", sides, tenants)


async def ours(stack: AsyncExitStack, url: str, **settings: Any) -> Batch:
    tenancy = await stack.enter_async_context(our_tenancy(Base.metadata, database_url=url, **settings))
    numbers = itertools.count()
    return in_process(lambda: tenancy.create_tenant(f"tenant-{next(numbers)}"))


async def pooled(stack: AsyncExitStack, url: str, **settings: Any) -> dict[str, Batch]:
    """Sign-ups from the pending pool, and what it took to make each of its tenants before."""
    tenancy = await stack.enter_async_context(our_tenancy(Base.metadata, database_url=url, **settings))
    numbers, refills = itertools.count(), list[float]()

    async def sign_ups(size: int) -> list[float]:
        started = time.perf_counter()
        await tenancy.fill_pending(size)
        refills.append((time.perf_counter() - started) / size)
        return await in_process(lambda: tenancy.create_tenant(f"tenant-{next(numbers)}"))(size)

    async def told(size: int) -> list[float]:
        """As the refills of the sign-ups took it, whichever side has its turn first."""
        if not refills:
            await sign_ups(size)
        return [refills.pop(0)] * size

    return {"from the pending pool": sign_ups, "its refill, in the background": told}


async def places(stack: AsyncExitStack, url: str) -> Batch:
    """A tenant's file and nothing else, as it is copied from the template."""
    tenancy = await stack.enter_async_context(our_tenancy(Base.metadata, database_url=url))
    manager = tenancy.provider.provide({})

    async def step() -> None:
        await manager.create_tenant(await manager.place(tenant_named()))

    return in_process(step)


def by_create_all(folder: Path) -> Batch:
    """The same file by `create_all`, with as many transactions as SQLAlchemy and SQLite's driver make of it."""
    numbers = itertools.count()

    def make() -> None:
        engine = create_engine(f"sqlite:///{folder}/by-create-all-{next(numbers)}.db", poolclass=NullPool)
        with engine.begin() as connection:
            connection.exec_driver_sql("PRAGMA journal_mode=WAL")
        Base.metadata.create_all(engine)

    return in_process(lambda: asyncio.to_thread(make))


@contextmanager
def template(url: str) -> Iterator[str]:
    """The name of a database with the tables, beside that of `url` and of the same owner, who drops it."""
    made = new_database(url, owner=make_url(url).username)
    engine = create_engine(made, poolclass=NullPool)
    Base.metadata.create_all(engine)
    yield str(make_url(made).database)


async def report(what: str, sides: Mapping[str, Batch], tenants: int) -> None:
    await in_turn(sides, 1, SIZE)  # what is only paid once
    took = await in_turn(sides, tenants // SIZE, SIZE)
    print(f"\n{f'{tenants} tenants, {what} each':44}{'mean':>12}{'p50':>12}{'of the rival':>14}")
    rival = next((mean(samples) for name, samples in took.items() if name.startswith(RIVAL)), None)
    for name, samples in took.items():
        ratio = f"{mean(samples) / rival:.2f}" if rival else "-"
        print(f"{name:44}{mean(samples) * 1e3:>9.1f} ms{median(samples) * 1e3:>9.1f} ms{ratio:>14}")


def provisioning(server: str, python: Path | None, *, quick: bool) -> None:
    tenants = TENANTS // 10 if quick else TENANTS
    asyncio.run(schemas(server, python, tenants))
    asyncio.run(databases(server, python, OWN_DATABASES // 2 if quick else OWN_DATABASES))
    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(files(Path(folder), python, tenants))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="a tenth of the tenants")
    parser.add_argument(
        "--rival-python", type=Path, help=f"an interpreter that has {RIVAL}, asyncpg, psycopg and aiosqlite"
    )
    given = parser.parse_args()
    with postgresql() as server:
        provisioning(server, rival_if_there(given.rival_python), quick=given.quick)


if __name__ == "__main__":
    main()
