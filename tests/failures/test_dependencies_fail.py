"""The store's PostgreSQL and Redis refuse, hang, crawl and answer nonsense: requests get what the policy says."""

import asyncio
import importlib
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx2 as httpx
import pytest
from faulty_proxy import Fault, FaultyProxy
from prepared_stores import new_store_database
from sqlalchemy import make_url
from support import make_app, make_tenancy, named, running
from workers import until

from fastapi_tenancy import Limit, StoreUnavailableError, Tenancy, TenantLimits

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
FAULTS: list[Fault] = ["refuse", "hang", "slow", "garbage"]
DEADLINE = 0.15  # seconds
GRACE = 0.5  # seconds; more is allowed only where this machine keeps the whole process waiting


class Clock:
    """The time, and what a test adds to it."""

    ahead = 0.0

    def __call__(self) -> float:
        return time.monotonic() + self.ahead


class Waiting:
    """The longest that a request waited, without what the process itself was kept waiting."""

    def __init__(self, client: httpx.AsyncClient) -> None:
        self._client = client
        self._lag = 0.0
        self.longest = 0.0

    async def get(self, name: str, path: str = "/whoami") -> httpx.Response:
        begun, lag = time.perf_counter(), self._lag
        answer = await self._client.get(path, headers=named(name))
        self.longest = max(self.longest, time.perf_counter() - begun - (self._lag - lag))
        return answer

    async def measure(self) -> None:
        while True:
            begun = time.perf_counter()
            await asyncio.sleep(0.01)
            self._lag += max(time.perf_counter() - begun - 0.015, 0)


@asynccontextmanager
async def waiting(client: httpx.AsyncClient) -> AsyncIterator[Waiting]:
    waiting = Waiting(client)
    measuring = asyncio.create_task(waiting.measure())
    try:
        yield waiting
    finally:
        measuring.cancel()
    assert waiting.longest < DEADLINE + GRACE


@asynccontextmanager
async def in_front_of(url: str, folder: Path, **given: Any) -> AsyncIterator[tuple[FaultyProxy, Tenancy, Waiting]]:
    """An application whose `url`, of the store or of Redis, leads through a proxy; with the tenants acme and globex."""
    short = {"store_timeout": DEADLINE, "pool_timeout": DEADLINE, "shutdown_timeout": 0, "unknown_cache_ttl": 0.01}
    async with FaultyProxy(url).running() as proxy:
        is_redis = url.startswith("redis")
        place = (
            {"redis_url": proxy.url}
            if is_redis
            else {"database_url": proxy.url, "tenant_database_url": f"sqlite:///{folder}/{{id}}.db", "bus": "none"}
        )
        tenancy = make_tenancy(folder, **{**short, **place, **given})
        async with running(make_app(tenancy)) as client, waiting(client) as asked:
            for name in ("acme", "globex"):
                await tenancy.create_tenant(name)
                await asked.get(name)
            yield proxy, tenancy, asked
            proxy.fault = "none"
            proxy.cut()


@pytest.mark.parametrize(
    ("driver", "fault"), [*(("psycopg", fault) for fault in FAULTS), ("asyncpg", "hang"), ("asyncpg", "garbage")]
)
async def test_a_store_that_fails(tmp_path: Path, postgresql_url: str, driver: str, fault: Fault) -> None:
    clock = Clock()
    url = make_url(new_store_database(postgresql_url)).set(drivername=f"postgresql+{driver}")
    # One connection at a time: one that is lost for good would be noticed.
    given = {"stale_for": 60, "cache_ttl": 60, "clock": clock, "connection_budget": 1}
    async with in_front_of(url.render_as_string(hide_password=False), tmp_path, **given) as (proxy, tenancy, asked):
        await tenancy.suspend_tenant("globex")
        await asked.get("globex")
        proxy.delay = DEADLINE
        proxy.fault = fault
        strangers = await asyncio.gather(*(asked.get(f"n{number}") for number in range(20)))
        assert {(each.status_code, each.headers["retry-after"]) for each in strangers} == {(503, "2")}
        assert [(await asked.get(name)).status_code for name in ("acme", "globex")] == [200, 403]  # from memory
        clock.ahead += 61
        assert [(await asked.get(name)).status_code for name in ("acme", "globex")] == [200, 503]
        assert (await asked.get("acme", "/notes")).status_code == 200  # its own database is well
        with pytest.raises(StoreUnavailableError):
            await tenancy.suspend_tenant("acme")
        clock.ahead += 60
        assert (await asked.get("acme")).status_code == 503
        proxy.fault = "none"
        clock.ahead += 2

        async def is_well() -> bool:
            return (await asked.get("acme")).status_code == 200

        await until(is_well)
        assert (await asked.get("globex")).status_code == 403


@pytest.mark.parametrize("fault", FAULTS)
async def test_a_redis_that_fails(tmp_path: Path, redis_url: str, fault: Fault) -> None:
    given = {
        "shared_cache": True,
        "encryption_keys": ["MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE"],
        "limits": TenantLimits({}, default=Limit(rate="1000/second")),
    }
    async with in_front_of(redis_url, tmp_path, **given) as (proxy, tenancy, asked):
        proxy.delay = 0.3
        proxy.fault = fault
        await tenancy.create_tenant("new")
        assert {(await asked.get(name)).status_code for name in ("acme", "globex", "new")} == {200}
        assert (await asked.get("nobody")).status_code == 404
        await tenancy.suspend_tenant("acme")
        assert (await asked.get("acme")).status_code == 403
        proxy.fault = "none"
        proxy.cut()
        shared = tenancy.stats()["shared"]

        async def is_shared_again() -> bool:
            for _ in range(2):
                await tenancy.directory.forget_all()
                await asked.get("acme")
            return bool(tenancy.stats()["shared"]["hits"] > shared["hits"])

        await until(is_shared_again)
        assert (await asked.get("acme")).status_code == 403


async def test_a_few_seconds_of_everything_at_random(
    tmp_path: Path, postgresql_url: str, redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    soak = importlib.import_module("soak").soak
    report = await soak(tmp_path, new_store_database(postgresql_url), redis_url, 3, 8)
    assert {200, 403, 404, 503} == set(report.answers)
