"""Readers, changes and cancellations in any order: nobody hangs, nobody reads what a change had replaced.

The truth is a number that only rises. A change raises it and then tells the cache; a load reads it and takes its time.
"""

import asyncio
from dataclasses import dataclass, field

import hypothesis.strategies as st
from hypothesis import given, settings

from fastapi_tenancy.cache import ABSENT, BaseCache

MOMENTS = st.integers(0, 6)


class PacedCache(BaseCache):
    """A cache whose calls take effect somewhere between their begin and their end."""

    def __init__(self, paces):
        self.values = {}
        self.paces = paces
        self.calls = 0

    async def pace(self):
        self.calls += 1
        await moments(self.paces[self.calls % len(self.paces)])

    async def get(self, key, default=None):
        await self.pace()
        found = self.values.get(key, default)
        await self.pace()
        return found

    async def set(self, keys, value, ttl=None):
        await self.pace()
        self.values[keys] = value
        await self.pace()

    async def clear(self, key):
        await self.pace()
        self.values.pop(key, None)
        await self.pace()

    async def flush(self):
        await self.pace()
        self.values.clear()
        await self.pace()


async def moments(count):
    for _ in range(count):
        await asyncio.sleep(0)


@dataclass
class World:
    cache: PacedCache
    truth: int = 0
    told: int = 0  # the highest truth whose change has come back
    is_changing: bool = False
    turn: asyncio.Lock = field(default_factory=asyncio.Lock)
    loading: set = field(default_factory=set)  # the loads in flight that no change has overtaken

    async def read(self, load_takes, outcome):
        floor = self.told
        async with self.cache.acquire("key") as lock:
            if not lock.done:
                await self.load(lock, load_takes, outcome)
        assert lock.done
        assert lock.result is None or lock.result >= floor

    async def load(self, lock, takes, outcome):
        assert not self.loading
        if not self.is_changing:
            self.loading.add(lock)
        try:
            found = self.truth
            await moments(takes)
            if outcome == "fail":
                raise ZeroDivisionError
            if outcome == "give":
                await lock.set_result(found)
        finally:
            self.loading.discard(lock)

    async def change(self, how):
        async with self.turn:  # two changes at once have no order that a cache could keep
            self.truth += 1
            self.is_changing = True
            self.loading.clear()
            if how == "set":
                await self.cache.set("key", self.truth)
            elif how == "clear":
                await self.cache.clear("key")
            else:
                await self.cache.flush()
            self.told = self.truth
            self.is_changing = False
            self.loading.clear()

    async def look(self):
        floor = self.told
        found = await self.cache.get("key", ABSENT)
        assert found is ABSENT or found >= floor


READS = st.tuples(st.just("read"), MOMENTS, st.sampled_from(["give", "give", "fail", "nothing"]))
CHANGES = st.tuples(st.just("change"), st.sampled_from(["clear", "set", "flush"]))
LOOKS = st.tuples(st.just("look"))
# When a task begins, what it does, and when it is cancelled, if it is.
TASKS = st.tuples(st.integers(0, 12), st.one_of(READS, READS, READS, CHANGES, LOOKS), st.none() | st.integers(0, 20))


async def play(tasks, paces):
    world = World(PacedCache(paces))
    running = {}
    for moment in range(500):
        for number, (begins, (what, *arguments), cancelled_after) in enumerate(tasks):
            if begins == moment:
                running[number] = asyncio.create_task(getattr(world, what)(*arguments))
            # A change that is cancelled promises nothing, so only reads are.
            if what == "read" and cancelled_after is not None and begins + cancelled_after == moment:
                running[number].cancel()
        await asyncio.sleep(0)
    assert all(task.done() for task in running.values()), "somebody waits for ever"
    for outcome in await asyncio.gather(*running.values(), return_exceptions=True):
        if isinstance(outcome, Exception) and not isinstance(outcome, ZeroDivisionError):
            raise outcome
    assert len(world.cache._loads_in_flight) == 0
    assert world.cache.values.get("key", world.told) >= world.told


@settings(max_examples=120, deadline=None)
@given(st.lists(TASKS, min_size=1, max_size=10), st.lists(st.integers(0, 3), min_size=1, max_size=5))
def test_whatever_happens_nobody_hangs_and_nobody_reads_what_was_replaced(tasks, paces):
    asyncio.run(play(tasks, paces))
