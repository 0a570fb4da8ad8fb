"""Who gets which connection, and when it is closed."""

import asyncio
import gc

import pytest
from connections.fake_server import cancelled, close, connect, dispose, soon, turns, until
from sqlalchemy import AsyncAdaptedQueuePool, event
from sqlalchemy.util import greenlet_spawn

from fastapi_tenancy.connections import ConnectionBudget
from fastapi_tenancy.errors import NamespaceMissingError, TenantUnavailableError


def test_a_budget_of_nothing_is_refused():
    with pytest.raises(ValueError, match="connection_budget"):
        ConnectionBudget(0)


async def test_the_idle_connection_used_last_is_taken_first(pools):
    (pool,) = pools(budget=3)
    first, second = await connect(pool), await connect(pool)
    last = second.dbapi_connection
    await close(first, second)
    again = await connect(pool)
    assert again.dbapi_connection is last


async def test_up_to_pool_size_connections_are_kept_idle(pools, server):
    (pool,) = pools(budget=9)
    await close(*[await connect(pool) for _ in range(4)])
    assert len(server.open) == pool.opened == 2


async def test_a_pool_opens_no_more_than_its_size_and_overflow(pools, server):
    (pool,) = pools(budget=9, timeout=0.01)
    held = [await connect(pool) for _ in range(4)]
    with pytest.raises(TenantUnavailableError):
        await connect(pool)
    assert len(server.open) == len(held)


async def test_the_idle_connection_of_others_that_was_used_longest_ago_is_given_up(pools, server):
    one, two, three = pools(3, budget=2)
    older = await connect(one)
    old_line = older.dbapi_connection
    newer = await connect(two)
    await close(older, newer)
    await close(await connect(three))
    assert old_line not in server.open
    assert (one.opened, two.opened, three.opened, server.most) == (0, 1, 1, 2)


async def test_one_that_waits_too_long_gets_a_503_that_says_what_to_raise(pools):
    one, two = pools(2, budget=1, timeout=0.01)
    held = await connect(one)
    with pytest.raises(TenantUnavailableError, match="raise connection_budget, pool_size or pool_timeout") as failure:
        await connect(two)
    assert failure.value.status_code == 503
    assert int(failure.value.headers["Retry-After"]) > 0
    await close(held)


async def test_one_that_gave_up_waiting_is_not_waited_for(pools):
    one, two = pools(2, budget=1, timeout=0.01)
    held = await connect(one)
    with pytest.raises(TenantUnavailableError):
        await connect(two)
    await close(held)
    assert (one._budget.waiting, one.opened) == (0, 1)


async def test_those_who_wait_are_served_in_turn_over_all_pools(pools):
    everybody = pools(6, budget=1)
    served = []

    async def work(number):
        connection = await connect(everybody[number])
        served.append(number)
        await turns()
        await close(connection)

    await asyncio.gather(*(work(number) for number in [3, 1, 4, 1, 5, 0, 2, 3]))
    assert served == [3, 1, 4, 1, 5, 0, 2, 3]


async def test_a_returned_connection_goes_to_the_first_waiter_of_its_pool(pools, server):
    (pool,) = pools(budget=1)
    held = await connect(pool)
    line = held.dbapi_connection
    waiter = soon(connect(pool))
    await turns()
    await close(held)
    held = await waiter
    assert held.dbapi_connection is line


async def test_an_older_waiter_of_another_pool_comes_before_one_of_the_same(pools):
    mine, theirs = pools(2, budget=1)
    held = await connect(mine)
    older = soon(connect(theirs))
    await turns()
    younger = soon(connect(mine))
    await turns()
    await close(held)
    await close(await older)
    await close(await younger)


async def test_waiters_of_a_full_pool_hold_up_nobody_else(pools):
    full, other = pools(2, budget=2, pool_size=1, max_overflow=0)
    held = await connect(full)
    waiter = soon(connect(full))
    await turns()
    await close(await connect(other))
    assert not waiter.done()
    await close(held)
    await close(await waiter)


async def test_no_more_is_given_up_than_is_needed(pools):
    keeper, full = pools(2, budget=3, pool_size=2, max_overflow=0)
    await close(*[await connect(keeper), await connect(keeper)])
    held = [soon(connect(full)) for _ in range(5)]
    await turns(30)
    assert (keeper.opened, full.opened) == (1, 2)
    for task in held:
        await cancelled(task)


