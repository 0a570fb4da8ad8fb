"""What `CacheKeyLock` promises, over a cache that never yields and one that always does."""

import asyncio
import math

import pytest

from fastapi_tenancy.cache import ABSENT, BaseCache, CacheError, CacheKeyLock, InMemoryCache
from fastapi_tenancy.testing import CacheContract
from fastapi_tenancy.testing.readers import Reader, results_of, ticks


class SlowCache(BaseCache):
    """The four methods a subclass has to write, each with a moment in which others run."""

    def __init__(self):
        self.values = {}
        self.ends = {}
        self.now = 0.0
        self.gets = 0

    async def get(self, key, default=None):
        self.gets += 1
        await asyncio.sleep(0)
        found = self.values.get(key, default) if self.ends.get(key, math.inf) > self.now else default
        await asyncio.sleep(0)
        return found

    async def set(self, keys, value, ttl=None):
        await asyncio.sleep(0)
        for key in [keys] if isinstance(keys, str) else keys:
            self.values[key] = value
            self.ends[key] = math.inf if ttl is None else self.now + ttl
        await asyncio.sleep(0)

    async def clear(self, key):
        await asyncio.sleep(0)
        self.values.pop(key, None)
        await asyncio.sleep(0)

    async def flush(self):
        await asyncio.sleep(0)
        self.values.clear()
        await asyncio.sleep(0)


class TestInMemoryCache(CacheContract):
    """A cache that never yields."""

    @pytest.fixture
    def cache(self):
        self.now = 1000.0
        cache = InMemoryCache(clock=lambda: self.now)
        yield cache
        assert len(cache._loads_in_flight) == 0

    async def advance(self, seconds):
        self.now += seconds


class TestSlowCache(CacheContract):
    """A cache that always yields."""

    @pytest.fixture
    def cache(self):
        self.slow = SlowCache()
        yield self.slow
        assert len(self.slow._loads_in_flight) == 0

    async def advance(self, seconds):
        self.slow.now += seconds


async def readers_of(cache, count):
    readers = [Reader(cache) for _ in range(count)]
    await ticks()  # and not until they are settled: some of these caches do not answer yet
    return readers


async def test_readers_that_wait_share_one_look_up():
    cache = SlowCache()
    cache.values["key"] = 1
    readers = [Reader(cache) for _ in range(50)]
    assert await results_of(readers) == [1] * 50
    assert cache.gets == 1


async def test_a_loader_cancelled_while_it_stores_has_given_its_value_to_those_who_wait():
    cache = SlowCache()
    first, second = await readers_of(cache, 2)
    first.give(1)
    await first.lock
    first.task.cancel()
    assert await second.task == 1
    await asyncio.wait([first.task])
    assert first.task.cancelled()
    assert len(cache._loads_in_flight) == 0
    third, fourth = await readers_of(cache, 2)
    if not third.task.done():
        third.give(2)
    assert await third.task == await fourth.task


async def test_a_cache_that_cannot_store_still_gives_the_value_to_those_who_wait():
    class FullCache(SlowCache):
        async def set(self, keys, value, ttl=None):
            raise OSError

    cache = FullCache()
    first, second = await readers_of(cache, 2)
    first.give(1)
    assert await second.task == 1
    with pytest.raises(OSError):  # noqa: PT011 - the bare error is what the cache raised
        await first.task
    assert len(cache._loads_in_flight) == 0


async def test_what_is_given_and_not_set_goes_to_those_who_wait_and_is_not_kept():
    cache = InMemoryCache()

    async def read():
        async with cache.acquire("key") as lock:
            if not lock.done:
                await asyncio.sleep(0)
                lock.give("failure")
        return lock.result

    assert await asyncio.gather(*(read() for _ in range(5))) == ["failure"] * 5
    assert await cache.get("key", ABSENT) is ABSENT
    with pytest.raises(CacheError, match="enter it"):
        cache.acquire("key").give("failure")


async def test_a_cache_that_cannot_be_read_fails_each_reader_and_blocks_none():
    class BrokenCache(SlowCache):
        async def get(self, key, default=None):
            await asyncio.sleep(0)
            raise OSError

    cache = BrokenCache()
    readers = await readers_of(cache, 3)
    assert [type(error) for error in await asyncio.gather(*[r.task for r in readers], return_exceptions=True)] == [
        OSError
    ] * 3
    assert len(cache._loads_in_flight) == 0


class GatedCache(SlowCache):
    """A call waits at the gates "… before" and "… after" its effect, where the test has closed them."""

    def __init__(self, *closed):
        super().__init__()
        self.gates = {name: asyncio.Event() for name in closed}

    def open(self, *names):
        for name in names:
            self.gates[name].set()

    async def pass_gates(self, name, effect):
        if gate := self.gates.get(f"{name} before"):
            await gate.wait()
        found = effect()
        if gate := self.gates.get(f"{name} after"):
            await gate.wait()
        return found

    async def get(self, key, default=None):
        return await self.pass_gates("get", lambda: self.values.get(key, default))

    async def set(self, keys, value, ttl=None):
        await self.pass_gates(f"set {value}", lambda: self.values.update({keys: value}))

    async def clear(self, key):
        await self.pass_gates("clear", lambda: self.values.pop(key, None))


async def test_a_load_that_begins_during_a_set_is_not_stored_over_it():
    cache = GatedCache("set new before", "set new after")
    setting = asyncio.create_task(cache.set("key", "new"))
    (reader,) = await readers_of(cache, 1)
    cache.open("set new before")
    await ticks()
    reader.give("loaded")
    assert await reader.task == "loaded"
    cache.open("set new after")
    await setting
    assert await cache.get("key") == "new"
    assert len(cache._loads_in_flight) == 0


