"""Who was known to be active is served for a while when the store fails; whoever is known not to be, never."""

import asyncio
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from fastapi_tenancy import InMemoryTenantStore, StoreUnavailableError, TenancySettings, Tenant, TenantStatus
from fastapi_tenancy.directory import TenantDirectory
from fastapi_tenancy.migration_gate import MigrationGate
from fastapi_tenancy.testing import tenant_named

SUSPENDED = TenantStatus.SUSPENDED


class FailingStore(InMemoryTenantStore):
    """Fails, or hangs, when it is told to."""

    error: Exception | None = None
    hangs = False

    async def get_by_identifier(self, identifier: str) -> Tenant | None:
        await self._fail()
        return await super().get_by_identifier(identifier)

    async def get(self, tenant_id: str) -> Tenant | None:
        await self._fail()
        return await super().get(tenant_id)

    async def _fail(self) -> None:
        if self.hangs:
            await asyncio.Event().wait()
        if self.error is not None:
            raise self.error


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


class Desk:
    """A directory whose tenants are remembered for 60 s, and for 30 more while the store fails."""

    def __init__(self, gate: MigrationGate | None = None, **settings: object) -> None:
        self.store = FailingStore()
        self.clock = Clock()
        given = {"cache_ttl": 60, "stale_for": 30, "store_timeout": 0.05, **settings}
        self.directory = TenantDirectory(
            self.store, TenancySettings(database_url="sqlite://", **given), self.clock, gate
        )

    async def with_acme(self, status: TenantStatus = TenantStatus.ACTIVE) -> Tenant:
        """The tenant acme, remembered; from now on the store fails."""
        acme = tenant_named("acme", status=status)
        await self.store.add(acme)
        await self.directory.find("acme")
        self.store.error = OSError("away")
        return acme

    async def is_served(self, after: float) -> bool:
        self.clock.now = after
        try:
            await self.directory.find("acme")
        except StoreUnavailableError:
            return False
        return True


@pytest.fixture
def desk() -> Desk:
    return Desk()


async def test_an_active_tenant_is_served_until_the_time_is_over(desk: Desk) -> None:
    await desk.with_acme()
    assert [await desk.is_served(moment) for moment in (59.9, 60, 89.9, 90)] == [True, True, True, False]
    assert desk.directory.stats()["served_stale"] == 2


async def test_nobody_is_served_stale_where_nothing_is_set() -> None:
    desk = Desk(stale_for=0)
    await desk.with_acme()
    assert [await desk.is_served(moment) for moment in (59.9, 60)] == [True, False]


async def test_a_tenant_is_served_stale_by_its_id_too(desk: Desk) -> None:
    acme = await desk.with_acme()
    desk.clock.now = 80
    assert await desk.directory.find_by_id(acme.id) == acme


async def test_a_suspended_tenant_is_not_served_stale(desk: Desk) -> None:
    await desk.with_acme(SUSPENDED)
    assert not await desk.is_served(70)


async def test_a_tenant_that_was_changed_here_is_not_served_stale(desk: Desk) -> None:
    acme = await desk.with_acme()
    desk.clock.now = 61
    await desk.directory.change(acme, replace(acme, status=SUSPENDED))
    assert not await desk.is_served(62)


async def test_a_tenant_of_which_others_told_a_change_is_not_served_stale(desk: Desk) -> None:
    acme = await desk.with_acme()
    desk.clock.now = 61
    await desk.directory.forget_changed(acme.id, "acme")
    assert not await desk.is_served(62)


async def test_a_tenant_that_the_store_has_no_more_is_not_served_stale(desk: Desk) -> None:
    acme = await desk.with_acme()
    desk.store.error = None
    await desk.store.remove(acme, keep_namespace=False)
    assert await desk.directory.find_by_id(acme.id) == acme  # from memory
    desk.clock.now = 61
    assert await desk.directory.find_by_id(acme.id) is None
    desk.store.error = OSError("away")
    assert not await desk.is_served(70)


async def test_an_answer_that_was_overtaken_is_known_all_the_same(desk: Desk) -> None:
    acme = await desk.with_acme()
    desk.store.error = None
    await desk.store.save(replace(acme, status=SUSPENDED))
    desk.clock.now = 61
    loading = asyncio.create_task(desk.directory.find("acme"))
    await asyncio.sleep(0)
    await desk.directory.forget_changed("somebody else")
    assert (await loading).status is SUSPENDED
    desk.store.error = OSError("away")
    assert not await desk.is_served(70)


async def test_a_tenant_behind_the_code_is_not_served_stale() -> None:
    behind: set[str | None] = set()
    desk = Desk(MigrationGate(behind.__contains__, lambda: datetime.now(UTC)))
    await desk.with_acme()
    behind.add(None)
    assert not await desk.is_served(70)


async def test_a_store_that_comes_back_is_believed_at_once(desk: Desk) -> None:
    acme = await desk.with_acme()
    assert await desk.is_served(70)
    desk.store.error = None
    changed = await desk.store.save(replace(acme, name="new"))
    assert await desk.directory.find("acme") == changed


async def test_those_who_wait_for_a_hanging_store_get_its_failure_together(desk: Desk) -> None:
    desk.store.hangs = True
    asked = await asyncio.gather(*(desk.directory.find("acme") for _ in range(50)), return_exceptions=True)
    assert {type(each) for each in asked} == {StoreUnavailableError}
    assert desk.directory.stats()["loads"] == 1


async def test_a_store_that_failed_several_times_is_asked_by_one_request_at_a_time() -> None:
    desk = Desk(store_failures=3)
    desk.store.error = OSError("away")
    for number in range(20):
        with pytest.raises(StoreUnavailableError) as refusal:
            await desk.directory.find(f"n{number}")
        assert refusal.value.headers == {"Retry-After": "2"}
    assert desk.directory.stats()["loads"] == 20
    assert (desk.directory.stats()["store_failures"], desk.directory.stats()["store_refusals"]) == (3, 17)
    desk.store.error, desk.clock.now = None, 2.0
    await desk.store.add(tenant_named("acme"))
    assert await desk.is_served(2)
    assert desk.directory.stats()["store_is_spared"] == 0
