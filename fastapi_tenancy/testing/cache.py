"""What every cache promises."""

# ruff: noqa: S101 - assert is how pytest works

import asyncio
from collections.abc import Awaitable, Callable, Iterable

import pytest

from ..cache import ABSENT, BaseCache
from .loads import LoadContract
from .readers import readers_of, results_of, ticks, until


class CacheContract(LoadContract):
    """Proves a `BaseCache`; give a fixture `cache` that makes an empty one, and `advance` if time is not the real one.

    Attributes:
        ttl: seconds for which the tests keep a value; shorten it where `advance` really waits.
    """

    ttl: float = 1.0

    @pytest.fixture
    def cache(self) -> BaseCache:
        raise NotImplementedError(f"{type(self).__name__} needs a fixture cache() that gives the cache to be proven")

    async def advance(self, seconds: float) -> None:
        """Let that much time pass for the cache; unless it is overridden, by waiting a little longer."""
        await asyncio.sleep(seconds + 0.01)

    @pytest.mark.parametrize("value", [0, "", [], None, False, "text"], ids=repr)
    async def test_every_value_is_a_value(self, cache: BaseCache, value: object) -> None:
        await cache.set("key", value)
        assert await cache.get("key", ABSENT) == value

    async def test_a_miss_gives_the_default(self, cache: BaseCache) -> None:
        assert await cache.get("key") is None
        assert await cache.get("key", 7) == 7
        assert await cache.get("key", ABSENT) is ABSENT

    async def test_a_later_value_replaces_an_earlier_one(self, cache: BaseCache) -> None:
        await cache.set("key", 1, ttl=self.ttl)
        await cache.set("key", 2)
        await self.advance(self.ttl)
        assert await cache.get("key") == 2

    @pytest.mark.parametrize("kind", [list, tuple, iter])
    async def test_one_set_keeps_several_keys(
        self, cache: BaseCache, kind: Callable[[list[str]], Iterable[str]]
    ) -> None:
        await cache.set(kind(["a", "b"]), 1)
        assert (await cache.get("a"), await cache.get("b")) == (1, 1)

    async def test_a_string_is_one_key(self, cache: BaseCache) -> None:
        await cache.set("ab", 1)
        assert await cache.get("a", ABSENT) is ABSENT
        assert await cache.get("ab") == 1

    @pytest.mark.parametrize(("part", "found"), [(0.5, True), (1, False)])
    async def test_a_value_stays_for_its_ttl(self, cache: BaseCache, part: float, found: bool) -> None:
        await cache.set("key", 1, ttl=self.ttl)
        await self.advance(part * self.ttl)
        assert (await cache.get("key", ABSENT) is not ABSENT) is found

    async def test_a_value_without_a_ttl_stays(self, cache: BaseCache) -> None:
        await cache.set("key", 1)
        await self.advance(self.ttl)
        assert await cache.get("key") == 1

    async def test_the_ttl_of_a_result_reaches_the_cache(self, cache: BaseCache) -> None:
        async with cache.acquire("key") as lock:
            await lock.set_result(1, ttl=self.ttl)
        await self.advance(self.ttl)
        assert await cache.get("key", ABSENT) is ABSENT

    async def test_clear_drops_one_key(self, cache: BaseCache) -> None:
        await cache.set(["a", "b"], 1)
        await cache.clear("a")
        await cache.clear("never set")
        assert [await cache.get(key, ABSENT) for key in ("a", "b")] == [ABSENT, 1]

    async def test_flush_drops_all_keys(self, cache: BaseCache) -> None:
        await cache.set(["a", "b"], 1)
        await cache.flush()
        assert [await cache.get(key, ABSENT) for key in ("a", "b")] == [ABSENT, ABSENT]

    @pytest.mark.parametrize("change", [lambda cache: cache.clear("key"), lambda cache: cache.flush()])
    async def test_a_reader_after_a_clear_starts_a_new_load(
        self, cache: BaseCache, change: Callable[[BaseCache], Awaitable[None]]
    ) -> None:
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

    async def test_a_set_during_a_load_wins(self, cache: BaseCache) -> None:
        old, waiter = await readers_of(cache, 2)
        await cache.set(["other", "key"], "set")
        (new,) = await readers_of(cache, 1)
        assert await new.task == "set"
        old.give("old")
        assert await results_of([old, waiter]) == ["old", "old"]
        assert await cache.get("key") == "set"

    async def test_a_change_of_another_key_overtakes_nothing(self, cache: BaseCache) -> None:
        (reader,) = await readers_of(cache, 1)
        await cache.clear("other")
        await cache.set("another", 1)
        reader.give(1)
        await reader.task
        assert await cache.get("key") == 1

    async def test_those_who_waited_for_an_overtaken_load_that_failed_join_the_new_one(self, cache: BaseCache) -> None:
        old, first, second = await readers_of(cache, 3)
        await cache.clear("key")
        (new,) = await readers_of(cache, 1)
        old.fail()
        await ticks()
        assert not first.entered
        new.give("new")
        assert await results_of([new, first, second]) == ["new"] * 3
        assert isinstance(old.task.exception(), ZeroDivisionError)

    async def test_a_promoted_load_after_a_clear_is_kept(self, cache: BaseCache) -> None:
        old, first, second = await readers_of(cache, 3)
        await cache.clear("key")
        old.give_up()
        await until(lambda: first.entered)
        await ticks()
        assert not second.entered
        first.give("new")
        assert await results_of([old, first, second]) == [None, "new", "new"]
        assert await cache.get("key") == "new"

    async def test_a_value_set_during_a_load_that_fails_is_given_to_those_who_wait(self, cache: BaseCache) -> None:
        old, waiter = await readers_of(cache, 2)
        await cache.set("key", "set")
        old.give_up()
        assert await results_of([old, waiter]) == [None, "set"]
