"""Ask every tenant, and get an outcome for each."""

import asyncio

import pytest
from sqlalchemy import func, select
from support import Note, make_tenancy

from fastapi_tenancy import current_tenant
from fastapi_tenancy.errors import TenantNotFoundError, TenantSuspendedError


@pytest.fixture(params=["basic", "shared-profile"])
async def tenancy(request, tmp_path):
    async with make_tenancy(tmp_path, manager_type=request.param) as tenancy:
        for number, name in enumerate(["acme", "beta", "cafe"], start=1):
            await tenancy.create_tenant(name)
            async with tenancy.use(name) as profile, profile.transaction() as session:
                session.add_all(Note(text=f"{name} {n}") for n in range(number))
        yield tenancy


async def count_notes(profile):
    async with profile.session() as session:
        return await session.scalar(select(func.count()).select_from(Note))


async def test_every_active_tenant_answers_for_itself(tenancy):
    await tenancy.suspend_tenant("beta")
    outcomes = await tenancy.gather(count_notes)
    assert [(outcome.tenant, outcome.result()) for outcome in outcomes] == [("acme", 1), ("cafe", 3)]


async def test_a_function_that_blocks_runs_in_a_thread(tenancy):
    def count(profile):
        with profile.sync_session() as session:
            return session.scalar(select(func.count()).select_from(Note))

    assert [outcome.value for outcome in await tenancy.gather(count)] == [1, 2, 3]


async def test_the_tenant_is_current_in_the_function(tenancy):
    async def whoami(_profile):
        return current_tenant().identifier

    outcomes = await tenancy.gather(whoami)
    assert all(outcome.value == outcome.tenant for outcome in outcomes)


async def test_what_one_tenant_fails_with_is_its_own_outcome(tenancy):
    async def fail_for_beta(profile):
        if profile.tenant.identifier == "beta":
            raise ZeroDivisionError("no")
        return await count_notes(profile)

    acme, beta, cafe = await tenancy.gather(fail_for_beta)
    assert (acme.value, cafe.value) == (1, 3)
    with pytest.raises(ZeroDivisionError):
        beta.result()


async def test_a_tenant_that_cannot_be_asked_has_an_outcome_too(tenancy):
    await tenancy.suspend_tenant("beta")
    outcomes = await tenancy.gather(count_notes, tenants=["cafe", "beta", "nobody", "cafe"])
    assert [(outcome.tenant, type(outcome.error)) for outcome in outcomes] == [
        ("cafe", type(None)),
        ("beta", TenantSuspendedError),
        ("nobody", TenantNotFoundError),
    ]


async def test_only_so_many_are_asked_at_once(tenancy):
    asked = most = 0

    async def work(_profile):
        nonlocal asked, most
        asked += 1
        most = max(most, asked)
        await asyncio.sleep(0)
        asked -= 1

    await tenancy.gather(work, limit=2)
    assert most == 2


async def test_one_that_takes_too_long_is_given_up(tenancy):
    async def hang_for_beta(profile):
        if profile.tenant.identifier == "beta":
            await asyncio.Event().wait()
        return True

    outcomes = await tenancy.gather(hang_for_beta, timeout=0.2)
    assert [type(outcome.error) for outcome in outcomes] == [type(None), TimeoutError, type(None)]


async def test_cancelled_it_asks_nobody_any_more(tenancy):
    started, ended = asyncio.Event(), []

    async def hang(_profile):
        started.set()
        try:
            await asyncio.Event().wait()
        finally:
            ended.append(True)

    task = asyncio.create_task(tenancy.gather(hang, limit=1))
    await started.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert ended == [True]


async def test_a_limit_below_one_is_refused(tenancy):
    with pytest.raises(ValueError, match="limit"):
        await tenancy.gather(count_notes, limit=0)
