"""Which bus a deployment gets, and what it does between its ends."""

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from support import Base, make_tenancy
from workers import FOR_EVER, knows, until

from fastapi_tenancy import ConfigurationError, HeaderResolver, InMemoryTenantStore, Tenancy, TenancySettings
from fastapi_tenancy.bus import EVERYTHING, Change, InMemoryBus
from fastapi_tenancy.bus.base import in_time
from fastapi_tenancy.bus.outbox import Outbox

POSTGRESQL = {"database_url": "postgresql://app:secret@localhost/app"}
REDIS = {"redis_url": "redis://localhost:6379/0"}


@pytest.mark.parametrize(
    ("given", "kind"),
    [
        ({}, "poll"),
        ({"database_url": "sqlite://", "tenant_database_url": "sqlite:///x/{id}.db"}, "none"),
        ({"store": InMemoryTenantStore()}, "none"),
        ({**REDIS}, "redis"),
        ({**REDIS, "store": InMemoryTenantStore()}, "redis"),
        ({**REDIS, "bus": "poll"}, "poll"),
        ({**REDIS, "bus": "none"}, "none"),
        ({**POSTGRESQL}, "postgresql"),
        ({**POSTGRESQL, **REDIS}, "redis"),
        ({**POSTGRESQL, "pooler": "transaction"}, "poll"),
        ({**POSTGRESQL, "bus": "poll"}, "poll"),
        ({"database_url": "mysql://app@localhost/app"}, "poll"),
    ],
)
def test_the_bus_fits_the_deployment(tmp_path: Path, given: dict[str, Any], kind: str) -> None:
    assert make_tenancy(tmp_path, **given)._coherence.bus()[0] == kind


@pytest.mark.parametrize(
    ("given", "why"),
    [
        ({"bus": "redis"}, "no redis_url; use one of auto, poll, none"),
        ({"bus": "postgresql"}, "store on PostgreSQL"),
        ({**POSTGRESQL, "bus": "postgresql", "pooler": "transaction"}, "no pooler"),
        ({"bus": "poll", "store": InMemoryTenantStore()}, "SQL database"),
        ({"redis_url": "http://localhost"}, "no URL of Redis"),
    ],
)
def test_a_bus_that_cannot_work_is_refused(tmp_path: Path, given: dict[str, Any], why: str) -> None:
    with pytest.raises(ConfigurationError, match=why):
        make_tenancy(tmp_path, **given)


async def test_without_a_bus_a_change_is_seen_within_the_ttl(tmp_path: Path) -> None:
    now = 0.0
    given = {"bus": "none", "cache_ttl": 30, "clock": lambda: now}
    async with make_tenancy(tmp_path, **given) as here, make_tenancy(tmp_path, **given) as there:
        assert here.stats()["bus"]["bound"] == 30
        await here.create_tenant("acme")
        assert await knows(there, "acme") == "active"
        await here.suspend_tenant("acme")
        now = 29.9
        assert await knows(there, "acme") == "active"
        now = 30
        assert await knows(there, "acme") == "suspended"


async def test_a_bus_of_ones_own_carries_the_changes_of_any_store() -> None:
    peers: set[InMemoryBus] = set()
    store, settings = InMemoryTenantStore(), TenancySettings(database_url="sqlite:///x.db", **FOR_EVER)
    here, there = (
        Tenancy(settings, resolvers=[HeaderResolver("X")], metadata=Base.metadata, store=store, bus=InMemoryBus(peers))
        for _ in range(2)
    )
    async with here, there:
        await here.directory.add(acme := here._lifecycle.draft("acme", **DRAFT))
        assert await knows(there, "acme") == "provisioning"
        await here.directory.remove(acme, keep_namespace=False)

        async def is_gone() -> bool:
            return await knows(there, "acme") is None and there.stats()["bus"]["received"] == 2

        await until(is_gone)


DRAFT: dict[str, Any] = {
    "name": "x",
    "settings": {},
    "manager_type": None,
    "database_url": None,
    "key_management_mode": "managed",
}


async def test_a_load_that_a_message_overtook_is_not_kept(tmp_path: Path) -> None:
    class SlowStore(InMemoryTenantStore):
        may_answer = asyncio.Event()
        asked = 0

        async def get_by_identifier(self, identifier: str) -> Any:
            found = await super().get_by_identifier(identifier)
            self.asked += 1
            await self.may_answer.wait()
            return found

    store = SlowStore()
    async with make_tenancy(tmp_path, store=store, **FOR_EVER) as tenancy:
        acme = tenancy._lifecycle.draft("acme", **DRAFT)
        slow = asyncio.create_task(knows(tenancy, "acme"))
        while not store.asked:
            await asyncio.sleep(0)
        await store.add(acme)
        await tenancy._coherence.hear([Change.of_tenant(acme.id)])  # its name is not even told
        store.may_answer.set()
        assert await slow is None
        assert await knows(tenancy, "acme") == "provisioning"


class Flaky:
    """Takes what is sent, apart from the first time."""

    def __init__(self) -> None:
        self.sent: list[Change] = []
        self.failures = 1

    async def send(self, changes: Sequence[Change]) -> None:
        if self.failures:
            self.failures -= 1
            raise ConnectionError("away")
        self.sent += changes


async def test_what_cannot_be_sent_is_sent_again_and_each_change_once() -> None:
    server = Flaky()
    outbox = Outbox(server.send)
    one, two = Change.of_token("one"), Change.of_token("two")
    async with outbox.running():
        for change in (one, two, one):
            outbox.put(change)
    assert server.sent == [one, two]


async def test_an_outbox_that_is_full_holds_everything() -> None:
    server = Flaky()
    outbox = Outbox(server.send)
    for number in range(1001):
        outbox.put(Change.of_token(str(number)))
    async with outbox.running():
        pass
    assert server.sent == [EVERYTHING]


async def test_work_in_time_has_ended_also_where_it_pays_no_heed() -> None:
    cancellations = 0

    async def stubborn() -> None:
        nonlocal cancellations
        while cancellations < 3:
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                cancellations += 1

    with pytest.raises(TimeoutError):
        await in_time(0.01, stubborn())
    assert cancellations == 3
