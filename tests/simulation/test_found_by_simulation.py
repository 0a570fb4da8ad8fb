"""Faults that the simulation has found, each as a story of its own."""

import asyncio
from pathlib import Path

from workers import knows, two_workers

from fastapi_tenancy.multitenant.cache import ProfileCache


async def test_who_repeats_what_another_worker_has_done_believes_it_himself(tmp_path: Path) -> None:
    async with two_workers(tmp_path, bus="none") as (here, there):
        await here.create_tenant("acme")
        assert await knows(there, "acme") == "active"
        await here.suspend_tenant("acme")
        await there.suspend_tenant("acme")
        assert await knows(there, "acme") == "suspended"


class Opened:
    def __init__(self, version: int) -> None:
        self.version = version

    async def close(self) -> None: ...


async def test_a_lease_does_not_wait_for_the_opening_of_an_earlier_version() -> None:
    cache, gate = ProfileCache[Opened](2), asyncio.Event()

    async def open_slowly(version: int) -> Opened:
        await gate.wait()
        return Opened(version)

    async def leased(version: int) -> int:
        async with cache.lease("a", lambda: open_slowly(version), version) as profile:
            return profile.version

    leases = []
    for version in (3, 4, 3):
        leases.append(asyncio.create_task(leased(version)))
        await asyncio.sleep(0)
    gate.set()
    assert await asyncio.gather(*leases) == [3, 4, 4]
    await cache.aclose()
