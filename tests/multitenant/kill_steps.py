"""Kill a process at each step of the creation and the deletion of a tenant, and end the work in another one.

Run as a program, with one argument in JSON: the settings, and what the tenant is created with. It forks for each step,
which is much faster than starting Python anew, and prints how many there were of each.
"""

import asyncio
import json
import os
import signal
import sys
from collections.abc import Coroutine
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from multitenant.own_databases import Server, before_step
from support import add_notes, make_tenancy

from fastapi_tenancy import TenancyError, TenantStatus


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def in_child(work: Coroutine[Any, Any, None]) -> int:
    """The signal that ended it, 0 if it went well."""
    child = os.fork()
    if child:
        work.close()
        _, status = os.waitpid(child, 0)
        assert os.WIFSIGNALED(status) or status == 0, status
        return os.WTERMSIG(status) if os.WIFSIGNALED(status) else 0
    status = 1
    try:
        asyncio.run(work)
        status = 0
    finally:
        os._exit(status)


async def until_killed(action: str, number: int, settings: dict[str, Any], given: dict[str, Any]) -> None:
    async with make_tenancy(Path(), **settings) as tenancy:
        if action == "delete":
            await tenancy.create_tenant("acme", **given)
        with before_step(number, die) as steps:
            last = "change" if action == "create" else "remove"
            say_last_word = getattr(tenancy.directory, last)

            async def die_before_it(*args: Any, **kw: Any) -> Any:
                if len(steps) == number:
                    die()
                return await say_last_word(*args, **kw)

            setattr(tenancy.directory, last, die_before_it)
            if action == "create":
                await tenancy.create_tenant("acme", **given)
            else:
                await tenancy.delete_tenant("acme", drop_data=True)


async def resumed(action: str, server: Server, settings: dict[str, Any], given: dict[str, Any]) -> None:
    """The tenant is not served, the same call ends the work, and nothing else is left."""
    later = datetime.now(UTC) + timedelta(seconds=11)
    async with make_tenancy(Path(), **settings, now=lambda: later) as tenancy:
        with pytest.raises(TenancyError):
            async with tenancy.use("acme"):
                pass
        if action == "create":
            acme = await tenancy.create_tenant("acme", **given)
            assert acme.status is TenantStatus.ACTIVE
            await add_notes(tenancy, "acme", "works")
            name = given["database_url"].rpartition("/")[2] if given else f"t_{acme.id}"
            assert server.left() == {name}, server.left()
            assert server.roles() == ({f"t_{acme.id}"} if tenancy.settings.tenant_role else set())
        await tenancy.delete_tenant("acme", drop_data=True)
        assert (server.left(), server.roles()) == (set(), set())


async def created_and_gone(settings: dict[str, Any], given: dict[str, Any]) -> None:
    async with make_tenancy(Path(), **settings) as tenancy:
        await tenancy.create_tenant("acme", **given)
        await add_notes(tenancy, "acme", "works")
    await gone(settings)


async def gone(settings: dict[str, Any]) -> None:
    async with make_tenancy(Path(), **settings) as tenancy:
        for tenant in (await tenancy.list_tenants()).items:
            await tenancy.delete_tenant(tenant.identifier, drop_data=True)


def main() -> None:
    order = json.loads(sys.argv[1])
    settings, given = order["settings"], order["given"]
    server = Server(order["server"], set(order["before"]))
    asyncio.run(created_and_gone(settings, given))  # what it imports and compiles, the children need not
    for action in ("create", "delete"):
        number = 0
        while in_child(until_killed(action, number, settings, given)):
            assert in_child(resumed(action, server, settings, given)) == 0
            number += 1
        asyncio.run(gone(settings))
        sys.stdout.write(f"{number}\n")


if __name__ == "__main__":
    main()
