"""What a million tenants in the store cost, beside a thousand.

    python benchmarks/scale.py [--quick]

A store of each size on SQLite and on PostgreSQL; the two sizes take turns. Every look-up is cold, as `cache_size` is 1
and the names are random; but the operating system has read the files of the stores before, so no disk is measured. The
tenants are written into the store's table directly. Then a worker, in a process of its own, resolves 100,000 different
tenants: its memory shows what stays. Last comes how often a worker finds a tenant in its memory: with the library's own
cache, and with simulated requests, of which the tenant that is used r-th most gets a part in proportion to 1/r (Zipf's
law).
PostgreSQL is the server that TENANCY_TEST_POSTGRES_URL names, else one that is started here and never flushes to disk.
"""

import argparse
import asyncio
import random
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import AsyncExitStack, ExitStack, contextmanager, suppress
from datetime import UTC, datetime
from hashlib import blake2b
from multiprocessing import get_context
from pathlib import Path
from statistics import median, quantiles
from typing import Any

from profiles import megabytes
from sides import Batch, database, in_process, in_turn, our_tenancy, postgresql
from sqlalchemy import Connection, Engine, MetaData, NullPool, create_engine, insert

from fastapi_tenancy import Tenancy, TenantNotFoundError, TenantStatus
from fastapi_tenancy.cache import TenantCache
from fastapi_tenancy.migrations import upgrade_store_tables
from fastapi_tenancy.store.models import tenants
from fastapi_tenancy.testing import tenant_named

FEW, MANY = 1_000, 1_000_000
AT_ONCE = 5_000  # rows of one insert
PAGE = 100
WORDS = ("amber", "birch", "cedar", "delta", "ember")
TRADES = ("Bakery", "Clinic", "Garage", "Hotel", "School")
LEAVING = 10  # tenants that are being deleted, however many there are
RESOLVED = (1_000, 10_000, 100_000)
POPULATION = 10_000_000

RELATIONS = """
    SELECT relname, pg_relation_size(oid) FROM pg_class
    WHERE starts_with(relname, 'tenancy_tenants') AND relkind IN ('r', 'i') ORDER BY 2 DESC
"""


def identifier_of(number: int) -> str:
    """Spread over the alphabet, and so over the index."""
    return f"{WORDS[number % 5]}-{number * 2654435761 % 2**32:08x}"


def id_of(number: int) -> str:
    return blake2b(number.to_bytes(4), digest_size=16).hexdigest()


def row_of(number: int) -> dict[str, Any]:
    identifier, tenant_id, now = identifier_of(number), id_of(number), datetime.now(UTC).replace(tzinfo=None)
    name = f"{identifier.title()} {TRADES[number // 5 % 5]}"
    return {
        "id": tenant_id,
        "identifier": identifier,
        "name": name,
        "searched": f"{identifier}\n{name.lower()}",
        "status": "deleting" if number < LEAVING else "suspended" if number % 5 == 4 else "active",
        "settings": {"plan": "pro", "seats": 5},
        "namespace": f"schema/{tenant_id}",
        "version": 1,
        "created_at": now,
        "updated_at": now,
        "key_management_mode": "managed",
        "encrypted": False,
    }


def fill(url: str, size: int) -> None:
    """Write so many tenants, and tell what they take."""
    engine, started = engine_of(url), time.perf_counter()
    with engine.begin() as connection:
        upgrade_store_tables(connection)
        if engine.dialect.name == "sqlite":
            connection.exec_driver_sql("PRAGMA cache_size = -200000")  # KB: random keys touch all pages of an index
        for first in range(0, size, AT_ONCE):
            connection.execute(insert(tenants), [row_of(number) for number in range(first, min(first + AT_ONCE, size))])
    took = time.perf_counter() - started
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        print(f"  {size:,} tenants in {took:.0f} s; bytes a tenant:", bytes_of_each(connection, size))


def engine_of(url: str) -> Engine:
    return create_engine(url, poolclass=NullPool)


def warm(file: Path) -> None:
    """Have the operating system keep the file in memory."""
    with file.open("rb") as stream:
        while stream.read(2**20):
            pass


def bytes_of_each(connection: Connection, size: int) -> str:
    if connection.dialect.name == "sqlite":
        pages = connection.exec_driver_sql("PRAGMA page_count").scalar_one()
        return f"{pages * connection.exec_driver_sql('PRAGMA page_size').scalar_one() // size}"
    connection.exec_driver_sql("VACUUM ANALYZE")  # as autovacuum does it in its time
    return ", ".join(f"{name} {taken // size}" for name, taken in connection.exec_driver_sql(RELATIONS))


Step = Callable[[], Awaitable[object]]


def steps_of(tenancy: Tenancy, size: int) -> Mapping[tuple[str, tuple[int, int]], Step]:
    """Each thing that is asked of the store, once, of a random tenant."""
    rng, directory = random.Random(1), tenancy.directory

    def anywhere() -> int:
        return rng.randrange(size)

    async def unknown() -> None:
        with suppress(TenantNotFoundError):
            await directory.find(f"{identifier_of(anywhere())}-x")

    # Before the last tenants, so that each page is full in a store of any size.
    def listed(word: str, **given: Any) -> Awaitable[object]:
        return tenancy.list_tenants(PAGE, f"{word}-{rng.randrange(2**31):08x}", **given)

    return {
        ("find by identifier", LOOK_UPS): lambda: directory.find(identifier_of(anywhere())),
        ("find by id", LOOK_UPS): lambda: directory.find_by_id(id_of(anywhere())),
        ("a name that nobody has", LOOK_UPS): unknown,
        ("a page of 100", PAGES): lambda: listed(rng.choice(WORDS[:4])),
        ("a page of 100 for migrations", PAGES): lambda: tenancy.store.fleet(PAGE, f"{rng.randrange(2**31):08x}"),
        ("status, a fifth has it", PAGES): lambda: listed("ember", status=TenantStatus.SUSPENDED),
        ("status, ten have it", PAGES): lambda: tenancy.list_tenants(PAGE, status=TenantStatus.DELETING),
        ("q, a fifth has it", SCANS): lambda: listed(rng.choice(WORDS[:4]), q="hotel"),
        ("q, one has it", SCANS): lambda: tenancy.list_tenants(PAGE, q=identifier_of(anywhere())),
    }


