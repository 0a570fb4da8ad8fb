"""Serve requests while PostgreSQL, where the tenants are listed, and Redis fail at random, and check every answer.

    PYTHONPATH=tests python benchmarks/soak.py [--seconds 600] [--seed N]

Two workers have a proxy each in front of both servers. A fault, or several, comes and goes all the time: connections
are refused, swallowed, slowed down, answered with nonsense or cut. Meanwhile clients ask both workers, and tenants are
suspended and activated in one or the other. Any breach of the policy ends the program with an error that names it:

- an answer is 200, 403 or 404, or a 503 with Retry-After, and comes within `store_timeout` and half a second;
- what was acknowledged holds at once in the worker that did it, and within `cache_ttl` and `stale_for` in the other;
- when the faults have ended, all is as the store says again, without a restart.
"""

import argparse
import asyncio
import logging
import random
import tempfile
import time
from collections import Counter
from collections.abc import AsyncIterator, Coroutine
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx2 as httpx
from faulty_proxy import FaultyProxy
from support import make_app, make_tenancy, named

from fastapi_tenancy import Limit, StoreUnavailableError, Tenancy, TenantLimits, TenantUnavailableError

DEADLINE = 0.4  # seconds: store_timeout
GRACE = 0.5  # seconds beyond it
TTL, STALE_FOR = 1, 1.0  # seconds
BOUND = TTL + STALE_FOR + DEADLINE + GRACE  # seconds within which the other worker sees a change, whatever fails
TENANTS = [f"tenant-{number}" for number in range(12)]
UNKNOWN = "nobody"
CLIENTS = 6  # per worker
KEY = "MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE"
RECOVERY = 10.0  # seconds
FAULTS = ("refuse", "hang", "slow", "garbage", "cut", *["none"] * 10)


class BreachError(AssertionError):
    """The policy was not kept."""


@dataclass
class Lag:
    """How long this process itself was kept waiting, which is nobody's fault."""

    seconds: float = 0.0

    async def measure(self) -> None:
        while True:
            begun = time.perf_counter()
            await asyncio.sleep(0.01)
            self.seconds += max(time.perf_counter() - begun - 0.015, 0)


@dataclass
class Truth:
    """What was acknowledged of a tenant last: since when, by which worker; None where nobody knows."""

    is_active: bool | None = True
    since: float = field(default_factory=time.perf_counter)
    worker: int = -1


@dataclass
class Worker:
    tenancy: Tenancy
    client: httpx.AsyncClient
    proxies: list[FaultyProxy]


@dataclass
class Report:
    """What happened."""

    answers: Counter[int] = field(default_factory=Counter)
    changes: Counter[str] = field(default_factory=Counter)
    faults: Counter[str] = field(default_factory=Counter)
    longest: float = 0.0
    recovered_after: float = 0.0
    served_stale: int = 0


