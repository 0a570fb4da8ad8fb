"""What `CacheKeyLock` promises, over a cache that never yields and one that always does."""

import asyncio
import contextlib
import gc

import pytest

from fastapi_tenancy.cache import ABSENT, BaseCache, CacheError, CacheKeyLock, InMemoryCache


class SlowCache(BaseCache):
    """The four methods a subclass has to write, each with a moment in which others run."""

    def __init__(self):
        self.values = {}
        self.gets = 0

    async def get(self, key, default=None):
        self.gets += 1
        await asyncio.sleep(0)
        found = self.values.get(key, default)
        await asyncio.sleep(0)
        return found

    async def set(self, keys, value, ttl=None):
        await asyncio.sleep(0)
        for key in [keys] if isinstance(keys, str) else keys:
            self.values[key] = value
        await asyncio.sleep(0)

    async def clear(self, key):
        await asyncio.sleep(0)
        self.values.pop(key, None)
        await asyncio.sleep(0)

    async def flush(self):
        await asyncio.sleep(0)
        self.values.clear()
        await asyncio.sleep(0)


@pytest.fixture(params=[InMemoryCache, SlowCache])
def cache(request):
    cache = request.param()
    yield cache
    assert len(cache._loads_in_flight) == 0


async def ticks(count=20):
    for _ in range(count):
        await asyncio.sleep(0)


class Reader:
    """A task that enters a lock, notes it, and then does what it is told."""

    def __init__(self, cache, entered=None):
        self.lock = cache.acquire("key")
        self.orders = asyncio.Queue()
        self.entered = False
        self.log = entered
        self.task = asyncio.create_task(self.run())

    async def run(self):
        async with self.lock:
            self.entered = True
            if self.log is not None:
                self.log.append(self)
            if self.lock.done:
                return self.lock.result
            order = await self.orders.get()
            if isinstance(order, Exception):
                raise order
            if order is not None:
                await self.lock.set_result(order[0])
        return self.lock.result

    def give(self, value):
        self.orders.put_nowait((value,))

    def fail(self):
        self.orders.put_nowait(ZeroDivisionError())

    def give_up(self):
        self.orders.put_nowait(None)


async def readers_of(cache, count):
    readers = [Reader(cache) for _ in range(count)]
    await ticks()
    return readers


async def results_of(readers):
    return [await reader.task for reader in readers]


async def test_a_cached_value_is_there_at_entry(cache):
    await cache.set("key", 5)
    async with cache.acquire("key") as lock:
        assert (lock.done, lock.result, lock.parent) == (True, 5, None)


@pytest.mark.parametrize("value", [None, 0, "", []], ids=repr)
async def test_every_value_is_a_result(cache, value):
    async with cache.acquire("key") as lock:
        assert (lock.done, lock.result) == (False, None)
        await lock.set_result(value)
        assert (lock.done, lock.result) == (True, value)
    async with cache.acquire("key") as lock:
        assert (lock.done, lock.result) == (True, value)
    assert await cache.get("key", ABSENT) == value


async def test_the_ttl_of_a_result_reaches_the_cache(clock):
    cache = InMemoryCache(clock=clock)
    async with cache.acquire("key") as lock:
        await lock.set_result(1, ttl=10)
    clock.advance(10)
    assert await cache.get("key", ABSENT) is ABSENT


async def test_five_hundred_readers_make_one_load(cache):
    loads = 0

    async def read():
        nonlocal loads
        async with cache.acquire("key") as lock:
            if not lock.done:
                loads += 1
                await ticks(3)
                await lock.set_result("value")
            return lock.result

    assert await asyncio.gather(*[read() for _ in range(500)]) == ["value"] * 500
    assert loads == 1


async def test_readers_that_wait_share_one_look_up():
    cache = SlowCache()
    cache.values["key"] = 1
    readers = [Reader(cache) for _ in range(50)]
    assert await results_of(readers) == [1] * 50
    assert cache.gets == 1


