"""Kill a process at each step of making, giving and dropping pending tenants, and look what the next one makes of it.

Run as a program, with a folder as its argument. It forks for each step, which is much faster than starting Python anew.
"""

import os
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from multitenant.kill_steps import die, in_child
from support import Folder, add_notes, make_tenancy

from fastapi_tenancy import Tenancy
from fastapi_tenancy.multitenant.databases.sqlite_file import SQLiteFiles
from fastapi_tenancy.store import SQLAlchemyTenantStore


def dies_before(owner: Any, name: str) -> Callable[[], None]:
    return lambda: setattr(owner, name, lambda *_, **__: die())


MAKING = {
    "nothing is recorded": dies_before(SQLAlchemyTenantStore, "add_pending"),
    "recorded": dies_before(SQLiteFiles, "create"),
    "half built": dies_before(os, "fsync"),
    "built": dies_before(Path, "rename"),
    "in place": dies_before(SQLAlchemyTenantStore, "change_pending"),
}
GIVING = {
    "not claimed": dies_before(SQLAlchemyTenantStore, "claim_pending"),
    "claimed": dies_before(SQLiteFiles, "open"),
    "seeded": dies_before(SQLAlchemyTenantStore, "save"),
}
DROPPING = {
    "taken": dies_before(SQLiteFiles, "drop"),
    "dropped": dies_before(SQLAlchemyTenantStore, "remove_pending"),
}


def opened(folder: Path, *, later: int = 0, **given: Any) -> Tenancy:
    tenancy = make_tenancy(folder, now=lambda: datetime.now(UTC) + timedelta(seconds=later), **given)

    @tenancy.seed
    async def inbox(session: Any, _tenant: Any) -> None:
        session.add(Folder(title="Inbox"))

    return tenancy


async def until_killed(folder: Path, arrange: Callable[[], None], action: str) -> None:
    async with opened(folder, later=11 if action == "drop" else 0) as tenancy:
        if action == "give":
            await tenancy.fill_pending(1)
        arrange()
        if action == "give":
            await tenancy.create_tenant("acme")
        else:
            await tenancy.fill_pending(1)


async def recovered(folder: Path) -> None:
    """The same call works, and afterwards there is no file but those of tenants and of pending ones."""
    async with opened(folder, later=30) as tenancy:
        await tenancy.create_tenant("acme")
        await add_notes(tenancy, "acme", "works")
        await tenancy.fill_pending(2)
        pending = {each.id for each in await tenancy.store.list_pending()}
        acme = await tenancy.get_tenant("acme")
    kept = {file.name for file in (folder / "tenants").iterdir()}
    assert {name.partition(".")[0] for name in kept} == {acme.id, *pending}, (kept, pending)
    assert len(pending) == 2
    assert not any("provisioning" in name for name in kept), kept


async def made_by_other_settings(folder: Path) -> None:
    async with make_tenancy(folder, metadata=Folder.__table__.to_metadata(type(Folder.metadata)()).metadata) as tenancy:
        await tenancy.fill_pending(1)


def main() -> None:
    for action, steps in (("make", MAKING), ("give", GIVING), ("drop", DROPPING)):
        for number, arrange in enumerate(steps.values()):
            folder = Path(sys.argv[1], f"{action}{number}")
            folder.mkdir()
            if action == "drop":
                assert in_child(made_by_other_settings(folder)) == 0
            assert in_child(until_killed(folder, arrange, action)), (action, number)
            assert in_child(recovered(folder)) == 0, (action, number)


if __name__ == "__main__":
    main()
