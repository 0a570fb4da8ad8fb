"""The level of memory that workers share in Redis: one load for all, sealed, and never older than the last change."""

import asyncio
from base64 import urlsafe_b64encode
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from dataclasses import fields, replace
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import pytest
from redis.asyncio import Redis

from fastapi_tenancy import (
    ConfigurationError,
    InMemoryTenantStore,
    TenancySettings,
    Tenant,
    TenantExistsError,
    TenantNotFoundError,
    TenantStatus,
)
from fastapi_tenancy.cache.shared_tenants import SharedTenants
from fastapi_tenancy.directory import TenantDirectory
from fastapi_tenancy.migration_gate import MigrationGate
from fastapi_tenancy.sealing import Sealer
from fastapi_tenancy.testing import tenant_named

KEYS = [urlsafe_b64encode(bytes([number]) * 32).decode().rstrip("=") for number in range(2)]
SUSPENDED = TenantStatus.SUSPENDED

Workers = Callable[..., Any]


class SlowStore(InMemoryTenantStore):
    """Counts its look-ups, answers when it may with what it had when it was asked, and says when it has committed."""

    def __init__(self) -> None:
        super().__init__()
        self.asked = 0
        self.may_answer = asyncio.Event()
        self.may_answer.set()
        self.committed: Callable[[], Any] | None = None

    async def get_by_identifier(self, identifier: str) -> Tenant | None:
        self.asked += 1
        found = await super().get_by_identifier(identifier)
        await self.may_answer.wait()
        return found

    async def save(self, tenant: Tenant, **audit: Any) -> Tenant:
        saved = await super().save(tenant, **audit)
        if self.committed is not None:
            await self.committed()
        return saved


@pytest.fixture
def store() -> SlowStore:
    return SlowStore()


@pytest.fixture
async def worker(redis_url: str, store: SlowStore) -> AsyncIterator[Workers]:
    """Makes the directories of one deployment's workers, each as one that has just started."""
    name = uuid4().hex
    async with AsyncExitStack() as stack:

        async def make(
            keys: list[str] = KEYS[:1], url: str = redis_url, gate: MigrationGate | None = None, **given: Any
        ) -> TenantDirectory:
            defaults = {"database_url": "sqlite://", "unknown_cache_ttl": 60, "store_timeout": 5}
            settings = TenancySettings(**{**defaults, "redis_url": url, "encryption_keys": keys, **given})
            shared = SharedTenants(settings, Sealer(settings.encryption_keys))
            await stack.enter_async_context(shared.running(name))
            return TenantDirectory(store, settings, gate=gate, shared=shared)

        yield make


async def status_in(worker: TenantDirectory, identifier: str = "acme") -> TenantStatus | None:
    try:
        return (await worker.find(identifier)).status
    except TenantNotFoundError:
        return None


async def test_what_one_worker_has_loaded_others_know_with_all_its_fields(worker: Workers, store: SlowStore) -> None:
    acme = tenant_named(
        "acme",
        settings={"plan": "pro", "of": [1, {"a": None}]},
        database_url="sqlite:///a.db",
        key_management_mode="unmanaged",
        key_record="k",
        encrypted=True,
        manager_type="basic",
        namespace="n",
        revision="r",
        work="move",
        work_until=datetime(2030, 1, 1, tzinfo=UTC),
        version=3,
    )
    assert all(getattr(acme, field.name) for field in fields(Tenant))
    await store.add(acme)
    assert await (await worker()).find("acme") == acme
    assert await (await worker()).find("acme") == acme
    assert store.asked == 1


async def test_many_first_requests_of_several_workers_are_one_query(worker: Workers, store: SlowStore) -> None:
    await store.add(tenant_named("acme"))
    workers = [await worker() for _ in range(4)]
    await asyncio.gather(*(each.find("acme") for each in workers for _ in range(50)))
    assert store.asked == 1


async def test_a_name_without_a_tenant_is_remembered_for_all_until_it_has_one(
    worker: Workers, store: SlowStore
) -> None:
    first, second, third = [await worker() for _ in range(3)]
    assert [await status_in(each) for each in (first, second)] == [None, None]
    assert store.asked == 1
    await first.add(tenant_named("acme"))
    assert await status_in(third) is TenantStatus.ACTIVE


async def test_a_tenant_is_found_by_its_id_as_well(worker: Workers, store: SlowStore) -> None:
    acme = tenant_named("acme")
    await store.add(acme)
    assert await (await worker()).find_by_id(acme.id) == acme
    store.get = None
    assert await (await worker()).find_by_id(acme.id) == acme


@pytest.mark.parametrize(
    ("change", "name", "seen"),
    [
        (lambda here, acme: here.change(acme, replace(acme, status=SUSPENDED)), "acme", SUSPENDED),
        (lambda here, acme: here.change(acme, replace(acme, identifier="new")), "acme", None),
        (lambda here, acme: here.change(acme, replace(acme, identifier="new")), "new", TenantStatus.ACTIVE),
        (lambda here, acme: here.remove(acme, keep_namespace=False), "acme", None),
    ],
    ids=["suspended", "renamed", "new name", "removed"],
)
async def test_a_change_is_seen_by_a_worker_that_has_heard_nothing_yet(
    worker: Workers, store: SlowStore, change: Any, name: str, seen: TenantStatus | None
) -> None:
    here, there = await worker(), await worker()
    acme = tenant_named("acme")
    await store.add(acme)
    await status_in(there, name)
    await change(here, acme)
    assert await status_in(await worker(), name) is seen


