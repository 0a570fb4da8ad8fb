"""What it takes to rotate many SQLite tenants through few open profiles.

    python benchmarks/profiles.py [--tenants 2000] [--capacity 100]

Every round asks each tenant for one row, in random order, 20 at a time. Descriptors and memory are those of the
process after the round; they stay flat where nothing leaks.
"""

import argparse
import asyncio
import random
import resource
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterable
from pathlib import Path

from sqlalchemy import select
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from fastapi_tenancy import HeaderResolver, InMemoryTenantStore, Tenancy, TenancySettings

CONCURRENCY = 20
ROUNDS = 4


class Base(DeclarativeBase): ...


class Note(Base):
    __tablename__ = "note"
    id: Mapped[int] = mapped_column(primary_key=True)
    text: Mapped[str]


class Peak:
    open_profiles = 0


async def all_of(work: Callable[[str], Awaitable[None]], names: Iterable[str]) -> float:
    """Seconds for `work` on every name, `CONCURRENCY` at a time."""
    slots = asyncio.Semaphore(CONCURRENCY)

    async def one(name: str) -> None:
        async with slots:
            await work(name)

    started = time.perf_counter()
    await asyncio.gather(*(one(name) for name in names))
    return time.perf_counter() - started


def descriptors() -> int:
    folder = Path("/proc/self/fd")
    return len(list(folder.iterdir())) if folder.is_dir() else -1


def megabytes() -> float:
    status = Path("/proc/self/status")
    if status.is_file():
        line = next(line for line in status.read_text().splitlines() if line.startswith("VmRSS"))
        return int(line.split()[1]) / 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


async def rotate(folder: Path, tenants: int, capacity: int) -> None:
    settings = TenancySettings(
        database_url="sqlite://",
        tenant_database_url=f"sqlite:///{folder}/{{id}}.db",
        cache_size=tenants,
        profile_cache_size=capacity,
    )
    tenancy = Tenancy(settings, resolvers=[HeaderResolver()], metadata=Base.metadata, store=InMemoryTenantStore())
    names = [f"t{number}" for number in range(tenants)]
    rng, peak = random.Random(1), Peak()

    async def create(name: str) -> None:
        await tenancy.create_tenant(name)

    async def read(name: str) -> None:
        async with tenancy.use(name) as profile, profile.session() as session:
            await session.scalars(select(Note).where(Note.id == 1))
            stats = tenancy.stats()["managers"]["MultitenantManager"]
            peak.open_profiles = max(peak.open_profiles, stats["open"] + stats["opening"] + stats["closing"])

    async with tenancy:
        print(f"{tenants} tenants created in {await all_of(create, names):.1f} s; capacity {capacity}")
        print(f"{'round':>6}{'s':>8}{'ms a tenant':>14}{'peak open':>12}{'descriptors':>14}{'MB':>8}")
        print(f"{'start':>6}{'':>34}{descriptors():>14}{megabytes():>8.0f}")
        for number in range(1, ROUNDS + 1):
            took = await all_of(read, rng.sample(names, tenants))
            row = f"{took:>8.1f}{took / tenants * 1e3:>14.2f}{peak.open_profiles:>12}{descriptors():>14}"
            print(f"{number:>6}{row}{megabytes():>8.0f}")
    print(f"{'closed':>6}{'':>34}{descriptors():>14}{megabytes():>8.0f}")


def rotation(tenants: int = 2000, capacity: int = 100) -> None:
    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(rotate(Path(folder), tenants, capacity))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tenants", type=int, default=2000)
    parser.add_argument("--capacity", type=int, default=100)
    given = parser.parse_args()
    rotation(given.tenants, given.capacity)


if __name__ == "__main__":
    main()