class Soak:
    def __init__(self, workers: list[Worker], seed: int) -> None:
        self.workers = workers
        self.rng = random.Random(seed)
        self.truths = {name: Truth() for name in TENANTS}
        self.report = Report()
        self.lag = Lag()

    async def run(self, seconds: float) -> Report:
        causes = [self.lag.measure(), self.fail(), self.change()]
        clients = [self.ask(number) for number, _ in enumerate(self.workers) for _ in range(CLIENTS)]
        async with cancelled_at_the_end([*causes, *clients]) as tasks:
            ended, _ = await asyncio.wait(tasks, timeout=seconds, return_when=asyncio.FIRST_EXCEPTION)
            for task in ended:
                task.result()
        async with cancelled_at_the_end([self.lag.measure()]):
            await self.recover()
        self.report.served_stale = sum(worker.tenancy.stats()["served_stale"] for worker in self.workers)
        return self.report

    async def ask(self, number: int) -> None:
        """Be a client."""
        while True:
            await asyncio.sleep(self.rng.uniform(0, 0.05))
            name = self.rng.choice([*TENANTS, UNKNOWN])
            await self.request(number, name)

    async def request(self, number: int, name: str) -> int:
        truth, begun, lag = self.truths.get(name), time.perf_counter(), self.lag.seconds
        answer = await self.workers[number].client.get("/notes", headers=named(name))
        took = time.perf_counter() - begun - (self.lag.seconds - lag)
        self.report.answers[answer.status_code] += 1
        self.report.longest = max(self.report.longest, took)
        if took > DEADLINE + GRACE:
            raise BreachError(f"{name} waited {took:.2f} s for a {answer.status_code}")
        if answer.status_code == 503 and "retry-after" not in answer.headers:
            raise BreachError(f"a 503 of {name} does not say when to come again")
        self.check(number, name, answer.status_code, truth, begun)
        return answer.status_code

    def check(self, number: int, name: str, status: int, truth: Truth | None, begun: float) -> None:
        if status == 503:
            return
        if truth is None:
            allowed = {404}
        elif truth is not self.truths[name] or truth.is_active is None:
            allowed = {200, 403}
        elif number == truth.worker or begun - truth.since > BOUND:
            allowed = {200} if truth.is_active else {403}
        else:
            allowed = {200, 403}
        if status not in allowed:
            since = "" if truth is None else f" after {begun - truth.since:.2f} s by worker {truth.worker}"
            raise BreachError(f"worker {number} answers {name} with {status}, and not one of {allowed}{since}")

    async def change(self) -> None:
        """Be an operator."""
        while True:
            await asyncio.sleep(self.rng.uniform(0, 0.2))
            name, number = self.rng.choice(TENANTS), self.rng.randrange(len(self.workers))
            tenancy, is_active = self.workers[number].tenancy, self.rng.random() < 0.5
            self.truths[name] = Truth(is_active=None)
            try:
                await (tenancy.activate_tenant if is_active else tenancy.suspend_tenant)(name)
            except TenantUnavailableError as error:
                self.report.changes["failed"] += 1
                if not isinstance(error, StoreUnavailableError):
                    raise
            else:
                self.report.changes["made"] += 1
                self.truths[name] = Truth(is_active, worker=number)

    async def fail(self) -> None:
        """Be the network."""
        proxies = [proxy for worker in self.workers for proxy in worker.proxies]
        while True:
            await asyncio.sleep(self.rng.uniform(0.05, 0.4))
            proxy, fault = self.rng.choice(proxies), self.rng.choice(FAULTS)
            self.report.faults[fault] += 1
            if fault == "cut":
                proxy.cut()
            else:
                proxy.fault = fault  # type: ignore[assignment]  # one of them

    async def recover(self) -> None:
        """Nothing fails any more, and nothing is changed: soon all is as the store says."""
        begun = time.perf_counter()
        for worker in self.workers:
            for proxy in worker.proxies:
                proxy.fault = "none"
                proxy.cut()
        self.truths = {name: Truth(is_active=None) for name in TENANTS}
        async with asyncio.timeout(RECOVERY):
            statuses = {name: await self.status_in_the_store(name) for name in TENANTS}
            for number, _ in enumerate(self.workers):
                for name, status in {**statuses, UNKNOWN: 404}.items():
                    await self.until_answered(number, name, status)
        self.report.recovered_after = time.perf_counter() - begun

    async def until_answered(self, number: int, name: str, status: int) -> None:
        while True:
            if await self.request(number, name) == status:
                return
            await asyncio.sleep(0.02)

    async def status_in_the_store(self, name: str) -> int:
        while True:
            try:
                return 200 if (await self.workers[0].tenancy.get_tenant(name)).is_active else 403
            except StoreUnavailableError:
                await asyncio.sleep(0.02)


@asynccontextmanager
async def cancelled_at_the_end(work: list[Coroutine[Any, Any, None]]) -> AsyncIterator[list[asyncio.Task[None]]]:
    tasks = [asyncio.create_task(each) for each in work]
    try:
        yield tasks
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


@asynccontextmanager
async def worker_on(folder: Path, database_url: str, redis_url: str) -> AsyncIterator[Worker]:
    async with AsyncExitStack() as stack:
        proxies = [await stack.enter_async_context(FaultyProxy(url).running()) for url in (database_url, redis_url)]
        tenancy = make_tenancy(
            folder,
            database_url=proxies[0].url,
            tenant_database_url=f"sqlite:///{folder}/tenants/{{id}}.db",
            redis_url=proxies[1].url,
            shared_cache=True,
            encryption_keys=[KEY],
            cache_ttl=TTL,
            unknown_cache_ttl=0.3,
            stale_for=STALE_FOR,
            store_timeout=DEADLINE,
            pool_timeout=DEADLINE,
            shutdown_timeout=1,
            limits=TenantLimits({}, default=Limit(rate="10000/second")),
        )
        await stack.enter_async_context(tenancy)
        transport = httpx.ASGITransport(app=make_app(tenancy), raise_app_exceptions=False)
        client = await stack.enter_async_context(httpx.AsyncClient(transport=transport, base_url="http://testserver"))
        yield Worker(tenancy, client, proxies)


async def soak(folder: Path, database_url: str, redis_url: str, seconds: float, seed: int) -> Report:
    """Run it.

    Raises:
        BreachError: the policy was not kept.
    """
    async with (
        worker_on(folder, database_url, redis_url) as here,
        worker_on(folder, database_url, redis_url) as there,
    ):
        for name in TENANTS:
            await here.tenancy.create_tenant(name)
        return await Soak([here, there], seed).run(seconds)


def main() -> None:
    from servers import new_database, postgresql, redis

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=600)
    parser.add_argument("--seed", type=int, default=time.time_ns() % 1_000_000)
    options = parser.parse_args()
    print(f"seed {options.seed}", flush=True)
    logging.disable(logging.CRITICAL)
    with postgresql() as server, redis() as redis_url, tempfile.TemporaryDirectory() as folder:
        report = asyncio.run(soak(Path(folder), new_database(server), redis_url, options.seconds, options.seed))
    for name, value in vars(report).items():
        print(f"{name}: {dict(value) if isinstance(value, Counter) else round(value, 3)}")


if __name__ == "__main__":
    main()