async def test_a_cancelled_waiter_loses_nothing(pools):
    one, two = pools(2, budget=1)
    held = await connect(one)
    waiter = soon(connect(two))
    await turns()
    assert await cancelled(waiter)
    await close(held)
    await close(await connect(two))
    assert one._budget.open == 1


async def test_a_waiter_that_is_cancelled_as_it_is_served_passes_it_on(pools):
    (pool,) = pools(budget=1)
    held = await connect(pool)
    waiter, next_one = soon(connect(pool)), soon(connect(pool))
    await turns()
    await close(held)  # hands it over, but the waiter has not run since
    assert await cancelled(waiter)
    await close(await next_one)
    assert pool._budget.open == pool.opened == 1


async def test_a_fresh_permit_that_is_cancelled_as_it_is_given_is_passed_on(pools):
    one, two, three = pools(3, budget=1)
    held = await connect(one)
    waiter, next_one = soon(connect(two)), soon(connect(three))
    await turns()
    await greenlet_spawn(held.invalidate)
    assert await cancelled(waiter)
    await close(await next_one)
    assert (two.opened, three.opened, one._budget.open) == (0, 1, 1)


@pytest.mark.parametrize("end", ["close", "invalidate"])
async def test_the_permit_goes_back_however_a_connection_ends(pools, server, end):
    (pool,) = pools(budget=1, pool_size=0)
    connection = await connect(pool)
    await greenlet_spawn(getattr(connection, end))
    assert (pool.opened, pool._budget.open, len(server.open)) == (0, 0, 0)


async def test_a_detached_connection_keeps_its_permit_until_it_is_closed(pools, server):
    (pool,) = pools(budget=1)
    connection = await connect(pool)
    connection.detach()
    assert (pool.opened, pool._budget.open) == (0, 1)
    await close(connection)
    assert (pool._budget.open, len(server.open)) == (0, 0)


async def test_a_connection_that_fails_to_close_gives_its_permit_back(pools, server):
    one, two = pools(2, budget=1)
    await close(await connect(one))
    server.close_fails = True
    await close(await connect(two))
    assert (one.opened, two.opened, one._budget.open) == (0, 1, 1)


async def test_a_refused_connection_is_a_503_and_lets_the_next_one_try(pools, server):
    one, two = pools(2, budget=1)
    server.refusal = ConnectionRefusedError("too many connections")
    server.answers = asyncio.Event()
    first, second = soon(connect(one)), soon(connect(two))
    await turns()
    server.answers.set()
    with pytest.raises(TenantUnavailableError, match="cannot be reached: too many connections"):
        await first
    with pytest.raises(TenantUnavailableError):
        await second
    assert (one._budget.open, one.opened, two.opened) == (0, 0, 0)


class DriverError(OSError):
    sqlstate = None


class NoSuchDatabaseError(DriverError):
    sqlstate = "3D000"


@pytest.mark.parametrize(
    "refusal",
    [
        NoSuchDatabaseError("invalid catalog name"),
        DriverError(1049, "Unknown database 'x'"),
        DriverError('FATAL:  database "x" does not exist'),
        DriverError("FATAL: no such database: x"),
    ],
)
async def test_a_database_that_is_not_there_is_told_apart(pools, server, refusal):
    (pool,) = pools(budget=1)
    server.refusal = refusal
    with pytest.raises(NamespaceMissingError):
        await connect(pool)


async def test_a_mistake_of_the_application_is_no_503(pools, server):
    (pool,) = pools(budget=1)
    server.refusal = TypeError("connect() got an unexpected keyword")
    with pytest.raises(TypeError):
        await connect(pool)
    assert pool._budget.open == 0


async def test_a_server_that_does_not_answer_is_given_up(pools, server):
    (pool,) = pools(budget=1, timeout=0.01)
    server.answers = asyncio.Event()
    with pytest.raises(TenantUnavailableError, match="did not answer"):
        await connect(pool)
    await turns()
    assert (pool.opened, pool._budget.open) == (0, 0)