async def test_between_a_commit_and_its_end_nobody_reads_what_was_there_before(
    worker: Workers, store: SlowStore
) -> None:
    here, acme = await worker(), tenant_named("acme")
    await store.add(acme)
    await here.find("acme")
    others: list[TenantDirectory] = [await worker(), await worker()]

    async def look() -> None:
        assert await status_in(others[0], "acme") is None

    store.committed = look
    await here.change(acme, replace(acme, identifier="new"))
    assert await status_in(others[1], "acme") is None


async def test_a_load_in_flight_while_a_change_commits_is_kept_in_neither_level(
    worker: Workers, store: SlowStore
) -> None:
    here, there = await worker(), await worker()
    acme = tenant_named("acme")
    await store.add(acme)
    store.may_answer.clear()
    slow = asyncio.create_task(there.find("acme"))
    while not store.asked:
        await asyncio.sleep(0.001)
    await here.change(acme, replace(acme, status=SUSPENDED))
    await there.forget_changed(acme.id, "acme")  # as the bus tells it
    store.may_answer.set()
    assert (await slow).is_active  # it was asked for before the change
    assert await status_in(there) is SUSPENDED
    assert await status_in(await worker()) is SUSPENDED


async def test_a_message_that_is_faster_than_the_end_of_a_change_made_past_the_directory_is_heeded(
    worker: Workers, store: SlowStore
) -> None:
    there, acme = await worker(), tenant_named("acme")
    await store.add(acme)
    await there.find("acme")
    await store.save(replace(acme, status=SUSPENDED))
    await there.forget_changed(acme.id, "acme")
    assert await status_in(there) is SUSPENDED


async def test_what_is_about_to_change_is_not_shared(worker: Workers, store: SlowStore) -> None:
    acme = tenant_named("acme", status=TenantStatus.PROVISIONING)
    await store.add(acme)
    await status_in(await worker())
    await store.save(replace(acme, status=TenantStatus.ACTIVE))
    assert await status_in(await worker()) is TenantStatus.ACTIVE


async def test_a_worker_whose_code_is_newer_does_not_believe_that_a_tenant_fits_it(
    worker: Workers, store: SlowStore
) -> None:
    await store.add(tenant_named("acme", revision="1"))
    await (await worker()).find("acme")
    newer = await worker(gate=MigrationGate(lambda revision: revision == "1", lambda: datetime.now(UTC)))
    await store.save(replace(await store.get_by_identifier("acme"), revision="2"))
    assert (await newer.find("acme")).revision == "2"


async def test_a_refused_creation_does_not_keep_the_bearer_of_the_name_from_being_shared(
    worker: Workers, store: SlowStore
) -> None:
    here = await worker()
    await store.add(tenant_named("acme"))
    with pytest.raises(TenantExistsError):
        await here.add(tenant_named("acme"))
    for _ in range(2):
        await status_in(await worker())
    assert store.asked == 1


async def test_redis_holds_nothing_that_can_be_read(worker: Workers, store: SlowStore, redis_url: str) -> None:
    await store.add(tenant_named("acme", database_url="sqlite:///very-secret.db"))
    await (await worker()).find("acme")
    async with Redis.from_url(redis_url) as redis:
        values = [await redis.get(key) async for key in redis.scan_iter("*:e:identifier/acme")]
    assert values
    assert not any(b"secret" in value or b"acme" in value for value in values)


async def test_another_tenants_value_put_in_its_place_is_not_believed(
    worker: Workers, store: SlowStore, redis_url: str
) -> None:
    for name in ("acme", "globex"):
        await store.add(tenant_named(name))
        await (await worker()).find(name)
    async with Redis.from_url(redis_url) as redis:
        async for key in redis.scan_iter("*:e:identifier/acme"):
            await redis.set(key, await redis.get(key.replace(b"acme", b"globex")) or b"")
    assert (await (await worker()).find("acme")).identifier == "acme"


async def test_what_was_sealed_with_an_older_key_is_loaded_again(worker: Workers, store: SlowStore) -> None:
    await store.add(tenant_named("acme"))
    await (await worker(KEYS[:1])).find("acme")
    await (await worker([KEYS[1], KEYS[0]])).find("acme")
    assert store.asked == 2


async def test_a_tenant_is_remembered_no_longer_for_having_been_shared(worker: Workers, store: SlowStore) -> None:
    await store.add(tenant_named("acme"))
    await (await worker(cache_ttl=60)).find("acme")
    there = await worker(cache_ttl=60)
    there._shared._now = lambda: datetime.now(UTC).timestamp() + 50
    await there.find("acme")
    entry = there._remembered.tenants._by_identifier["acme"]
    assert entry[1] - there._remembered.tenants._clock() < 11


async def test_without_redis_all_is_as_if_there_was_none(worker: Workers, store: SlowStore) -> None:
    here = await worker(url="redis://127.0.0.1:1/0")
    acme = tenant_named("acme")
    await store.add(acme)
    assert await status_in(here) is TenantStatus.ACTIVE
    await here.change(acme, replace(acme, status=SUSPENDED))
    assert await status_in(here) is SUSPENDED


@pytest.mark.parametrize("given", [{"redis_url": "redis://127.0.0.1:1"}, {"encryption_keys": KEYS}], ids=["key", "url"])
def test_it_needs_a_redis_and_a_key(given: dict[str, Any]) -> None:
    settings = TenancySettings(database_url="sqlite://", **given)
    sealer = Sealer(settings.encryption_keys) if settings.encryption_keys else None
    with pytest.raises(ConfigurationError, match="shared_cache needs redis_url"):
        SharedTenants(settings, sealer)
