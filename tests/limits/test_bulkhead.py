"""Places for so many requests of a tenant, in the order in which they came, whatever happens to each of them."""

import asyncio
import selectors
from collections import Counter
from collections.abc import Coroutine
from typing import Any

import hypothesis.strategies as st
import pytest
from hypothesis import given, settings
from traffic import Request, Traffic, a_tenant, settled, until_finished

from fastapi_tenancy import Limit, Tenant, TenantBusyError, TenantLimits
from fastapi_tenancy.limits.bulkhead import Bulkhead


async def test_the_core_hands_places_on_in_order_and_each_once() -> None:
    bulkhead, limit = Bulkhead(), Limit(concurrency=1, queue=3)
    assert [bulkhead.enter("acme", 1) for _ in range(2)] == [True, False]
    first, second, third = (bulkhead.queue("acme", limit) for _ in range(3))
    with pytest.raises(TenantBusyError):
        bulkhead.queue("acme", limit)
    bulkhead.end("acme", second)  # gave up
    bulkhead.leave("acme")
    assert (first.done(), third.done()) == (True, False)
    assert bulkhead.enter("acme", 1) is False
    bulkhead.end("acme", first)
    assert third.done()
    bulkhead.end("acme", third)
    assert bulkhead.stats() == {"running": 0, "queued": 0}


async def test_a_place_that_was_handed_to_somebody_who_gives_up_in_that_moment_goes_on_to_the_next() -> None:
    bulkhead, limit = Bulkhead(), Limit(concurrency=1)
    bulkhead.enter("acme", 1)
    bulkhead.enter("acme", 1)
    first, second = (bulkhead.queue("acme", limit) for _ in range(2))
    bulkhead.leave("acme")
    bulkhead.end("acme", first)
    assert second.done()


async def test_more_places_are_filled_with_those_who_wait_before_anybody_who_comes() -> None:
    bulkhead, limit = Bulkhead(), Limit(concurrency=1)
    bulkhead.enter("acme", 1)
    bulkhead.enter("acme", 1)
    waiting = [bulkhead.queue("acme", limit) for _ in range(3)]
    assert bulkhead.enter("acme", 3) is False
    assert [turn.done() for turn in waiting] == [True, True, False]


STEPS = st.lists(st.tuples(st.sampled_from("elgp"), st.integers(0, 5)), max_size=60)


@given(STEPS)
@settings(max_examples=200)
async def test_no_place_is_idle_while_somebody_waits_and_none_is_given_twice(steps: list[tuple[str, int]]) -> None:
    bulkhead, limit = Bulkhead(), Limit(concurrency=2, queue=4)
    places, held, turns = 2, 0, []
    for step, number in steps:
        if step == "e":  # somebody comes
            if bulkhead.enter("acme", places):
                assert not any(not turn.done() for turn in turns)
                held += 1
            elif bulkhead.stats()["queued"] < limit.queue:
                turns.append(bulkhead.queue("acme", limit))
        elif step == "l" and held:  # somebody leaves who did not wait
            bulkhead.leave("acme")
            held -= 1
        elif step == "g" and turns:  # somebody who waits, or did, ends
            bulkhead.end("acme", turns.pop(number % len(turns)))
        elif step == "p":  # the plan changes
            places = 1 + number
        came = [turn.done() for turn in turns]
        running, waiting = held + sum(came), len(came) - sum(came)
        assert came == sorted(came, reverse=True)
        assert bulkhead.stats() == {"running": running, "queued": waiting}
        assert not waiting or running >= bulkhead._rooms["acme"].places
    for turn in reversed(turns):
        bulkhead.end("acme", turn)
    for _ in range(held):
        bulkhead.leave("acme")
    assert bulkhead._rooms == {}


class _NoSleep(selectors.SelectSelector):
    """Moves the loop's clock on instead of waiting."""

    now = 0.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        ready = super().select(0)
        if not ready:
            assert timeout is not None, "everybody waits, and nothing will ever happen"
            self.now += timeout
        return ready


class VirtualTime(asyncio.SelectorEventLoop):
    def __init__(self) -> None:
        self._clock = _NoSleep()
        super().__init__(self._clock)

    def time(self) -> float:
        return self._clock.now