async def test_waiters_go_on_at_set_result_and_not_at_the_end_of_the_block(cache):
    async with cache.acquire("key") as lock:
        (waiter,) = await readers_of(cache, 1)
        assert not waiter.entered
        assert waiter.lock.parent is lock
        await lock.set_result(1)
        await ticks()
        assert await waiter.task == 1
        assert waiter.lock.parent is lock


async def test_a_reader_that_comes_while_the_value_is_being_stored_gets_it(cache):
    async with cache.acquire("key") as lock:
        storing = asyncio.create_task(lock.set_result(1))
        await asyncio.sleep(0)
        async with cache.acquire("key") as other:
            assert (other.done, other.result) == (True, 1)
        await storing


@pytest.mark.parametrize("end", [Reader.fail, Reader.give_up, lambda reader: reader.task.cancel()])
async def test_a_load_without_a_result_promotes_the_first_that_waits(cache, end):
    first, second, third = await readers_of(cache, 3)
    end(first)
    await ticks()
    assert (second.entered, second.lock.done, third.entered) == (True, False, False)
    assert (first.lock.done, first.lock.result, third.lock.parent) == (True, None, second.lock)
    second.give(2)
    await asyncio.wait([first.task])
    assert await results_of([second, third]) == [2, 2]


async def test_waiters_are_promoted_in_the_order_they_came(cache):
    entered = []
    readers = [Reader(cache, entered) for _ in range(5)]
    for reader in readers:
        reader.give_up()
    await results_of(readers)
    assert entered == readers


async def test_a_failed_load_keeps_its_error(cache):
    lock = cache.acquire("key")
    with pytest.raises(ZeroDivisionError):
        async with lock:
            raise ZeroDivisionError
    assert (lock.done, lock.result, type(lock.exception)) == (True, None, ZeroDivisionError)
    assert await lock is None


async def test_an_error_after_the_result_is_not_the_loads(cache):
    lock = cache.acquire("key")
    with contextlib.suppress(ZeroDivisionError):
        async with lock:
            await lock.set_result(1)
            raise ZeroDivisionError
    assert (lock.result, lock.exception) == (1, None)


async def test_a_waiter_that_is_cancelled_harms_nobody(cache):
    first, second, third = await readers_of(cache, 3)
    second.task.cancel()
    await ticks()
    first.give(1)
    assert await results_of([first, third]) == [1, 1]
    assert second.task.cancelled()


@pytest.mark.parametrize("order", ["promoted, then cancelled", "cancelled, then promoted"])
async def test_a_waiter_cancelled_as_its_turn_comes_hands_the_turn_on(cache, order):
    first, second, third = await readers_of(cache, 3)
    if order.startswith("cancelled"):
        second.task.cancel()
    first.lock.release()
    second.task.cancel()
    await ticks()
    third.give(3)
    assert await third.task == 3
    assert second.task.cancelled()
    first.give_up()
    await first.task


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


async def test_a_second_result_is_an_error(cache):
    async with cache.acquire("key") as lock:
        await lock.set_result(1)
        with pytest.raises(CacheError):
            await lock.set_result(2)
    assert await cache.get("key") == 1


async def test_a_result_for_a_cached_value_is_an_error(cache):
    await cache.set("key", 1)
    async with cache.acquire("key") as lock:
        with pytest.raises(CacheError):
            await lock.set_result(2)


async def test_a_result_after_release_is_an_error(cache):
    async with cache.acquire("key") as lock:
        lock.release()
        with pytest.raises(CacheError):
            await lock.set_result(1)


async def test_a_result_on_a_lock_that_was_not_entered_is_an_error(cache):
    with pytest.raises(CacheError):
        await cache.acquire("key").set_result(1)


async def test_a_lock_is_entered_once(cache):
    lock = cache.acquire("key")
    async with lock:
        pass
    with pytest.raises(CacheError):
        await lock.__aenter__()


