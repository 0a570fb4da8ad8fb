"""The directory asks the store as seldom as it can, and never gives an outdated answer after a write."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest
from sqlalchemy.exc import OperationalError

from fastapi_tenancy import (
    InMemoryTenantStore,
    InvalidIdentifierError,
    StoreUnavailableError,
    TenancySettings,
    Tenant,
    TenantNotFoundError,
    TenantStatus,
)
from fastapi_tenancy.directory import TenantDirectory
from fastapi_tenancy.testing import tenant_named


class SlowStore(InMemoryTenantStore):
    """Counts its look-ups, and answers them when it is told to, with what it had when it was asked."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[str] = []
        self.may_answer = asyncio.Event()
        self.may_answer.set()
        self.error: Exception | None = None

    async def get_by_identifier(self, identifier: str) -> Tenant | None:
        self.asked.append(identifier)
        found = await super().get_by_identifier(identifier)
        await self.may_answer.wait()
        if self.error is not None:
            raise self.error
        return found


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def store() -> AsyncIterator[SlowStore]:
    store = SlowStore()
    yield store
    store.may_answer.set()


@pytest.fixture
def directory(store: SlowStore, clock: Clock) -> TenantDirectory:
    settings = TenancySettings(database_url="sqlite://", cache_ttl=60, unknown_cache_ttl=5, store_timeout=0.05)
    return TenantDirectory(store, settings, clock)


async def test_500_first_requests_for_one_tenant_are_one_query(directory: TenantDirectory, store: SlowStore) -> None:
    acme = tenant_named()
    await store.add(acme)
    found = await asyncio.gather(*(directory.find("acme") for _ in range(500)))
    assert set(found) == {acme}
    assert store.asked == ["acme"]


async def test_500_first_requests_for_an_unknown_name_are_one_query(
    directory: TenantDirectory, store: SlowStore
) -> None:
    found = await asyncio.gather(*(directory.find("nobody") for _ in range(500)), return_exceptions=True)
    assert {type(each) for each in found} == {TenantNotFoundError}
    assert store.asked == ["nobody"]


async def test_a_found_tenant_is_remembered_until_its_ttl(
    directory: TenantDirectory, store: SlowStore, clock: Clock
) -> None:
    await store.add(tenant_named())
    await directory.find("acme")
    clock.now = 59.9
    await directory.find("acme")
    assert len(store.asked) == 1
    clock.now = 60
    await directory.find("acme")
    assert len(store.asked) == 2


async def test_an_unknown_name_is_remembered_briefly(
    directory: TenantDirectory, store: SlowStore, clock: Clock
) -> None:
    for moment in (0, 4.9, 5):
        clock.now = moment
        with pytest.raises(TenantNotFoundError):
            await directory.find("nobody")
    assert len(store.asked) == 2


async def test_unknown_names_are_remembered_boundedly(store: SlowStore) -> None:
    directory = TenantDirectory(store, TenancySettings(database_url="sqlite://", unknown_cache_size=10))
    for number in range(100):
        with pytest.raises(TenantNotFoundError):
            await directory.find(f"n{number}")
    assert directory.stats()["unknown"]["size"] == 10


async def test_an_impossible_name_is_not_asked_for(directory: TenantDirectory, store: SlowStore) -> None:
    with pytest.raises(InvalidIdentifierError):
        await directory.find("NO WAY")
    assert store.asked == []


async def test_a_created_tenant_is_found_though_its_name_was_unknown(directory: TenantDirectory) -> None:
    with pytest.raises(TenantNotFoundError):
        await directory.find("acme")
    acme = tenant_named()
    await directory.add(acme)
    assert await directory.find("acme") == acme


async def test_every_change_is_seen_at_once(directory: TenantDirectory, store: SlowStore) -> None:
    acme = tenant_named()
    await directory.add(acme)
    await directory.find("acme")
    suspended = await directory.change(acme, replace(acme, status=TenantStatus.SUSPENDED))
    assert await directory.find("acme") == suspended
    renamed = await directory.change(suspended, replace(suspended, identifier="other"))
    with pytest.raises(TenantNotFoundError):
        await directory.find("acme")
    assert await directory.find("other") == renamed
    await directory.remove(renamed, keep_namespace=False)
    with pytest.raises(TenantNotFoundError):
        await directory.find("other")


async def test_a_load_that_a_write_overtook_is_not_kept(directory: TenantDirectory, store: SlowStore) -> None:
    acme = tenant_named()
    await store.add(acme)
    store.may_answer.clear()
    slow = asyncio.create_task(directory.find("acme"))
    while not store.asked:
        await asyncio.sleep(0)
    changed = await directory.change(acme, replace(acme, name="new"))
    store.may_answer.set()
    assert (await slow).name == "acme"
    assert await directory.find("acme") == changed


async def test_a_load_that_a_creation_overtook_does_not_make_the_name_unknown(
    directory: TenantDirectory, store: SlowStore
) -> None:
    store.may_answer.clear()
    slow = asyncio.create_task(directory.find("acme"))
    while not store.asked:
        await asyncio.sleep(0)
    acme = tenant_named()
    await directory.add(acme)
    store.may_answer.set()
    with pytest.raises(TenantNotFoundError):
        await slow
    assert await directory.find("acme") == acme


async def test_what_is_about_to_change_is_not_remembered(directory: TenantDirectory, store: SlowStore) -> None:
    acme = tenant_named(status=TenantStatus.PROVISIONING)
    await store.add(acme)
    await directory.find("acme")
    active = await store.save(replace(acme, status=TenantStatus.ACTIVE))
    assert await directory.find("acme") == active


async def test_a_store_that_hangs_is_a_503_in_time(directory: TenantDirectory, store: SlowStore) -> None:
    store.may_answer.clear()
    with pytest.raises(StoreUnavailableError) as error:
        await directory.find("acme")
    assert (error.value.status_code, error.value.headers) == (503, {"Retry-After": "2"})


async def test_a_store_that_fails_is_a_503_and_recovers(directory: TenantDirectory, store: SlowStore) -> None:
    await store.add(tenant_named())
    store.error = OperationalError("SELECT", {}, Exception("server at secret-host went away"))
    with pytest.raises(StoreUnavailableError) as error:
        await directory.find("acme")
    assert "secret-host" not in str(error.value)
    store.error = None
    assert (await directory.find("acme")).identifier == "acme"


async def test_after_a_failed_load_one_of_those_who_wait_asks_again(
    directory: TenantDirectory, store: SlowStore
) -> None:
    await store.add(tenant_named())
    store.may_answer.clear()
    first = asyncio.create_task(directory.find("acme"))
    while not store.asked:
        await asyncio.sleep(0)
    others = [asyncio.create_task(directory.find("acme")) for _ in range(10)]
    await asyncio.sleep(0)
    first.cancel()
    store.may_answer.set()
    assert len(set(await asyncio.gather(*others))) == 1
    assert len(store.asked) == 2


async def test_known_tenants_are_served_while_the_store_is_away(directory: TenantDirectory, store: SlowStore) -> None:
    await store.add(tenant_named())
    known = await directory.find("acme")
    store.error = OperationalError("SELECT", {}, Exception("away"))
    assert await directory.find("acme") == known


async def test_an_answer_of_another_name_is_dropped(directory: TenantDirectory, store: SlowStore) -> None:
    await store.add(tenant_named("acme"))

    async def loosely(identifier: str) -> Tenant | None:
        return await InMemoryTenantStore.get_by_identifier(store, "acme")

    store.get_by_identifier = loosely
    with pytest.raises(TenantNotFoundError):
        await directory.find("acm3")