LOOK_UPS, PAGES, SCANS = (40, 50), (25, 20), (10, 2)  # rounds, and how many in each


async def compare(urls: Mapping[int, str], part: int) -> None:
    async with AsyncExitStack() as stack:
        sides: dict[tuple[str, tuple[int, int]], dict[str, Batch]] = {}
        for size, url in urls.items():
            tenancy = await stack.enter_async_context(opened(url, cache_size=1, unknown_cache_size=1))
            for what, step in steps_of(tenancy, size).items():
                sides.setdefault(what, {})[f"{size:,}"] = in_process(step)
        print(f"\n{'milliseconds':34}{'tenants':>12}{'p50':>10}{'p99':>10}{'ratio of p99':>14}")
        for (name, (rounds, each)), both in sides.items():
            await in_turn(both, 2, 4)  # what is only paid once
            report(name, await in_turn(both, max(rounds // part, 2), each))


def report(name: str, took: Mapping[str, Sequence[float]]) -> None:
    first = None
    for size, samples in took.items():
        p99 = quantiles(samples, n=100, method="inclusive")[98]
        first = first or p99
        print(f"{name:34}{size:>12}{median(samples) * 1e3:>10.2f}{p99 * 1e3:>10.2f}{p99 / first:>14.2f}")


def opened(url: str, **settings: Any) -> Tenancy:
    place = {"tenant_database_url": "sqlite:////nowhere/{id}.db"} if url.startswith("sqlite") else {}
    return our_tenancy(MetaData(), database_url=url, bus="none", **place, **settings)


def resolve(url: str, cache_size: int, stops: Sequence[int]) -> Sequence[float]:
    """Megabytes of this process when it has resolved one tenant, and at each of the `stops`."""

    async def main() -> Sequence[float]:
        async with opened(url, cache_size=cache_size) as tenancy:
            await tenancy.directory.find(identifier_of(0))
            taken = [megabytes()]
            for number in range(1, stops[-1]):
                await tenancy.directory.find(identifier_of(number))
                if number + 1 in stops:
                    taken.append(megabytes())
            return taken

    return asyncio.run(main())


def memory(urls: Mapping[str, str], stops: Sequence[int]) -> None:
    print(f"\n{'megabytes of a worker':30}{'cache_size':>12}{'resolved: 1':>14}", *(f"{stop:>9,}" for stop in stops))
    for name, cache_size in (("SQLite", 1_000), ("PostgreSQL", 1_000), ("SQLite", stops[-1])):
        with ProcessPoolExecutor(1, get_context("spawn")) as worker:
            first, *taken = worker.submit(resolve, urls[name], cache_size, stops).result()
        print(f"{name:30}{cache_size:>12,}{first:>14.1f}", *(f"{each:>9.1f}" for each in taken))


def hit_rates(requests: int) -> None:
    print(f"\npercent found in memory, {POPULATION:,} tenants{'requests a second':>24}{'10':>7}{'100':>7}{'1,000':>7}")
    for cache_size in (1_000, 10_000, 100_000):
        rates = (hit_rate(cache_size, a_second, requests) for a_second in (10, 100, 1_000))
        print(f"  cache_size {cache_size:<54,}" + "".join(f"{rate:>7.0%}" for rate in rates))


def hit_rate(cache_size: int, a_second: int, requests: int, ttl: float = 60.0) -> float:
    """The part of requests whose tenant is in the cache; the first half of them only fills it."""
    now, hits, rng = 0.0, 0, random.Random(1)
    cache = TenantCache(cache_size, ttl, clock=lambda: now)
    for number in range(requests):
        now += 1 / a_second
        # The integral of 1/r is log(r): a rank whose logarithm is uniform follows Zipf's law.
        rank = f"t{int(POPULATION ** rng.random())}"
        if cache.get_by_identifier(rank) is not None:
            hits += number >= requests / 2
        else:
            cache.set(tenant_named(rank, id=rank))
    return hits / (requests / 2)


@contextmanager
def stores(server: str, folder: Path, sizes: Sequence[int]) -> Iterator[Mapping[str, Mapping[int, str]]]:
    """The URL of a filled store of each size, on each database."""
    with ExitStack() as stack:
        urls = {
            "SQLite": {size: f"sqlite:///{folder}/{size}.db" for size in sizes},
            "PostgreSQL": {size: stack.enter_context(database(server)) for size in sizes},
        }
        for name, of_sizes in urls.items():
            print(name)
            for size, url in of_sizes.items():
                fill(url, size)
        for size in sizes:
            warm(folder / f"{size}.db")
        yield urls


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="a tenth of everything")
    part = 10 if parser.parse_args().quick else 1
    size = MANY // part
    with (
        tempfile.TemporaryDirectory() as folder,
        postgresql() as server,
        stores(server, Path(folder), (FEW, size)) as urls,
    ):
        for name, of_sizes in urls.items():
            print(f"\n{name}", end="")
            asyncio.run(compare(of_sizes, part))
        memory({name: of_sizes[size] for name, of_sizes in urls.items()}, [stop // part for stop in RESOLVED])
    hit_rates(400_000 // part)


if __name__ == "__main__":
    main()
