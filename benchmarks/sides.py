"""The sides of a benchmark on real databases: each works in batches, so that all can take turns in one run."""

import random
import sys
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import AsyncExitStack, contextmanager
from pathlib import Path
from typing import Any

from rival import RIVAL, asking
from sqlalchemy import MetaData, NullPool, create_engine, make_url, text

from fastapi_tenancy import HeaderResolver, Tenancy, TenancySettings

sys.path.append(str(Path(__file__).parents[1] / "tests"))
from servers import new_database, plain_role, postgresql

__all__ = ["Batch", "database", "in_process", "in_turn", "new_database", "our_tenancy", "postgresql", "rival_side"]

Batch = Callable[[int], Awaitable[list[float]]]  # the seconds that each of so many steps took

RIVAL_PROCESS = """
import asyncio, itertools, json, logging, sys, time

sys.path.append(%(folder)r)
from fastapi_tenancy import TenancyConfig, TenancyManager
from fastapi_tenancy.storage.database import SQLAlchemyTenantStore
from sqlalchemy import select
from tables import Base, Note

logging.disable(logging.CRITICAL)
numbers = itertools.count()

def register(manager):
    number = next(numbers)
    return manager.register_tenant(f"tenant-{number}", f"Tenant {number}", app_metadata=Base.metadata)

%(step)s

async def main():
    config = TenancyConfig(database_url=%(url)r, resolution_strategy="header", **%(options)r)
    manager = TenancyManager(config, SQLAlchemyTenantStore(%(url)r))
    await manager.initialize()
    step = await step_of(manager)
    for line in sys.stdin:
        took = []
        for _ in range(int(line)):
            started = time.perf_counter()
            await step()
            took.append(time.perf_counter() - started)
        print(json.dumps(took), flush=True)
    await manager.close()

asyncio.run(main())
"""


def in_process(step: Callable[[], Awaitable[object]]) -> Batch:
    async def batch(size: int) -> list[float]:
        took = []
        for _ in range(size):
            started = time.perf_counter()
            await step()
            took.append(time.perf_counter() - started)
        return took

    return batch


def rival_side(stack: AsyncExitStack, python: Path | None, step: str, url: str, **options: Any) -> dict[str, Batch]:
    """The rival in a process of its own; nothing where there is no `python`.

    `step` defines `step_of(manager)`, which gives what is to be measured.
    """
    if python is None:
        return {}
    values = {"folder": str(Path(__file__).parent), "step": step, "url": url, "options": options}
    ask = stack.enter_context(asking(python, RIVAL_PROCESS % values))

    async def batch(size: int) -> list[float]:
        took: list[float] = ask(size)  # blocks our loop: nothing of ours runs meanwhile
        return took

    return {f"{RIVAL}, {options['isolation_strategy']}, {make_url(url).get_driver_name()}": batch}


def our_tenancy(metadata: MetaData, **settings: Any) -> Tenancy:
    return Tenancy(TenancySettings(**settings), resolvers=[HeaderResolver()], metadata=metadata)


@contextmanager
def database(server: str, driver: str = "psycopg") -> Iterator[str]:
    """The URL of a database of its own, whose owner may create others and is subject to row-level security."""
    url = make_url(plain_role(new_database(server), createdb=True)).set(drivername=f"postgresql+{driver}")
    try:
        yield url.render_as_string(hide_password=False)
    finally:
        drop_all_of(str(url.username), server)


def drop_all_of(role: str, server: str) -> None:
    """Drop the role with all its databases."""
    engine = create_engine(server, isolation_level="AUTOCOMMIT", poolclass=NullPool)
    owned = text("SELECT datname FROM pg_database WHERE datdba = CAST(:role AS regrole)")
    with engine.connect() as connection:
        for name in connection.scalars(owned, {"role": role}).all():
            connection.execute(text(f'DROP DATABASE "{name}" WITH (FORCE)'))
        connection.execute(text(f"DROP ROLE {role}"))


async def in_turn(sides: Mapping[str, Batch], rounds: int, size: int) -> dict[str, list[float]]:
    """What every step of every side took, in batches of `size`, and in another order each round."""
    took: dict[str, list[float]] = {name: [] for name in sides}
    order, rng = list(sides), random.Random(1)
    for _ in range(rounds):
        rng.shuffle(order)
        for name in order:
            took[name] += await sides[name](size)
    return took