async def test_a_lock_that_is_never_entered_holds_up_nobody(cache):
    gc.disable()
    try:
        dropped = [cache.acquire("key")]
        (first,) = await readers_of(cache, 1)
        dropped.append(cache.acquire("key"))
        (second,) = await readers_of(cache, 1)
        first.fail()
        await ticks()
        second.give(2)
        assert await second.task == 2
        with pytest.raises(ZeroDivisionError):
            await first.task
    finally:
        gc.enable()


async def test_release_by_key_ends_the_load(cache):
    cache.release("key")
    first, second = await readers_of(cache, 2)
    cache.release("key")
    await ticks()
    assert (first.lock.done, second.entered, second.lock.done) == (True, True, False)
    first.give_up()
    second.give(2)
    assert await results_of([first, second]) == [None, 2]


async def test_awaiting_a_lock_gives_the_result(cache):
    lock = cache.acquire("key")
    awaiting = asyncio.ensure_future(lock)
    async with lock:
        await lock.set_result(7)
        assert await awaiting == 7
        assert await lock == 7
        assert lock.future.result() == 7


async def test_a_cancelled_await_cancels_only_itself(cache):
    async with cache.acquire("key") as lock:
        lock.future.cancel()
        awaiting = asyncio.ensure_future(lock)
        await asyncio.sleep(0)
        awaiting.cancel()
        await ticks()
        assert not lock.done
        await lock.set_result(1)
    assert await lock == 1


@pytest.mark.parametrize("change", [lambda cache: cache.clear("key"), lambda cache: cache.flush()])
async def test_a_reader_after_a_clear_starts_a_new_load(cache, change):
    old, waiter = await readers_of(cache, 2)
    await change(cache)
    new, follower = await readers_of(cache, 2)
    assert (new.entered, new.lock.done) == (True, False)
    old.give("old")
    assert await results_of([old, waiter]) == ["old", "old"]
    assert await cache.get("key", ABSENT) is ABSENT
    new.give("new")
    assert await results_of([new, follower]) == ["new", "new"]
    assert await cache.get("key") == "new"


async def test_a_set_during_a_load_wins(cache):
    old, waiter = await readers_of(cache, 2)
    await cache.set(["other", "key"], "set")
    (new,) = await readers_of(cache, 1)
    assert await new.task == "set"
    old.give("old")
    assert await results_of([old, waiter]) == ["old", "old"]
    assert await cache.get("key") == "set"


async def test_a_change_of_another_key_overtakes_nothing(cache):
    (reader,) = await readers_of(cache, 1)
    await cache.clear("other")
    await cache.set("another", 1)
    reader.give(1)
    await reader.task
    assert await cache.get("key") == 1


async def test_those_who_waited_for_an_overtaken_load_that_failed_join_the_new_one(cache):
    old, first, second = await readers_of(cache, 3)
    await cache.clear("key")
    (new,) = await readers_of(cache, 1)
    old.fail()
    await ticks()
    assert not first.entered
    new.give("new")
    assert await results_of([new, first, second]) == ["new"] * 3
    assert isinstance(old.task.exception(), ZeroDivisionError)


async def test_a_promoted_load_after_a_clear_is_kept(cache):
    old, first, second = await readers_of(cache, 3)
    await cache.clear("key")
    old.give_up()
    await ticks()
    assert (first.entered, second.entered) == (True, False)
    first.give("new")
    assert await results_of([old, first, second]) == [None, "new", "new"]
    assert await cache.get("key") == "new"


async def test_a_value_set_during_a_load_that_fails_is_given_to_those_who_wait(cache):
    old, waiter = await readers_of(cache, 2)
    await cache.set("key", "set")
    old.give_up()
    assert await results_of([old, waiter]) == [None, "set"]


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


async def test_waiters_that_were_cancelled_take_no_memory_while_the_load_goes_on(cache):
    first, *waiters = await readers_of(cache, 100)
    for waiter in waiters:
        waiter.task.cancel()
    await ticks()
    assert len(first.lock._load.waiting) == 0
    first.give_up()
    await first.task


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
