"""What fails, is cancelled or killed at any step of creating or dropping a database leaves nothing, or is resumed."""

import asyncio
import json
from pathlib import Path

import pytest
from forking import Forking
from multitenant.own_databases import SERVERS, Server, before_step
from support import add_notes, make_tenancy

from fastapi_tenancy import Tenancy, TenantNotFoundError

# A server, the settings and how the database is named: each takes other steps.
WAYS = {
    "postgresql": ("postgresql", {"tenant_role": True}, None),
    "mariadb": ("mariadb", {}, None),
    "mariadb, by a name of its own": ("mariadb", {}, "own"),
}


@pytest.fixture(params=WAYS)
def way(request: pytest.FixtureRequest):
    kind, settings, name = WAYS[request.param]
    with Server.at(request.getfixturevalue(SERVERS[kind])) as server:
        given = {"database_url": server.named(name)} if name else {}
        yield server, {"database_url": server.url, **settings}, given


def test_the_same_call_ends_what_was_killed_at_any_step(way, tmp_path: Path, forked: Forking) -> None:
    server, settings, given = way
    # The store is of no matter here, and faster in a file.
    settings = {
        **settings,
        "database_url": f"sqlite:///{tmp_path}/tenancy.db",
        "tenant_database_url": server.named("t_{id}"),
    }
    order = {"server": server.url, "settings": settings, "given": given, "before": sorted(server.before)}
    process = forked.run(Path(__file__).with_name("kill_steps.py"), json.dumps(order))
    assert process.returncode == 0, process.stderr
    assert [int(steps) >= 2 for steps in process.stdout.split()] == [True, True]


async def check_nothing_is_left(tenancy: Tenancy, server: Server) -> None:
    with pytest.raises(TenantNotFoundError):
        await tenancy.get_tenant("acme")
    assert (server.left(), server.roles()) == (set(), set())


async def test_a_creation_that_fails_at_any_step_leaves_nothing(tmp_path: Path, way) -> None:
    server, settings, given = way

    def fail() -> None:
        raise RuntimeError("broken")

    async with make_tenancy(tmp_path, **settings) as tenancy:
        for number in range(99):
            with before_step(number, fail):
                try:
                    await tenancy.create_tenant("acme", **given)
                except RuntimeError:
                    await check_nothing_is_left(tenancy, server)
                else:
                    break
        assert number >= 2
        await add_notes(tenancy, "acme", "works")


async def test_a_creation_that_is_cancelled_at_any_step_leaves_nothing(tmp_path: Path, way) -> None:
    server, settings, given = way
    async with make_tenancy(tmp_path, **settings) as tenancy:
        for number in range(99):
            creation = asyncio.create_task(tenancy.create_tenant("acme", **given))
            with before_step(number, creation.cancel):
                try:
                    await creation
                except asyncio.CancelledError:
                    await check_nothing_is_left(tenancy, server)
                else:
                    break
        assert number >= 2
        await add_notes(tenancy, "acme", "works")


async def test_a_deletion_that_fails_at_any_step_is_ended_by_the_same_call(tmp_path: Path, way) -> None:
    server, settings, given = way

    def fail() -> None:
        raise RuntimeError("broken")

    async with make_tenancy(tmp_path, **settings) as tenancy:
        for number in range(99):
            await tenancy.create_tenant("acme", **given)
            with before_step(number, fail):
                try:
                    await tenancy.delete_tenant("acme", drop_data=True)
                except RuntimeError:
                    with pytest.raises(TenantNotFoundError):
                        async with tenancy.use("acme"):
                            pass
                    await tenancy.delete_tenant("acme", drop_data=True)
                    await check_nothing_is_left(tenancy, server)
                else:
                    break
        assert number >= 1