async def test_an_attempt_that_will_not_be_cancelled_keeps_its_permit_to_its_end(pools, server):
    (pool,) = pools(budget=1, timeout=0.01)
    end = asyncio.Event()

    def stubborn():
        with pytest.raises(asyncio.CancelledError):
            server._answer()
        server.answers = end
        server._answer()
        server.answers = None
        return server.connect()

    server.answers = asyncio.Event()
    pool._creator = stubborn
    with pytest.raises(TenantUnavailableError, match="did not answer"):
        await connect(pool)
    await turns()
    assert (pool.opened, pool._budget.open) == (0, 1)
    end.set()
    await until(lambda: not pool._budget.open)
    assert not server.open


async def test_a_checkout_that_is_cancelled_while_it_connects_loses_nothing(pools, server):
    (pool,) = pools(budget=1)
    server.answers = asyncio.Event()
    task = soon(connect(pool))
    await until(lambda: server.attempts)
    assert await cancelled(task)
    await turns()
    assert (pool.opened, pool._budget.open, len(server.open)) == (0, 0, 0)


async def test_a_stale_connection_is_replaced_under_the_same_permit(pools, server):
    one, two = pools(2, budget=1, recycle=0)
    held = await connect(one)
    line = held.dbapi_connection
    await close(held)
    held = await connect(one)
    waiter = soon(connect(two))
    await turns()
    assert held.dbapi_connection is not line
    assert (len(server.open), server.most, waiter.done()) == (1, 1, False)
    await cancelled(waiter)


async def test_one_that_had_to_wait_does_not_pass_its_deadline_on(pools, server):
    (pool,) = pools(budget=1, recycle=0, timeout=0.05)
    await close(await connect(pool))
    await asyncio.sleep(0.06)
    server.answers = asyncio.Event()
    asyncio.get_running_loop().call_later(0.01, server.answers.set)
    await close(await connect(pool))


async def test_what_is_in_use_at_a_disposal_is_closed_on_its_return(pools, server):
    (pool,) = pools(budget=3)
    held, idle = await connect(pool), await connect(pool)
    await close(idle)
    await dispose(pool)
    assert len(server.open) == 1
    await close(held)
    assert (len(server.open), pool._budget.open) == (0, 0)


async def test_a_pool_made_anew_draws_on_the_same_budget(pools, server):
    (pool,) = pools(budget=1, timeout=0.01)
    await dispose(pool)
    again = pool.recreate()
    held = await connect(again)
    with pytest.raises(TenantUnavailableError):
        await connect(again)
    await close(held)
    assert (again._size, again._share.most, again._budget) == (2, 4, pool._budget)


async def test_a_thousand_disposed_pools_leave_nothing_behind(pools):
    budget = ConnectionBudget(3)
    for _ in range(1000):
        (pool,) = pools(budget=budget)
        await close(await connect(pool))
        await dispose(pool)
    assert (budget.open, budget.waiting) == (0, 0)
    assert not any((budget._idle, budget._waiting, budget._leaving))


async def test_the_events_of_a_pool_are_those_of_sqlalchemys_own(pools, server):
    (ours,) = pools(budget=1, pool_size=1, max_overflow=0)
    theirs = AsyncAdaptedQueuePool(server.connect, pool_size=1, max_overflow=0)
    assert await _events_of(ours) == await _events_of(theirs)


async def _events_of(pool):
    seen = []
    for name in ("connect", "checkout", "checkin", "reset", "close", "invalidate", "detach"):
        event.listen(pool, name, lambda *_, name=name: seen.append(name))
    await close(await connect(pool))
    held = await connect(pool)
    await greenlet_spawn(held.invalidate)
    held = await connect(pool)
    held.detach()
    await close(held)
    await close(await connect(pool))
    await dispose(pool)
    return seen


async def test_sixty_tasks_get_along_with_six_connections_without_the_garbage_collector(pools, server):
    engines = pools(20, budget=6)
    gc.disable()
    try:
        await asyncio.gather(*(_use(engines[number % 20]) for number in range(60)))
    finally:
        gc.enable()
    assert server.most <= 6
    assert engines[0]._budget.open == len(server.open) <= 6


async def _use(pool):
    connection = await connect(pool)
    await turns(3)
    await close(connection)


async def test_figures_tell_what_is_open_and_who_waits(pools):
    one, two = pools(2, budget=1)
    held = await connect(one)
    waiter = soon(connect(two))
    await turns()
    assert one.status() == ("1 of the pool's 4 connections are open, 0 of them idle; 1 of the budget's 1, 1 waiting")
    await cancelled(waiter)
    await close(held)