def in_virtual_time(main: Coroutine[Any, Any, None]) -> None:
    with asyncio.Runner(loop_factory=VirtualTime) as runner:
        runner.run(main)


TENANTS = [a_tenant(name) for name in ("acme", "globex")]
EVENTS = st.one_of(
    st.tuples(st.just("arrives"), st.integers(0, 1)),
    st.tuples(st.sampled_from(["finishes", "is cancelled", "hangs up", "sends"]), st.integers(0, 30)),
    st.tuples(st.just("pass"), st.sampled_from([0.4, 1.0, 5.0])),
    st.tuples(st.just("yield"), st.integers(1, 4)),
)


class World:
    """Two tenants' requests before a gate with two places each, a queue of three, and a second of patience."""

    def __init__(self) -> None:
        self.traffic = Traffic(Limit(concurrency=2, queue=3, queue_timeout=1.0), self.app)
        self.requests: list[Request] = []
        self.cancelled: set[Request] = set()
        self.hung_up: set[Request] = set()
        self.inside: Counter[Tenant] = Counter()

    async def app(self, scope, receive, send) -> None:
        tenant = scope["state"]["tenant"]
        self.inside[tenant] += 1
        assert self.inside[tenant] <= 2
        try:
            await until_finished(scope, receive, send)
        finally:
            self.inside[tenant] -= 1

    async def happens(self, event: str, number: Any) -> None:
        if event == "arrives":
            self.requests.append(self.traffic.begins(TENANTS[number]))
        elif event == "pass":
            await asyncio.sleep(number)
        elif event == "yield":
            for _ in range(number):
                await asyncio.sleep(0)
        elif self.requests:
            self.happens_to(self.requests[number % len(self.requests)], event)

    def happens_to(self, request: Request, event: str) -> None:
        if event == "finishes":
            request.finish.set()
        elif event == "is cancelled":
            if not request.task.done():
                self.cancelled.add(request)
            request.task.cancel()
        elif event == "hangs up":
            self.hung_up.add(request)
            request.hang_up()
        else:
            request.incoming.put_nowait({"type": "http.request", "body": b"x", "more_body": True})

    def check_the_end(self) -> None:
        for request in self.requests:
            outcomes = [request.served, request.status == 429]
            assert sum(outcomes) <= 1
            assert any(outcomes) or request in self.cancelled | self.hung_up
            assert request.task.cancelled() or request.task.exception() is None
        assert self.traffic.gate.stats()["running"] == self.traffic.gate.stats()["queued"] == 0
        assert self.traffic.gate._bulkhead._rooms == {}


@given(st.lists(EVENTS, max_size=40))
@settings(max_examples=150, deadline=None)
def test_whatever_happens_to_requests_each_ends_once_and_nothing_is_left(events: list[tuple[str, Any]]) -> None:
    async def main() -> None:
        world = World()
        for event in events:
            await world.happens(*event)
        for request in world.requests:
            request.finish.set()
        await asyncio.gather(*(request.task for request in world.requests), return_exceptions=True)
        world.check_the_end()
        await settled()
        assert len(asyncio.all_tasks()) == 1

    in_virtual_time(main())


def test_who_waits_too_long_is_refused_after_that_time() -> None:
    async def main() -> None:
        traffic = Traffic(Limit(concurrency=1, queue_timeout=7.5))
        first, late = [await traffic.arrives(a_tenant()) for _ in range(2)]
        await late.task
        assert asyncio.get_running_loop().time() == 7.5
        assert (late.status, late.retry_after, first.serving) == (429, 8, True)
        await first.end()

    in_virtual_time(main())


async def test_memory_is_flat_over_many_tenants() -> None:
    traffic = Traffic(TenantLimits({}, default=Limit(concurrency=1)), cache_size=100)
    scope = {"type": "http", "path": "/", "state": {}, "request": Request(None)}
    scope["request"].finish.set()
    for number in range(100_000):
        await traffic._app(scope | {"state": {"tenant": a_tenant(str(number))}}, None, None)
    assert traffic.gate._bulkhead._rooms == {}
    assert len(traffic.gate._limits._known) <= 100
