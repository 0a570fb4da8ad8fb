"""The directory finds tenants by id as it does by identifier: one load, and nothing outdated after a write."""

import asyncio
from dataclasses import replace

import pytest

from fastapi_tenancy import InMemoryTenantStore, StoreUnavailableError, TenancySettings, Tenant, TenantStatus
from fastapi_tenancy.directory import TenantDirectory
from fastapi_tenancy.testing import tenant_named


class SlowStore(InMemoryTenantStore):
    """Answers a look-up by id when it is told to, with what it had when it was asked."""

    def __init__(self) -> None:
        super().__init__()
        self.asked = 0
        self.may_answer = asyncio.Event()
        self.may_answer.set()

    async def get(self, tenant_id: str) -> Tenant | None:
        self.asked += 1
        found = await super().get(tenant_id)
        await self.may_answer.wait()
        return found


@pytest.fixture
def store() -> SlowStore:
    return SlowStore()


@pytest.fixture
def directory(store: SlowStore) -> TenantDirectory:
    return TenantDirectory(store, TenancySettings(database_url="sqlite://", store_timeout=0.05))


async def test_500_first_look_ups_are_one_query(directory: TenantDirectory, store: SlowStore) -> None:
    acme = tenant_named()
    await store.add(acme)
    assert set(await asyncio.gather(*(directory.find_by_id(acme.id) for _ in range(500)))) == {acme}
    assert store.asked == 1


async def test_a_tenant_found_by_identifier_is_known_by_id(directory: TenantDirectory, store: SlowStore) -> None:
    acme = tenant_named()
    await directory.add(acme)
    await directory.find("acme")
    assert await directory.find_by_id(acme.id) == acme
    assert store.asked == 0


async def test_a_tenant_that_is_gone_is_none(directory: TenantDirectory) -> None:
    assert await directory.find_by_id("gone") is None


async def test_every_change_is_seen_at_once(directory: TenantDirectory) -> None:
    acme = tenant_named()
    await directory.add(acme)
    assert await directory.find_by_id(acme.id) == acme
    suspended = await directory.change(acme, replace(acme, status=TenantStatus.SUSPENDED, identifier="other"))
    assert await directory.find_by_id(acme.id) == suspended
    await directory.remove(suspended, keep_namespace=True)
    assert await directory.find_by_id(acme.id) is None


@pytest.mark.parametrize("forgotten", [False, True])
async def test_a_load_that_was_overtaken_is_not_kept(
    directory: TenantDirectory, store: SlowStore, forgotten: bool
) -> None:
    acme = tenant_named()
    await store.add(acme)
    store.may_answer.clear()
    slow = asyncio.create_task(directory.find_by_id(acme.id))
    while not store.asked:
        await asyncio.sleep(0)
    change = replace(acme, name="new")
    changed = await store.save(change) if forgotten else await directory.change(acme, change)
    if forgotten:
        await directory.forget_all()
    store.may_answer.set()
    assert await slow == acme
    assert await directory.find_by_id(acme.id) == changed


async def test_what_is_about_to_change_is_not_remembered(directory: TenantDirectory, store: SlowStore) -> None:
    acme = tenant_named(status=TenantStatus.PROVISIONING)
    await store.add(acme)
    await directory.find_by_id(acme.id)
    active = await store.save(replace(acme, status=TenantStatus.ACTIVE))
    assert await directory.find_by_id(acme.id) == active


async def test_a_store_that_hangs_is_a_503_in_time(directory: TenantDirectory, store: SlowStore) -> None:
    store.may_answer.clear()
    with pytest.raises(StoreUnavailableError):
        await directory.find_by_id("any")
