"""A tenant is not served while its tables do not fit the code, and nobody else waits for it."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from fleet.migrating.standing import execute
from starlette.types import Message, Scope
from support import client_of, make_app, named

from fastapi_tenancy import Tenancy, TenancyMiddleware, TenantSuspendedError
from fastapi_tenancy.errors import TenantMigratingError

BEHIND = {"detail": "The tenant is being upgraded; try again soon."}


def websocket_scope(headers: list[tuple[bytes, bytes]]) -> Scope:
    return {"type": "websocket", "path": "/", "headers": headers, "query_string": b""}


@pytest.fixture
async def tenancy(fleet: Any, threads: Any) -> Any:
    """Open, and of newer code than the tenants acme and globex; globex is migrated."""
    fleet.advance()
    async with fleet.tenancy() as tenancy:
        await tenancy.migrate(tenants=["globex"])
        yield tenancy


async def test_whoever_is_behind_is_refused_while_others_are_served(tenancy: Tenancy) -> None:
    async with client_of(make_app(tenancy)) as client:
        for _ in range(2):
            refused = await client.get("/whoami", headers=named("acme"))
            assert (refused.status_code, refused.json(), refused.headers["Retry-After"]) == (503, BEHIND, "5")
            assert (await client.get("/whoami", headers=named("globex"))).status_code == 200


async def test_whoever_was_migrated_is_served_at_once(tenancy: Tenancy) -> None:
    async with client_of(make_app(tenancy)) as client:
        assert (await client.get("/whoami", headers=named("acme"))).status_code == 503
        await tenancy.migrate()
        assert (await client.get("/notes", headers=named("acme"))).status_code == 200


async def test_whoever_was_migrated_elsewhere_is_served_at_once(tenancy: Tenancy, fleet: Any) -> None:
    async with client_of(make_app(tenancy)) as client:
        assert (await client.get("/whoami", headers=named("acme"))).status_code == 503
        async with fleet.tenancy() as other:
            await other.migrate()
        assert (await client.get("/notes", headers=named("acme"))).status_code == 200


async def test_whoever_is_being_migrated_is_refused_until_the_lease_ends(tenancy: Tenancy) -> None:
    globex, now = await tenancy.get_tenant("globex"), datetime.now(UTC)
    async with client_of(make_app(tenancy)) as client:
        await tenancy.store.claim([globex.id], "migration", "elsewhere", now, now + timedelta(seconds=15))
        assert (await client.get("/whoami", headers=named("globex"))).status_code == 503
        await tenancy.store.renew([globex.id], "elsewhere", now)
        assert (await client.get("/whoami", headers=named("globex"))).status_code == 200


async def test_whoever_is_being_moved_is_not_the_gates_concern(tenancy: Tenancy) -> None:
    globex, now = await tenancy.get_tenant("globex"), datetime.now(UTC)
    await tenancy.store.claim([globex.id], "move", "mover", now, now + timedelta(seconds=15))
    async with tenancy.use("globex"):
        pass


async def test_while_it_is_migrated_here_whoever_was_remembered_is_refused(
    tenancy: Tenancy, fleet: Any, threads: Any
) -> None:
    async with client_of(make_app(tenancy)) as client:
        assert (await client.get("/whoami", headers=named("globex"))).status_code == 200
        fleet.shop.revision("cc3", "bb20")
        threads.hold()
        run = asyncio.create_task(tenancy.migrate(tenants=["globex"]))
        await threads.came.wait()
        assert (await client.get("/whoami", headers=named("globex"))).status_code == 503
        threads.turn.set()
        await run
        assert (await client.get("/whoami", headers=named("globex"))).status_code == 200


@pytest.mark.parametrize(("identifier", "code"), [("acme", 1013), ("nobody", 1008)])
async def test_a_websocket_is_told_to_try_again(tenancy: Tenancy, identifier: str, code: int) -> None:
    sent: list[Message] = []

    async def send(message: Message) -> None:
        sent.append(message)

    headers = [(b"x-tenant-id", identifier.encode())]
    await TenancyMiddleware(make_app(tenancy), tenancy)(websocket_scope(headers), lambda: None, send)
    assert sent == [{"type": "websocket.close", "code": code}]


async def test_a_websocket_gets_the_answer_where_the_server_can_send_it(tenancy: Tenancy) -> None:
    sent: list[Message] = []

    async def send(message: Message) -> None:
        sent.append(message)

    scope = {**websocket_scope([(b"x-tenant-id", b"acme")]), "extensions": {"websocket.http.response": {}}}
    await TenancyMiddleware(make_app(tenancy), tenancy)(scope, lambda: None, send)
    assert sent[0]["status"] == 503
    assert (b"retry-after", b"5") in sent[0]["headers"]


async def test_a_suspended_tenant_that_is_behind_is_refused_as_suspended(tenancy: Tenancy) -> None:
    await tenancy.suspend_tenant("acme")
    with pytest.raises(TenantSuspendedError):
        async with tenancy.use("acme"):
            pass


async def test_use_refuses_whoever_is_behind_unless_it_is_told_otherwise(tenancy: Tenancy) -> None:
    with pytest.raises(TenantMigratingError, match="run: fastapi-tenancy migrate"):
        async with tenancy.use("acme"):
            pass
    async with tenancy.use("acme", allow_inactive=True) as profile:
        assert profile.tenant.revision == "aa1"


async def test_newer_tables_are_served(tenancy: Tenancy) -> None:
    await execute(tenancy, "acme", "UPDATE alembic_version SET version_num = 'ff9'")
    await tenancy.migration_status()
    async with tenancy.use("acme"):
        pass


async def test_without_migrations_nobody_is_asked_for_a_revision(on_sqlite: Tenancy) -> None:
    acme, now = await on_sqlite.get_tenant("acme"), datetime.now(UTC)
    await on_sqlite.store.record_revisions({acme: "aa1"})
    await on_sqlite.store.claim([acme.id], "migration", "elsewhere", now, now + timedelta(seconds=15))
    async with on_sqlite.use("acme"):
        pass
