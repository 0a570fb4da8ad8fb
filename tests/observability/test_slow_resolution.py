"""A tenant that takes long to find is told of, with what took the time."""

import asyncio
import logging
from datetime import UTC, datetime

import pytest
from support import client_of, make_app, make_tenancy, named

from fastapi_tenancy import InMemoryTenantStore, Tenant, TenantStatus
from fastapi_tenancy.directory import TenantDirectory
from fastapi_tenancy.migration_gate import MigrationGate
from fastapi_tenancy.observability import TenantFilter
from fastapi_tenancy.resolution import Resolution, taking

NOW = datetime(2026, 1, 1, tzinfo=UTC)
ACME = Tenant(id="1", identifier="acme", name="", status=TenantStatus.ACTIVE, created_at=NOW, updated_at=NOW)


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


class SlowStore(InMemoryTenantStore):
    """Two seconds pass with each question, once `go` is set."""

    def __init__(self, clock: Clock) -> None:
        super().__init__()
        self.clock = clock
        self.asked = asyncio.Event()
        self.go = asyncio.Event()
        self.go.set()

    async def get_by_identifier(self, identifier: str) -> Tenant | None:
        self.asked.set()
        await self.go.wait()
        self.clock.now += 2
        return await super().get_by_identifier(identifier)


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
async def store(clock):
    store = SlowStore(clock)
    await store.add(ACME)
    return store


@pytest.fixture
def told(caplog):
    caplog.handler.addFilter(TenantFilter())
    caplog.set_level(logging.WARNING, "fastapi_tenancy.resolution")
    yield lambda: [(record.tenant, record.seconds, record.took) for record in caplog.records]
    caplog.handler.filters.clear()


async def test_a_slow_store_is_told_of_and_what_is_remembered_is_not(tmp_path, store, clock, told):
    tenancy = make_tenancy(tmp_path, store=store, clock=clock)
    async with tenancy, client_of(make_app(tenancy)) as client:
        for _ in range(2):
            assert (await client.get("/whoami", headers=named("acme"))).status_code == 200
    assert told() == [("acme", 2, {"naming": 0, "waiting": 0, "store": 2})]


async def test_a_request_that_is_refused_is_told_of_with_the_beginning_of_what_it_named(tmp_path, store, clock, told):
    async def name(_scope: object) -> str:
        clock.now += 2
        return "a" * 100

    tenancy = make_tenancy(tmp_path, store=store, clock=clock, resolvers=[name])
    async with tenancy, client_of(make_app(tenancy)) as client:
        assert (await client.get("/whoami")).status_code == 400
    assert told() == [("a" * 80, 2, {"naming": 2})]


async def test_a_slow_resolver_is_told_of(tmp_path, store, clock, told):
    async def name(_scope: object) -> str:
        clock.now += 5
        return "acme"

    tenancy = make_tenancy(tmp_path, store=store, clock=clock, resolvers=[name], slow_resolution=4)
    async with tenancy, client_of(make_app(tenancy)) as client:
        await client.get("/whoami")
        await client.get("/whoami")
    assert [took["naming"] for _, _, took in told()] == [5, 5]


async def test_a_request_that_waits_for_the_load_of_another_says_so(tmp_path, store, clock, told):
    tenancy = make_tenancy(tmp_path, store=store, clock=clock)
    async with tenancy, client_of(make_app(tenancy)) as client:
        store.go.clear()
        first = asyncio.create_task(client.get("/whoami", headers=named("acme")))
        await store.asked.wait()
        second = asyncio.create_task(client.get("/whoami", headers=named("acme")))
        for _ in range(20):
            await asyncio.sleep(0)
        store.go.set()
        await asyncio.gather(first, second)
    took = sorted((took for _, _, took in told()), key=len)
    assert took == [{"naming": 0, "waiting": 2}, {"naming": 0, "waiting": 0, "store": 2}]


async def test_a_migration_on_demand_is_told_of(tmp_path, store, clock, told):
    async def migrate(tenant: Tenant) -> Tenant:
        clock.now += 3
        return tenant

    gate = MigrationGate(lambda _revision: True, lambda: NOW)
    gate.migrate = migrate
    directory = TenantDirectory(store, make_tenancy(tmp_path).settings, clock, gate)
    with Resolution(0.5, clock) as resolution:
        resolution.name = "acme"
        await directory.admitted(ACME)
    assert told() == [("acme", 3, {"naming": 0, "migration": 3})]


async def test_what_a_request_starts_in_the_background_is_not_its_own_time(clock, told):
    async def other():
        with taking("store"):
            await asyncio.sleep(0)
            clock.now += 1

    with Resolution(0.5, clock):
        await asyncio.gather(other(), other())
    assert [took for _, _, took in told()] == [{"naming": 2}]


def test_outside_of_a_request_there_is_nothing_to_put_down(told):
    with taking("store"):
        pass
    assert told() == []
