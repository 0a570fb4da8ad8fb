"""What a cache's locks promise: one load per key, whatever becomes of those who load and those who wait."""

# ruff: noqa: S101 - assert is how pytest works

import asyncio
import contextlib
import gc
from collections.abc import Callable

import pytest

from ..cache import ABSENT, BaseCache, CacheError
from .base import AsyncioContract
from .readers import Reader, readers_of, results_of, ticks, until


class LoadContract(AsyncioContract):
    """The part of `CacheContract` that is about `acquire` and `release`."""

    async def test_a_cached_value_is_there_at_entry(self, cache: BaseCache) -> None:
        await cache.set("key", 5)
        async with cache.acquire("key") as lock:
            assert (lock.done, lock.result, lock.parent) == (True, 5, None)

    @pytest.mark.parametrize("value", [None, 0, "", []], ids=repr)
    async def test_every_value_is_a_result(self, cache: BaseCache, value: object) -> None:
        async with cache.acquire("key") as lock:
            assert (lock.done, lock.result) == (False, None)
            await lock.set_result(value)
            assert (lock.done, lock.result) == (True, value)
        async with cache.acquire("key") as lock:
            assert (lock.done, lock.result) == (True, value)
        assert await cache.get("key", ABSENT) == value

    async def test_five_hundred_readers_make_one_load(self, cache: BaseCache) -> None:
        loads = 0

        async def read() -> object:
            nonlocal loads
            async with cache.acquire("key") as lock:
                if not lock.done:
                    loads += 1
                    await ticks(3)
                    await lock.set_result("value")
                return lock.result

        assert await asyncio.gather(*[read() for _ in range(500)]) == ["value"] * 500
        assert loads == 1

    async def test_waiters_go_on_at_set_result_and_not_at_the_end_of_the_block(self, cache: BaseCache) -> None:
        async with cache.acquire("key") as lock:
            (waiter,) = await readers_of(cache, 1)
            assert not waiter.entered
            assert waiter.lock.parent is lock
            await lock.set_result(1)
            await until(lambda: waiter.task.done())
            assert await waiter.task == 1
            assert waiter.lock.parent is lock

    async def test_a_reader_that_comes_while_the_value_is_being_stored_gets_it(self, cache: BaseCache) -> None:
        async with cache.acquire("key") as lock:
            storing = asyncio.create_task(lock.set_result(1))
            await asyncio.sleep(0)
            async with cache.acquire("key") as other:
                assert (other.done, other.result) == (True, 1)
            await storing

    @pytest.mark.parametrize("end", [Reader.fail, Reader.give_up, lambda reader: reader.task.cancel()])
    async def test_a_load_without_a_result_promotes_the_first_that_waits(
        self, cache: BaseCache, end: Callable[[Reader], object]
    ) -> None:
        first, second, third = await readers_of(cache, 3)
        end(first)
        await until(lambda: second.entered)
        await ticks()
        assert (second.lock.done, third.entered) == (False, False)
        assert (first.lock.done, first.lock.result, third.lock.parent) == (True, None, second.lock)
        second.give(2)
        await asyncio.wait([first.task])
        assert await results_of([second, third]) == [2, 2]

    async def test_waiters_are_promoted_in_the_order_they_came(self, cache: BaseCache) -> None:
        entered: list[Reader] = []
        readers = [Reader(cache, entered) for _ in range(5)]
        for reader in readers:
            reader.give_up()
        await results_of(readers)
        assert entered == readers

    async def test_a_failed_load_keeps_its_error(self, cache: BaseCache) -> None:
        lock = cache.acquire("key")
        with pytest.raises(ZeroDivisionError):
            async with lock:
                raise ZeroDivisionError
        assert (lock.done, lock.result, type(lock.exception)) == (True, None, ZeroDivisionError)
        assert await lock is None

    async def test_an_error_after_the_result_is_not_the_loads(self, cache: BaseCache) -> None:
        lock = cache.acquire("key")
        with contextlib.suppress(ZeroDivisionError):
            async with lock:
                await lock.set_result(1)
                raise ZeroDivisionError
        assert (lock.result, lock.exception) == (1, None)

    async def test_a_waiter_that_is_cancelled_harms_nobody(self, cache: BaseCache) -> None:
        first, second, third = await readers_of(cache, 3)
        second.task.cancel()
        await ticks()
        first.give(1)
        assert await results_of([first, third]) == [1, 1]
        assert second.task.cancelled()

    @pytest.mark.parametrize("order", ["promoted, then cancelled", "cancelled, then promoted"])
    async def test_a_waiter_cancelled_as_its_turn_comes_hands_the_turn_on(self, cache: BaseCache, order: str) -> None:
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

    async def test_a_second_result_is_an_error(self, cache: BaseCache) -> None:
        async with cache.acquire("key") as lock:
            await lock.set_result(1)
            with pytest.raises(CacheError):
                await lock.set_result(2)
        assert await cache.get("key") == 1

    async def test_a_result_for_a_cached_value_is_an_error(self, cache: BaseCache) -> None:
        await cache.set("key", 1)
        async with cache.acquire("key") as lock:
            with pytest.raises(CacheError):
                await lock.set_result(2)

    async def test_a_result_after_release_is_an_error(self, cache: BaseCache) -> None:
        async with cache.acquire("key") as lock:
            lock.release()
            with pytest.raises(CacheError):
                await lock.set_result(1)

    async def test_a_result_on_a_lock_that_was_not_entered_is_an_error(self, cache: BaseCache) -> None:
        with pytest.raises(CacheError):
            await cache.acquire("key").set_result(1)

    async def test_a_lock_is_entered_once(self, cache: BaseCache) -> None:
        lock = cache.acquire("key")
        async with lock:
            pass
        with pytest.raises(CacheError):
            await lock.__aenter__()

    async def test_a_lock_that_is_never_entered_holds_up_nobody(self, cache: BaseCache) -> None:
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

    async def test_release_by_key_ends_the_load(self, cache: BaseCache) -> None:
        cache.release("key")
        first, second = await readers_of(cache, 2)
        cache.release("key")
        await until(lambda: second.entered)
        assert (first.lock.done, second.lock.done) == (True, False)
        first.give_up()
        second.give(2)
        assert await results_of([first, second]) == [None, 2]

    async def test_awaiting_a_lock_gives_the_result(self, cache: BaseCache) -> None:
        lock = cache.acquire("key")
        awaiting = asyncio.ensure_future(lock)
        async with lock:
            await lock.set_result(7)
            assert await awaiting == 7
            assert await lock == 7
            assert lock.future.result() == 7

    async def test_a_cancelled_await_cancels_only_itself(self, cache: BaseCache) -> None:
        async with cache.acquire("key") as lock:
            lock.future.cancel()
            awaiting = asyncio.ensure_future(lock)
            await asyncio.sleep(0)
            awaiting.cancel()
            await ticks()
            assert not lock.done
            await lock.set_result(1)
        assert await lock == 1
