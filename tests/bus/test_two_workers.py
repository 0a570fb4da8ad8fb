"""What one worker changes, another sees at once, over every bus."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from prepared_stores import new_store_database
from servers import new_database
from sqlalchemy import make_url
from workers import POLLED, knows, two_workers, until

from fastapi_tenancy import InvalidTokenError, Tenancy

ROWS = {"manager_type": "shared-profile", "shared_isolation": "row"}
KINDS = ("sqlite polled", "psycopg", "asyncpg", "redis", "mysql polled")


def given_for(kind: str, request: pytest.FixtureRequest) -> dict[str, Any]:
    if kind == "redis":
        return {"redis_url": request.getfixturevalue("redis_url")}
    if kind == "sqlite polled":
        return POLLED
    if kind == "mysql polled":
        return {**POLLED, **ROWS, "database_url": new_database(request.getfixturevalue("mysql_url"))}
    url = make_url(new_store_database(request.getfixturevalue("postgresql_url")))
    if kind == "asyncpg":
        url = url.set(drivername="postgresql+asyncpg")
    return {**ROWS, "database_url": url}


@pytest.fixture(scope="module", params=KINDS)
async def workers(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[tuple[Tenancy, Tenancy]]:
    given = given_for(request.param, request)
    async with two_workers(Path(tmp_path_factory.mktemp("workers")), **given) as both:
        assert [worker.stats()["bus"]["connected"] for worker in both] == [True, True]
        yield both


@pytest.fixture
async def name(workers: tuple[Tenancy, Tenancy]) -> str:
    """An active tenant that the other worker knows."""
    here, there = workers
    identifier = f"t{uuid4().hex[:10]}"
    await here.create_tenant(identifier)
    await knows(there, identifier)
    return identifier


async def test_a_suspension_and_an_activation_are_seen(workers: tuple[Tenancy, Tenancy], name: str) -> None:
    here, there = workers
    await here.suspend_tenant(name)
    await until(lambda: is_known_as(there, name, "suspended"))
    await here.activate_tenant(name)
    await until(lambda: is_known_as(there, name, "active"))


async def test_a_rename_is_seen_under_both_names(workers: tuple[Tenancy, Tenancy], name: str) -> None:
    here, there = workers
    assert await knows(there, f"{name}-new") is None
    await here.update_tenant(name, identifier=f"{name}-new")
    await until(lambda: is_known_as(there, name, None))
    await until(lambda: is_known_as(there, f"{name}-new", "active"))


async def test_a_tenant_is_found_as_soon_as_it_is_created(workers: tuple[Tenancy, Tenancy]) -> None:
    here, there = workers
    name = f"t{uuid4().hex[:10]}"
    assert await knows(there, name) is None
    await here.create_tenant(name)
    await until(lambda: is_known_as(there, name, "active"))


async def test_a_deletion_is_seen(workers: tuple[Tenancy, Tenancy], name: str) -> None:
    here, there = workers
    await here.delete_tenant(name, drop_data=True)
    await until(lambda: is_known_as(there, name, None))


async def test_a_revoked_token_is_refused(workers: tuple[Tenancy, Tenancy], name: str) -> None:
    here, there = workers
    issued = await here.tokens.create(name, name="ci")
    await there.tokens.verify(issued.token)
    await here.tokens.revoke(name, issued.token_id)

    async def is_refused() -> bool:
        with suppress(InvalidTokenError):
            await there.tokens.verify(issued.token)
            return False
        return True

    await until(is_refused)


async def test_a_domain_is_found_once_it_is_verified_and_no_more_once_it_is_removed(
    workers: tuple[Tenancy, Tenancy], name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    here, there = workers
    host = f"{name}.example"
    monkeypatch.setattr(here.domains, "_checker", Proven())
    assert await there.domains.find(host) is None
    await here.domains.add(name, host)
    await here.domains.verify(name, host)
    owner = await here.get_tenant(name)

    async def leads_to(tenant_id: str | None) -> bool:
        return await there.domains.find(host) == tenant_id

    await until(lambda: leads_to(owner.id))
    await here.domains.remove(name, host)
    await until(lambda: leads_to(None))


async def test_a_changed_tenants_profile_is_closed(workers: tuple[Tenancy, Tenancy], name: str) -> None:
    here, there = workers
    async with there.use(name) as profile:
        await here.update_tenant(name, settings={"plan": "pro"})
        await until(lambda: has_plan(there, name, "pro"))
        assert not profile.closed

    async def is_closed() -> bool:
        return profile.closed

    await until(is_closed)


async def test_a_watched_stream_ends(workers: tuple[Tenancy, Tenancy], name: str) -> None:
    here, there = workers
    with there.watch.watching(await there.directory.find(name)) as watcher:
        await here.suspend_tenant(name)
        async with asyncio.timeout(10):
            with watcher:
                await asyncio.Event().wait()
    assert watcher.reason == "The tenant is suspended."


async def test_a_worker_does_not_hear_itself(workers: tuple[Tenancy, Tenancy], name: str) -> None:
    here, there = workers
    await here.suspend_tenant(name)
    await until(lambda: is_known_as(there, name, "suspended"))
    assert await knows(here, name) == "suspended"
    await there.activate_tenant(name)
    await until(lambda: is_known_as(here, name, "active"))

    async def has_heard_the_other_one() -> bool:
        return 0 < here.stats()["bus"]["received"] == there.stats()["bus"]["published"]

    await until(has_heard_the_other_one)


async def has_plan(tenancy: Tenancy, identifier: str, plan: str) -> bool:
    async with tenancy.use(identifier) as profile:
        return profile.settings.get("plan") == plan


async def is_known_as(tenancy: Tenancy, identifier: str, status: str | None) -> bool:
    return await knows(tenancy, identifier) == status


class Proven:
    async def check(self, host: str, token: str) -> bool:
        return True
