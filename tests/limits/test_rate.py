"""As many requests as the rate allows, over a window that slides, and a time to come again that is true."""

import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st
from limits import parse
from limits.aio.strategies import SlidingWindowCounterRateLimiter
from traffic import Clock

from fastapi_tenancy.errors import ConfigurationError
from fastapi_tenancy.limits.memory import Windows
from fastapi_tenancy.limits.rate import ProcessRateCounter, Rate, parsed
from fastapi_tenancy.limits.shared import SharedRateCounter


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.mark.parametrize(
    ("text", "rate"),
    [
        ("60/minute", (60, 60)),
        ("1 per second", (1, 1)),
        ("500 per 2 hours", (500, 7200)),
        ("10000/day", (10_000, 86_400)),
    ],
)
def test_a_rate_is_written_as_the_library_limits_has_it(text: str, rate: tuple[int, int]) -> None:
    assert parsed(text) == rate


async def test_so_many_pass_and_no_more(clock: Clock) -> None:
    counter = ProcessRateCounter(clock)
    waits = [await counter.take("acme", Rate(3, 60)) for _ in range(5)]
    assert [wait == 0 for wait in waits] == [True, True, True, False, False]


async def test_tenants_are_counted_apart(clock: Clock) -> None:
    counter = ProcessRateCounter(clock)
    assert [await counter.take(name, Rate(1, 60)) for name in ("acme", "globex")] == [0, 0]


async def test_what_was_counted_stays_when_the_amount_changes(clock: Clock) -> None:
    counter = ProcessRateCounter(clock)
    for _ in range(10):
        await counter.take("acme", Rate(10, 60))
    assert await counter.take("acme", Rate(5, 60)) > 0
    assert await counter.take("acme", Rate(11, 60)) == 0


async def test_there_is_no_burst_where_two_windows_meet(clock: Clock) -> None:
    counter = ProcessRateCounter(clock)
    clock.now = 60.0 * 20 - 0.5
    assert [await counter.take("acme", Rate(60, 60)) for _ in range(60)] == [0] * 60
    clock.now += 1.0
    assert [await counter.take("acme", Rate(60, 60)) == 0 for _ in range(3)] == [True, False, False]


async def test_after_a_pause_nothing_weighs_any_more(clock: Clock) -> None:
    counter = ProcessRateCounter(clock)
    for _ in range(2):
        assert [await counter.take("acme", Rate(3, 60)) for _ in range(3)] == [0] * 3
        clock.now += 120


RATES = st.builds(Rate, st.integers(1, 20), st.integers(1, 30))
STEPS = st.lists(st.floats(0, 25) | st.just(0.0), max_size=40)


@given(RATES, STEPS)
async def test_the_time_to_come_again_is_true_and_the_shortest_in_whole_seconds(rate: Rate, steps: list[float]) -> None:
    clock = Clock()
    counter = ProcessRateCounter(clock)
    for step in steps:
        clock.now += step
        wait = await counter.take("acme", rate)
        if wait:
            if wait > 1:
                clock.now += wait - 1.001
                assert await counter.take("acme", rate) > 0
                wait = 1.001
            clock.now += wait
            assert await counter.take("acme", rate) == 0


@given(RATES, STEPS)
async def test_in_no_window_more_pass_than_twice_and_over_time_no_more_than_the_rate(
    rate: Rate, steps: list[float]
) -> None:
    clock = Clock()
    counter = ProcessRateCounter(clock)
    passed = []
    for step in steps:
        clock.now += step
        if not await counter.take("acme", rate):
            passed.append(clock.now)
    for start in passed:
        assert sum(start <= at < start + rate.seconds for at in passed) <= 2 * rate.amount
        number = start // rate.seconds
        assert sum(at // rate.seconds == number for at in passed) <= rate.amount


async def test_the_strategy_of_the_library_counts_alike_with_our_memory(clock: Clock) -> None:
    limiter, item = SlidingWindowCounterRateLimiter(Windows(clock)), parse("3/minute")
    assert [await limiter.hit(item, "acme") for _ in range(4)] == [True, True, True, False]
    assert (await limiter.get_window_stats(item, "acme")).remaining == 0


async def test_what_is_over_is_forgotten(clock: Clock) -> None:
    windows = Windows(clock)
    for number in range(100_000):
        await windows.acquire_sliding_window_entry(str(number), 5, 60)
    for _ in range(2):
        clock.now += 60
        await windows.acquire_sliding_window_entry("acme", 5, 60)
    assert [len(window.counts) + len(window.before) for window in windows._by_length.values()] == [2]


def test_without_the_library_a_rate_names_the_extra_and_the_rest_works() -> None:
    program = """
import sys
sys.modules["limits"] = sys.modules["redis"] = None
from traffic import Traffic
from fastapi_tenancy import ConfigurationError, Limit
Traffic(Limit(concurrency=2))
for make in lambda: Limit(rate="1/second"), lambda: Traffic(Limit(), redis_url="redis://localhost"):
    try:
        make()
    except ConfigurationError as error:
        print(error)
"""
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd="tests")
    assert ran.stdout.count("extra") == 2


@pytest.mark.parametrize("url", ["nonsense", "http://x", "redis://h:secret", "redis://:secret@h:1/0?what=1"])
def test_a_wrong_redis_url_is_refused_without_being_shown(url: str) -> None:
    with pytest.raises(ConfigurationError, match="redis_url") as refused:
        SharedRateCounter(url, ProcessRateCounter(Clock()), Clock())
    assert "secret" not in str(refused.value)
