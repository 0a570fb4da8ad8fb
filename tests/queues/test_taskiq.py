"""Tasks of taskiq, sent and carried out for a tenant."""

from typing import Annotated

import pytest
from sqlalchemy import select
from support import Note, make_tenancy
from taskiq import Context, InMemoryBroker, SimpleRetryMiddleware, TaskiqDepends

from fastapi_tenancy import current_tenant
from fastapi_tenancy.errors import TenantNotSpecifiedError, TenantSuspendedError
from fastapi_tenancy.jobs.taskiq import TenantMiddleware, TenantProfile


async def add_note(text: str, profile: TenantProfile) -> str:
    async with profile.transaction() as session:
        session.add(Note(text=text))
    return current_tenant().identifier


def whoami(profile: TenantProfile) -> str:
    return current_tenant().identifier


async def fail_once(profile: TenantProfile, context: Annotated[Context, TaskiqDepends()]) -> str:
    if int(context.message.labels.get("_retries", 0)) == 0:
        raise ZeroDivisionError
    return current_tenant().identifier


async def sweep() -> str:
    return "swept"


class Queue:
    def __init__(self, tenancy, **middleware):
        self.tenancy = tenancy
        self.broker = InMemoryBroker(await_inplace=True).with_middlewares(
            SimpleRetryMiddleware(), TenantMiddleware(tenancy, **middleware)
        )
        self.add_note = self.broker.task(add_note)
        self.whoami = self.broker.task(whoami)
        self.fail_once = self.broker.task(fail_once, retry_on_error=True)
        self.sweep = self.broker.task(sweep, tenancy="none")

    async def send(self, name, task, *args):
        async with self.tenancy.use(name):
            return await task.kiq(*args)


@pytest.fixture
async def tenancy(tmp_path):
    async with make_tenancy(tmp_path) as tenancy:
        for name in ("acme", "beta"):
            await tenancy.create_tenant(name)
        yield tenancy


@pytest.fixture
def queue(tenancy):
    return Queue(tenancy)


async def notes_of(tenancy, name):
    async with tenancy.use(name) as profile, profile.session() as session:
        return list(await session.scalars(select(Note.text)))


async def test_a_task_writes_where_its_tenant_is(tenancy, queue):
    for name in ("acme", "beta"):
        task = await queue.send(name, queue.add_note, f"of {name}")
        assert (await task.wait_result()).return_value == name
    assert (await notes_of(tenancy, "acme"), await notes_of(tenancy, "beta")) == (["of acme"], ["of beta"])


async def test_a_task_in_a_thread_is_its_tenant_too(queue):
    task = await queue.send("acme", queue.whoami)
    assert (await task.wait_result()).return_value == "acme"


async def test_a_task_that_is_retried_keeps_its_tenant(queue):
    task = await queue.send("beta", queue.fail_once)
    assert (await task.wait_result()).return_value == "beta"


async def test_a_task_cannot_be_sent_without_a_tenant(queue):
    with pytest.raises(TenantNotSpecifiedError):
        await queue.add_note.kiq("nobody's")


async def test_a_task_that_belongs_to_no_tenant_says_so(queue):
    task = await queue.sweep.kiq()
    assert (await task.wait_result()).return_value == "swept"


async def test_a_message_that_has_lost_its_tenant_fails(queue):
    task = await queue.add_note.kicker().with_labels(tenancy="none").kiq("nobody's")
    with pytest.raises(TenantNotSpecifiedError):
        (await task.wait_result()).raise_for_error()


async def test_a_suspended_tenants_task_is_refused(tenancy, queue):
    tenant = await tenancy.get_tenant("acme")
    await tenancy.suspend_tenant("acme")
    task = await queue.add_note.kicker().with_labels(**{"tenancy-tenant": tenant.id}).kiq("too late")
    with pytest.raises(TenantSuspendedError):
        (await task.wait_result()).raise_for_error()
    await tenancy.activate_tenant("acme")
    assert await notes_of(tenancy, "acme") == []


async def test_a_suspended_tenants_task_can_wait(tenancy):
    queue = Queue(tenancy, park=30)
    tenant = await tenancy.get_tenant("acme")
    await tenancy.suspend_tenant("acme")
    sent = []

    async def keep(message):
        sent.append(message)

    await queue.broker.startup()
    task = queue.add_note.kicker().with_labels(**{"tenancy-tenant": tenant.id})
    kick = queue.broker.kick
    queue.broker.kick = keep  # what is sent from now on goes to a queue that nobody reads
    await task.kiq("later")
    (first,) = sent
    await kick(first)
    assert sent[1].labels["delay"] == "30"
    await tenancy.activate_tenant("acme")
    await kick(sent[1])
    assert await notes_of(tenancy, "acme") == ["later"]