async def test_a_reader_that_comes_during_a_clear_does_not_join_the_load_before_it():
    cache = GatedCache("clear before")
    (old,) = await readers_of(cache, 1)
    clearing = asyncio.create_task(cache.clear("key"))
    (new,) = await readers_of(cache, 1)
    assert new.entered
    cache.open("clear before")
    await clearing
    for reader in (old, new):
        reader.give_up()
        await reader.task


async def test_a_reader_after_a_clear_does_not_join_a_look_up_that_was_answered_before_it():
    cache = GatedCache("clear before", "get after")
    cache.values["key"] = "old"
    clearing = asyncio.create_task(cache.clear("key"))
    (early,) = await readers_of(cache, 1)
    cache.open("clear before")
    await clearing
    (late,) = await readers_of(cache, 1)
    cache.open("get after")
    late.give("new")
    assert await results_of([early, late]) == ["old", "new"]


async def test_a_change_during_the_look_up_leaves_one_loader():
    cache = GatedCache("get after")
    (early,) = await readers_of(cache, 1)
    await cache.clear("key")
    (late,) = await readers_of(cache, 1)
    cache.open("get after")
    await ticks()
    assert [early.entered, late.entered] == [False, True]
    late.give(1)
    assert await results_of([early, late]) == [1, 1]


async def test_a_clear_waits_for_the_value_that_is_being_stored_and_then_clears_it():
    cache = GatedCache("set old before")
    (reader,) = await readers_of(cache, 1)
    reader.give("old")
    await ticks()
    clearing = asyncio.create_task(cache.clear("key"))
    await ticks()
    cache.open("set old before")
    assert await reader.task == "old"
    await clearing
    assert await cache.get("key", ABSENT) is ABSENT
    assert len(cache._loads_in_flight) == 0


async def test_a_second_store_does_not_begin_while_a_first_goes_on():
    cache = GatedCache("set old before")
    first, second = await readers_of(cache, 2)
    first.give("old")
    clearing = asyncio.create_task(cache.clear("key"))
    await ticks()
    clearing.cancel()
    await asyncio.wait([clearing])
    (third,) = await readers_of(cache, 1)
    third.give("new")
    assert await results_of([second, third]) == ["old", "new"]
    cache.open("set old before")
    assert await first.task == "old"
    assert len(cache._loads_in_flight) == 0


async def test_a_lock_released_while_it_looks_up_stays_without_a_result():
    cache = GatedCache("get after")
    cache.values["key"] = 1
    (reader,) = await readers_of(cache, 1)
    reader.lock.release()
    cache.open("get after")
    assert await reader.task is None
    assert len(cache._loads_in_flight) == 0


@pytest.mark.parametrize("make", [InMemoryCache, SlowCache])
async def test_waiters_that_were_cancelled_take_no_memory_while_the_load_goes_on(make):
    cache = make()
    first, *waiters = await readers_of(cache, 100)
    for waiter in waiters:
        waiter.task.cancel()
    await ticks()
    assert len(first.lock._load.waiting) == 0
    first.give_up()
    await first.task
    assert len(cache._loads_in_flight) == 0


async def test_a_subclass_may_call_its_own_methods_and_its_bases():
    class Recorded(SlowCache):
        async def set(self, keys, value, ttl=None):
            await asyncio.wait_for(super().set(keys, value, ttl), 5)
            await self.clear("evicted")

        async def clear(self, key):
            await super().clear(key)

        async def flush(self):
            await super().flush()

    cache = Recorded()
    await cache.set("evicted", 1)
    reader, waiter = await readers_of(cache, 2)
    reader.give(1)
    assert await results_of([reader, waiter]) == [1, 1]
    assert cache.values == {"key": 1}
    (reader,) = await readers_of(cache, 1)
    await cache.flush()
    assert len(cache._loads_in_flight) == 0


async def test_a_task_that_a_store_began_overtakes_loads_like_any_other_once_the_store_has_ended():
    class Listening(SlowCache):
        async def set(self, keys, value, ttl=None):
            await super().set(keys, value, ttl)
            self.heard = asyncio.Event()
            self.listener = asyncio.create_task(self.listen())

        async def listen(self):
            await self.heard.wait()
            await self.clear("key")

    cache = Listening()
    async with cache.acquire("key") as lock:
        await lock.set_result(1)
    await SlowCache.clear(cache, "key")
    (old,) = await readers_of(cache, 1)
    cache.heard.set()
    await cache.listener
    (new,) = await readers_of(cache, 1)
    assert (new.entered, new.lock.done) == (True, False)
    old.give_up()
    new.give_up()
    await results_of([old, new])


async def test_methods_of_a_mixin_overtake_too():
    class Methods:
        async def get(self, key, default=None):
            return default

        async def set(self, keys, value, ttl=None):
            pass

        async def clear(self, key):
            pass

        async def flush(self):
            pass

    class Mixed(Methods, BaseCache):
        pass

    cache = Mixed()
    (old,) = await readers_of(cache, 1)
    await cache.clear("key")
    (new,) = await readers_of(cache, 1)
    assert new.entered
    for reader in (old, new):
        reader.give_up()
        await reader.task


def test_a_cache_without_one_of_the_four_cannot_be_made():
    class Half(BaseCache):
        async def get(self, key, default=None):
            return default

    with pytest.raises(TypeError):
        Half()


def test_a_lock_can_be_acquired_and_dropped_without_an_event_loop():
    assert isinstance(InMemoryCache().acquire("key"), CacheKeyLock)
