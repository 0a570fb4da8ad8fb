"""Threads that draw on the same budget as the event loop."""

import asyncio
import threading

import pytest
from connections.fake_server import FakeServer, close, connect, dispose, soon, turns, until

from fastapi_tenancy.connections import BlockingBudgetedPool, BudgetedPool, ConnectionBudget
from fastapi_tenancy.connections.budget import Share, Waiter
from fastapi_tenancy.errors import TenantUnavailableError


def blocking(pools, number=1, **options):
    return pools(number, kind=BlockingBudgetedPool, **options)


def test_a_thread_that_waits_too_long_gets_a_503(pools):
    one, two = blocking(pools, 2, budget=1, timeout=0.01)
    held = one.connect()
    with pytest.raises(TenantUnavailableError, match="raise connection_budget"):
        two.connect()
    held.close()


def test_a_thread_gives_up_a_server_that_does_not_answer(pools, server):
    (pool,) = blocking(pools, budget=1, timeout=0.01)
    server.answers = threading.Event()
    with pytest.raises(TenantUnavailableError, match="did not answer"):
        pool.connect()
    assert (pool.opened, pool._budget.open) == (0, 1)
    server.answers.set()
    patient = BlockingBudgetedPool(server.connect, budget=pool._budget)
    patient.connect().close()  # when the late one has been closed
    assert (server.most, len(server.open)) == (1, 1)


async def test_a_thread_waits_for_a_connection_of_the_event_loop(pools):
    budget = ConnectionBudget(1)
    (theirs,), (mine,) = pools(budget=budget), blocking(pools, budget=budget)
    held = await connect(theirs)
    waiter = soon(asyncio.to_thread(mine.connect))
    await until(lambda: budget.waiting)
    await close(held)
    (await waiter).close()
    assert (theirs.opened, mine.opened) == (0, 1)


async def test_a_task_waits_for_a_connection_of_a_thread(pools):
    budget = ConnectionBudget(1)
    (theirs,), (mine,) = blocking(pools, budget=budget), pools(budget=budget)
    held = await asyncio.to_thread(theirs.connect)
    waiter = soon(connect(mine))
    await until(lambda: budget.waiting)
    loop = asyncio.get_running_loop()
    loop.set_debug(True)  # it then checks that it is called from its own thread
    try:
        await asyncio.to_thread(held.close)
        await close(await waiter)
    finally:
        loop.set_debug(False)
    assert (theirs.opened, mine.opened) == (0, 1)


async def test_idle_connections_of_the_event_loop_are_given_up_for_a_thread(pools, server):
    budget = ConnectionBudget(1)
    (theirs,), (mine,) = pools(budget=budget), blocking(pools, budget=budget)
    await close(await connect(theirs))
    (await asyncio.to_thread(mine.connect)).close()
    assert (theirs.opened, mine.opened, server.most) == (0, 1, 1)


def test_connections_of_a_loop_that_is_closed_are_in_nobodys_way():
    server, budget = FakeServer(), ConnectionBudget(1)

    async def leave_one_idle():
        await close(await connect(BudgetedPool(server.connect, budget=budget)))

    asyncio.run(leave_one_idle())
    BlockingBudgetedPool(server.connect, budget=budget).connect().close()
    assert budget.open == 1


async def test_tasks_and_threads_keep_to_the_budget_together(pools, server):
    budget = ConnectionBudget(3)
    for_tasks, for_threads = pools(4, budget=budget), blocking(pools, 4, budget=budget)

    async def work(pool):
        connection = await connect(pool)
        await turns(3)
        await close(connection)

    def work_in_a_thread(pool):
        for _ in range(5):
            pool.connect().close()

    await asyncio.gather(
        *(work(for_tasks[number % 4]) for number in range(40)),
        *(asyncio.to_thread(work_in_a_thread, for_threads[number % 4]) for number in range(8)),
    )
    assert server.most <= 3
    await dispose(*for_tasks)
    for pool in for_threads:
        pool.dispose()
    await until(lambda: not budget.open)
    assert not server.open


def test_what_another_thread_returns_between_two_looks_is_found():
    budget = ConnectionBudget(1)
    share = Share(keep=1, most=1, give_up=lambda _permit: None)
    first, second = Waiter(share, lambda: None), Waiter(share, lambda: None)
    assert budget.enter(first)
    assert budget.take_idle(share) is None
    budget.put_back(first.permit)
    assert budget.enter(second)


def test_what_the_garbage_collector_returns_in_the_middle_of_it_is_not_lost():
    budget = ConnectionBudget(2)
    share = Share(keep=2, most=2, give_up=lambda _permit: None)
    first, second = Waiter(share, lambda: None), Waiter(share, lambda: None)
    assert budget.enter(first)
    assert budget.enter(second)
    # As if it ran while the budget serves somebody: the other connection comes back too.
    third, fourth = Waiter(share, lambda: budget.put_back(second.permit)), Waiter(share, lambda: None)
    assert not budget.enter(third)
    assert not budget.enter(fourth)
    budget.put_back(first.permit)
    assert {third.permit, fourth.permit} == {first.permit, second.permit}
