"""Jobs of arq on a real Redis, sent and carried out for a tenant."""

from itertools import count
from uuid import uuid4

import pytest
from arq import create_pool
from arq.connections import RedisSettings
from arq.worker import Worker, func
from sqlalchemy import select
from support import Note, make_tenancy

from fastapi_tenancy import current_tenant
from fastapi_tenancy.errors import TenantNotSpecifiedError, TenantSuspendedError
from fastapi_tenancy.jobs.arq import enqueue, tenant_job


async def add_note(ctx, text):
    async with ctx["profile"].transaction() as session:
        session.add(Note(text=text))
    return current_tenant().identifier


@pytest.fixture
async def tenancy(tmp_path):
    async with make_tenancy(tmp_path) as tenancy:
        for name in ("acme", "beta"):
            await tenancy.create_tenant(name)
        yield tenancy


@pytest.fixture
async def redis(redis_url):
    pool = await create_pool(RedisSettings.from_dsn(redis_url), default_queue_name=f"jobs-{uuid4().hex}")
    yield pool
    await pool.aclose()


async def work(redis, function):
    """Do what is in the queue."""
    options = {"queue_name": redis.default_queue_name, "burst": True, "poll_delay": 0, "handle_signals": False}
    await Worker([func(function, name="add_note")], redis_pool=redis, **options).async_run()


async def send(tenancy, redis, name, text):
    async with tenancy.use(name):
        return await enqueue(redis, "add_note", text)


async def notes_of(tenancy, name):
    async with tenancy.use(name) as profile, profile.session() as session:
        return list(await session.scalars(select(Note.text)))


async def test_a_job_writes_where_its_tenant_is(tenancy, redis):
    jobs = {name: await send(tenancy, redis, name, f"of {name}") for name in ("acme", "beta")}
    await work(redis, tenant_job(tenancy)(add_note))
    assert {name: await job.result(timeout=5) for name, job in jobs.items()} == {"acme": "acme", "beta": "beta"}
    assert (await notes_of(tenancy, "acme"), await notes_of(tenancy, "beta")) == (["of acme"], ["of beta"])


async def test_a_job_cannot_be_sent_without_a_tenant(redis):
    with pytest.raises(TenantNotSpecifiedError):
        await enqueue(redis, "add_note", "nobody's")


async def test_a_job_without_a_tenant_fails(tenancy, redis):
    job = await redis.enqueue_job("add_note", "nobody's")
    await work(redis, tenant_job(tenancy)(add_note))
    with pytest.raises(TenantNotSpecifiedError):
        await job.result(timeout=5)


async def test_a_suspended_tenants_job_is_refused(tenancy, redis):
    job = await send(tenancy, redis, "acme", "too late")
    await tenancy.suspend_tenant("acme")
    await work(redis, tenant_job(tenancy)(add_note))
    with pytest.raises(TenantSuspendedError):
        await job.result(timeout=5)


async def test_a_suspended_tenants_job_can_wait(tenancy, redis):
    job = await send(tenancy, redis, "acme", "later")
    await tenancy.suspend_tenant("acme")

    parked, tries = tenant_job(tenancy, park=0.01)(add_note), count(1)

    async def activated_at_the_second_try(ctx, *args, **kwargs):
        if next(tries) == 2:
            await tenancy.activate_tenant("acme")
        return await parked(ctx, *args, **kwargs)

    await work(redis, activated_at_the_second_try)
    assert await job.result(timeout=5) == "acme"
    assert await notes_of(tenancy, "acme") == ["later"]
