"""Whatever happens in whatever order: the limit holds, nobody is overtaken, and nothing is lost."""

import asyncio
from contextlib import suppress

import hypothesis.strategies as st
from connections.fake_server import FakeServer, close, connect, dispose, soon, turns
from hypothesis import given, settings
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from sqlalchemy.util import greenlet_spawn

from fastapi_tenancy.connections import BudgetedPool, ConnectionBudget
from fastapi_tenancy.connections.budget import Share, Waiter
from fastapi_tenancy.errors import TenantUnavailableError

LIMIT = 3
NUMBERS = st.integers(min_value=0, max_value=9)


class Budgets(RuleBasedStateMachine):
    """Three pools, of which the first is often full; closing takes until the machine says so."""

    def __init__(self):
        super().__init__()
        self.budget = ConnectionBudget(LIMIT)
        self.closing = []
        self.shares = [Share(keep, most, self.closing.append) for keep, most in ((1, 1), (1, 2), (2, 4))]
        self.waiting = []
        self.used = []

    def wake(self, served):
        overtaken = self.waiting[: self.waiting.index(served)]
        shares = [waiter.share for waiter in overtaken]
        assert served.share not in shares
        # Those before it are in full pools, or a connection is being closed for each of them.
        could_open = sum(min(share.most - share.opened, shares.count(share)) for share in set(shares))
        assert could_open <= len(self.closing)
        self.waiting.remove(served)
        self.used.append(served.permit)

    @rule(number=NUMBERS)
    def check_out(self, number):
        share = self.shares[number % 3]
        if permit := self.budget.take_idle(share):
            assert share not in [waiter.share for waiter in self.waiting]
            self.used.append(permit)
            return
        waiter = Waiter(share, lambda: self.wake(waiter))
        self.waiting.append(waiter)
        self.budget.enter(waiter)

    @precondition(lambda self: self.used)
    @rule(number=NUMBERS)
    def check_in(self, number):
        permit = self.used.pop(number % len(self.used))
        if not self.budget.put_back(permit):
            self.budget.retire(permit)

    @precondition(lambda self: self.used)
    @rule(number=NUMBERS)
    def lose(self, number):
        self.budget.retire(self.used.pop(number % len(self.used)))

    @precondition(lambda self: self.waiting)
    @rule(number=NUMBERS)
    def give_up_waiting(self, number):
        waiter = self.waiting.pop(number % len(self.waiting))
        assert self.budget.leave(waiter) is None

    @precondition(lambda self: self.closing)
    @rule(number=NUMBERS)
    def be_closed(self, number):
        self.budget.retire(self.closing.pop(number % len(self.closing)))

    @invariant()
    def every_permit_is_accounted_for(self):
        idle = [permit for share in self.shares for permit in share.idle]
        assert set(idle) == set(self.budget._idle)
        assert len(idle) + len(self.used) + len(self.closing) == self.budget.open <= LIMIT
        assert self.budget.open == sum(share.opened for share in self.shares)
        assert self.budget.waiting == len(self.waiting)

    @invariant()
    def pools_keep_to_their_sizes(self):
        for share in self.shares:
            assert share.opened <= share.most
            assert len(share.idle) <= share.keep

    @invariant()
    def nobody_waits_for_what_is_there(self):
        for share in {waiter.share for waiter in self.waiting}:
            assert not share.idle
            if share.opened < share.most:
                assert self.budget.open == LIMIT
                assert self.closing or not self.budget._idle


Budgets.TestCase.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
TestBudgets = Budgets.TestCase


class Life:
    """Checkouts over several pools, one in four of which refuses at once, having no time to wait or to connect."""

    def __init__(self, limit, sizes):
        self.server, self.budget = FakeServer(), ConnectionBudget(limit)
        self.pools = [
            BudgetedPool(
                self.server.connect, budget=self.budget, pool_size=size, max_overflow=1, timeout=60 if patient else 0
            )
            for size, patient in sizes
        ]
        self.tasks, self.held = [], []

    async def check_out(self, number):
        self.tasks.append(soon(self._check_out(self.pools[number % len(self.pools)])))
        await turns(number % 3)

    async def _check_out(self, pool):
        with suppress(TenantUnavailableError):
            self.held.append(await connect(pool))

    def _take(self, number):
        return [self.held.pop(number % len(self.held))] if self.held else []

    async def check_in(self, number):
        await close(*self._take(number))

    async def invalidate(self, number):
        for connection in self._take(number):
            await greenlet_spawn(connection.invalidate)

    async def detach(self, number):
        for connection in self._take(number):
            connection.detach()
            await turns(number)
            await close(connection)

    async def cancel(self, number):
        if self.tasks:
            self.tasks[number % len(self.tasks)].cancel()

    async def dispose(self, number):
        await dispose(self.pools[number % len(self.pools)])

    async def refuse(self, number):
        self.server.refusal = ConnectionRefusedError("too many connections") if number % 2 else None

    async def go_on(self, number):
        await turns(number)

    async def end(self):
        while not all(task.done() for task in self.tasks):
            await self.check_in(0)
            await turns(1)
        await close(*self.held)
        await dispose(*self.pools)
        await turns()


STEPS = [Life.check_out] * 4 + [Life.check_in] * 2
STEPS += [Life.invalidate, Life.detach, Life.cancel, Life.dispose, Life.refuse, Life.go_on]


@settings(max_examples=100, deadline=None)
@given(
    limit=st.integers(1, 4),
    sizes=st.lists(st.tuples(st.integers(0, 2), st.sampled_from([True, True, True, False])), min_size=1, max_size=4),
    steps=st.lists(st.tuples(st.sampled_from(STEPS), NUMBERS), min_size=10, max_size=60),
)
def test_every_checkout_is_served_or_refused_and_every_connection_closed(limit, sizes, steps):
    asyncio.run(_live(Life(limit, sizes), limit, steps))


async def _live(life, limit, steps):
    for step, number in steps:
        await step(life, number)
        assert life.server.most <= limit
        assert life.budget.open <= limit
    await life.end()
    assert not [task for task in life.tasks if not task.cancelled() and task.exception()]
    assert (len(life.server.open), life.budget.open, life.budget.waiting) == (0, 0, 0)
    assert [pool.opened for pool in life.pools] == [0] * len(life.pools)
    assert not any((life.budget._leaving, life.budget._idle, *(pool._permits for pool in life.pools)))
