"""With `migrate_on_demand`, the first request of a tenant that is behind migrates it."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx2 as httpx
import pytest
from fleet.migrating.standing import recorded, spoil
from support import client_of, make_app, make_tenancy, named

from fastapi_tenancy import ConfigurationError, Tenancy
from fastapi_tenancy.store import MigrationRecord


@pytest.fixture
async def tenancy(fleet: Any, threads: Any) -> Any:
    """Open, and of newer code than its tenants."""
    fleet.advance()
    async with fleet.tenancy(migrate_on_demand=True) as tenancy:
        yield tenancy


@pytest.fixture
async def client(tenancy: Tenancy) -> Any:
    async with client_of(make_app(tenancy)) as client:
        yield client


async def test_many_first_requests_migrate_a_tenant_once(client: httpx.AsyncClient, threads: Any) -> None:
    answers = await asyncio.gather(*(client.get("/notes", headers=named("acme")) for _ in range(8)))
    assert {answer.status_code for answer in answers} == {200}
    assert len(threads.orders) == 1


async def test_workers_do_not_migrate_it_at_the_same_time(
    client: httpx.AsyncClient, fleet: Any, tenancy: Tenancy, threads: Any
) -> None:
    async with fleet.tenancy(migrate_on_demand=True) as other, client_of(make_app(other)) as others:
        asked = [each.get("/notes", headers=named("acme")) for each in (client, others, client, others)]
        assert {answer.status_code for answer in await asyncio.gather(*asked)} == {200}
    assert len(threads.orders) == 1
    assert await recorded(tenancy, "acme", "globex") == ["bb20", "aa1"]


async def test_whoever_is_being_migrated_is_waited_for(
    client: httpx.AsyncClient, tenancy: Tenancy, threads: Any
) -> None:
    threads.hold()
    run = asyncio.create_task(tenancy.migrate(tenants=["acme"]))
    await threads.came.wait()
    asked = asyncio.create_task(client.get("/notes", headers=named("acme")))
    threads.turn.set()
    assert (await asked).status_code == 200
    assert (await run).migrated == ["acme"]


async def test_a_failure_is_a_503_that_is_not_tried_again_at_once(
    client: httpx.AsyncClient, tenancy: Tenancy, threads: Any
) -> None:
    await spoil(tenancy, "acme")
    for _ in range(2):
        refused = await client.get("/notes", headers=named("acme"))
        assert (refused.status_code, refused.headers["Retry-After"]) == (503, "60")
        assert len(threads.orders) == 1
    assert (await tenancy.migration_status()).failed == ["acme"]


async def test_a_failure_is_tried_again_after_a_while(
    client: httpx.AsyncClient, tenancy: Tenancy, threads: Any
) -> None:
    acme, ago = await tenancy.get_tenant("acme"), datetime.now(UTC) - timedelta(minutes=2)
    attempt = MigrationRecord(
        run_id="earlier", tenant_id=acme.id, from_revision="aa1", to_revision="bb20", started_at=ago
    )
    await tenancy.store.begin_migrations([attempt])
    await tenancy.store.end_migrations([acme.id], "earlier", "aa1", ago, "no space left")
    assert (await client.get("/notes", headers=named("acme"))).status_code == 200


async def test_it_needs_migrations(tmp_path: Any) -> None:
    with pytest.raises(ConfigurationError, match=r"TenancySettings\.migrations"):
        make_tenancy(tmp_path, migrate_on_demand=True)
