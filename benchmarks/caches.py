"""What the caches cost, beside a plain dict, two libraries and the TenantCache of fastapi-tenancy 0.5.0.

    python benchmarks/caches.py [--rival-python PATH]

One run measures everything, so the ratios hold even where the absolute numbers vary from machine to machine.
"""

import argparse
import asyncio
import gc
import subprocess
import time
import timeit
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from profiles import rotation
from rival import RIVAL, rival_python, run_in

from fastapi_tenancy.cache import InMemoryCache, TenantCache
from fastapi_tenancy.tenant import Tenant, TenantStatus

TENANTS = 1000
CALLS = 100_000
REPEATS = 9

# Runs in the rival's own interpreter, since the rival has our import name.
RIVAL_SCRIPT = """
import json, timeit
from fastapi_tenancy.cache.tenant_cache import TenantCache

class Tenant:  # with slots as ours has, so that reading it costs the same in both processes
    __slots__ = ("id", "identifier")

    def __init__(self, number):
        self.id, self.identifier = f"id-{number}", f"slug-{number}"

tenants = [Tenant(number) for number in range(%(tenants)d)]
cache = TenantCache(%(tenants)d, 60)
for tenant in tenants:
    cache.set(tenant)
names = {"cache": cache, "tenant": tenants[500]}
print(json.dumps({
    name: min(timeit.repeat(statement, globals=names, number=%(calls)d, repeat=%(repeats)d)) / %(calls)d * 1e9
    for name, statement in %(statements)r.items()
}))
"""

STATEMENTS = {
    "hit by id": "cache.get('id-500')",
    "hit by identifier": "cache.get_by_identifier('slug-500')",
    "miss": "cache.get('nobody')",
    "set": "cache.set(tenant)",
}
MAPPING_STATEMENTS = {
    "hit by id": "cache.get('id-500')",
    "miss": "cache.get('nobody')",
    "set": "cache['id-500'] = tenant",
}


def nanoseconds(statement: str, names: dict[str, Any]) -> float:
    return min(timeit.repeat(statement, globals=names, number=CALLS, repeat=REPEATS)) / CALLS * 1e9


def measure(cache: Any, tenants: list[Tenant], statements: dict[str, str]) -> dict[str, float]:
    names = {"cache": cache, "tenant": tenants[500]}
    return {name: nanoseconds(statement, names) for name, statement in statements.items()}


def make_tenants() -> list[Tenant]:
    now = datetime.now(UTC)
    return [
        Tenant(
            id=f"id-{number}",
            identifier=f"slug-{number}",
            name="",
            status=TenantStatus.ACTIVE,
            created_at=now,
            updated_at=now,
        )
        for number in range(TENANTS)
    ]


def ours(tenants: list[Tenant]) -> dict[str, float]:
    cache = TenantCache(TENANTS, 60)
    for tenant in tenants:
        cache.set(tenant)
    return measure(cache, tenants, STATEMENTS)


def plain_dict(tenants: list[Tenant]) -> dict[str, float]:
    return measure({tenant.id: tenant for tenant in tenants}, tenants, MAPPING_STATEMENTS)


def cachetools_ttl(tenants: list[Tenant]) -> dict[str, float]:
    from cachetools import TTLCache

    cache: Any = TTLCache(TENANTS, 60)
    cache.update({tenant.id: tenant for tenant in tenants})
    return measure(cache, tenants, MAPPING_STATEMENTS)


def cachebox_ttl(tenants: list[Tenant]) -> dict[str, float]:
    from cachebox import TTLCache

    cache: Any = TTLCache(TENANTS, 60)
    cache.update({tenant.id: tenant for tenant in tenants})
    return measure(cache, tenants, MAPPING_STATEMENTS)


def rival(python: Path) -> dict[str, float]:
    figures: dict[str, float] = run_in(
        python, RIVAL_SCRIPT % {"tenants": TENANTS, "calls": CALLS, "repeats": REPEATS, "statements": STATEMENTS}
    )
    return figures


def tenant_caches(given_rival_python: Path | None) -> None:
    tenants = make_tenants()
    rows: dict[str, Callable[[], dict[str, float]]] = {
        "TenantCache": lambda: ours(tenants),
        RIVAL: lambda: rival(rival_python(given_rival_python)),
        "cachetools.TTLCache": lambda: cachetools_ttl(tenants),
        "cachebox.TTLCache": lambda: cachebox_ttl(tenants),
        "dict": lambda: plain_dict(tenants),
    }
    print(f"{'ns a call (x of ours)':24}" + "".join(f"{name:>22}" for name in STATEMENTS))
    base: dict[str, float] = {}
    for name, row in rows.items():
        try:
            figures = row()
        except (ImportError, OSError, subprocess.CalledProcessError) as error:
            print(f"{name:24}  not measured: {error}")
            continue
        base = base or figures
        cells = (f"{figures[name]:.0f} ({figures[name] / base[name]:.2f})" if name in figures else "-" for name in base)
        print(f"{name:24}" + "".join(f"{cell:>22}" for cell in cells))
    print()


async def in_memory_get() -> None:
    print(f"{'InMemoryCache.get':24}{'ns':>10}{'ratio':>10}")
    first = 0.0
    for size in (100, 10_000, 1_000_000):
        cache = InMemoryCache(size)
        await cache.set((f"key-{number}" for number in range(size)), 1, ttl=3600)
        key, best = f"key-{size // 2}", float("inf")
        gc.collect()
        for _ in range(REPEATS):
            started = time.perf_counter()
            for _ in range(CALLS):
                await cache.get(key)
            best = min(best, (time.perf_counter() - started) / CALLS * 1e9)
        first = first or best
        print(f"{size:>12,} entries    {best:>10.0f}{best / first:>10.2f}")
    print()


async def stampede(readers: int = 500) -> None:
    """Readers of one key that is not there, and a load that takes 10 ms."""
    cache, loads = InMemoryCache(), 0

    async def read() -> None:
        nonlocal loads
        async with cache.acquire("key") as lock:
            if not lock.done:
                loads += 1
                await asyncio.sleep(0.01)
                await lock.set_result("value")

    started = time.perf_counter()
    await asyncio.gather(*(read() for _ in range(readers)))
    took = (time.perf_counter() - started) * 1e3
    print(f"stampede: {readers} readers, loads: {loads}, {took:.1f} ms, of which the load is 10 ms")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rival-python", type=Path, help=f"an interpreter that has {RIVAL}")
    tenant_caches(parser.parse_args().rival_python)
    asyncio.run(in_memory_get())
    asyncio.run(stampede())
    print()
    rotation()


if __name__ == "__main__":
    main()
