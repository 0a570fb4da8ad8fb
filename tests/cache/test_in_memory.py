"""What `InMemoryCache` promises beyond every cache's contract, step by step and against a model."""

import hypothesis.strategies as st
import pytest
from hypothesis import given, settings

from fastapi_tenancy.cache import ABSENT, InMemoryCache


@pytest.mark.parametrize(("age", "found"), [(9.9, True), (10, False)])
async def test_an_entry_expires_when_its_age_equals_its_ttl(clock, age, found):
    cache = InMemoryCache(clock=clock)
    await cache.set("key", 1, ttl=10)
    clock.advance(age)
    assert (await cache.get("key", ABSENT) is not ABSENT) is found


async def test_an_entry_without_a_ttl_stays(clock):
    cache = InMemoryCache(clock=clock)
    await cache.set("key", 1)
    clock.advance(1e9)
    assert await cache.get("key") == 1


@pytest.mark.parametrize("ttl", [0, -1, float("nan")])
async def test_a_ttl_that_is_not_above_zero_is_refused(clock, ttl):
    cache = InMemoryCache(clock=clock)
    with pytest.raises(ValueError, match="ttl"):
        await cache.set("key", 1, ttl=ttl)


def test_a_size_below_one_is_refused():
    with pytest.raises(ValueError, match="max_size"):
        InMemoryCache(0)


async def test_clear_drops_one_key_and_flush_all(clock):
    cache = InMemoryCache(clock=clock)
    await cache.set(["a", "b", "c"], 1)
    await cache.clear("a")
    await cache.clear("never set")
    assert cache.size() == 2
    await cache.flush()
    assert cache.size() == 0


async def test_what_expired_leaves_as_other_keys_are_set(clock):
    cache = InMemoryCache(clock=clock)
    await cache.set("for ever", 0)
    await cache.set([str(number) for number in range(100)], 1, ttl=10)
    clock.advance(10)
    await cache.set([f"new {number}" for number in range(50)], 1)
    assert cache.size() == 51


async def test_setting_one_key_for_ever_takes_no_more_memory(clock):
    cache = InMemoryCache(clock=clock)
    for _ in range(1000):
        await cache.set("key", 1, ttl=10)
    assert len(cache._expiries) < 100


@settings(max_examples=100, deadline=None)
@given(
    st.lists(
        st.one_of(
            st.tuples(st.just("get"), st.sampled_from("abcde")),
            st.tuples(st.just("set"), st.sampled_from("abcde"), st.sampled_from([None, 1, 5])),
            st.tuples(st.just("clear"), st.sampled_from("abcde")),
            st.tuples(st.just("wait"), st.integers(1, 5)),
        ),
        max_size=60,
    )
)
async def test_it_answers_as_a_list_in_order_of_use_would(steps):
    now, model = 0.0, {}  # in order of use: key to (value, end)
    cache = InMemoryCache(3, clock=lambda: now)
    for number, (what, *arguments) in enumerate(steps):
        model = {key: entry for key, entry in model.items() if entry[1] is None or entry[1] > now}
        if what == "wait":
            now += arguments[0]
        elif what == "clear":
            await cache.clear(arguments[0])
            model.pop(arguments[0], None)
        elif what == "set":
            key, ttl = arguments
            await cache.set(key, number, ttl)
            model.pop(key, None)
            model[key] = (number, None if ttl is None else now + ttl)
            model = dict(list(model.items())[-3:])
        else:
            found = await cache.get(arguments[0], ABSENT)
            if arguments[0] in model:
                model[arguments[0]] = model.pop(arguments[0])
                assert found == model[arguments[0]][0]
            else:
                assert found is ABSENT
        assert cache.size() <= 3
