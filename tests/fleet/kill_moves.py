"""Kill a process at each step of a move, and go on with it, or undo it, in another one.

Run as a program, with a folder. It forks for each step, which is much faster than starting Python anew.
"""

import asyncio
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from shutil import copytree
from typing import Any

from multitenant.kill_steps import die, in_child
from support import add_notes, make_tenancy, read_notes

from fastapi_tenancy import SQLAlchemyTenantStore, Tenancy
from fastapi_tenancy.fleet.moving.copying import Copying
from fastapi_tenancy.fleet.rows import insert_writer

TEXTS = [f"note {number}" for number in range(7)]


def dying(owner: type, name: str, *, after: bool = False, at: int = 0) -> None:
    """Die before a method's call number `at`, or after its work."""
    real: Callable[..., Any] = getattr(owner, name)
    calls = iter(range(99))

    def die_or(*args: Any, **options: Any) -> Any:
        if next(calls) == at and not after:
            die()
        result = real(*args, **options)
        return _then_die(result) if after else result

    setattr(owner, name, die_or)


def _then_die(result: Any) -> Any:
    async def awaited() -> None:
        await result
        die()

    return awaited() if asyncio.iscoroutine(result) else die()


STEPS: dict[str, Callable[[], None]] = {
    "it is recorded": lambda: dying(SQLAlchemyTenantStore, "begin_move", after=True),
    "the target is there": lambda: dying(Copying, "check"),
    "the fence is there": lambda: dying(Copying, "fence", after=True),
    "some rows are copied": lambda: dying(insert_writer, "insert", at=2),
    "they are compared": lambda: dying(SQLAlchemyTenantStore, "flip_move"),
    "it is flipped": lambda: dying(SQLAlchemyTenantStore, "flip_move", after=True),
}

# Who cleans up after a move that is undone may be killed, too.
UNDOING: dict[str, Callable[[], None]] = {
    "nothing is undone": lambda: dying(Copying, "unfence"),
    "the fence is gone": lambda: dying(Copying, "unfence", after=True),
    "the target is gone": lambda: dying(SQLAlchemyTenantStore, "end_move"),
}


def opened(folder: Path, later: int = 0) -> Any:
    moment = datetime.now(UTC) + timedelta(seconds=later)
    return make_tenancy(folder, manager_type="shared-profile", now=lambda: moment)


async def made(folder: Path) -> None:
    async with opened(folder) as tenancy:
        await tenancy.create_tenant("globex")
        await add_notes(tenancy, "globex", "theirs")
        await tenancy.create_tenant("acme")
        await add_notes(tenancy, "acme", *TEXTS)


async def moved_until_killed(folder: Path, to: str, step: Callable[[], None]) -> None:
    insert_writer.BATCH = 2  # type: ignore[misc] # so that a table is not copied at once
    step()
    async with opened(folder) as tenancy:
        await tenancy.move_tenant("acme", to=to)


async def undone_until_killed(folder: Path, step: Callable[[], None]) -> None:
    step()
    async with opened(folder, 20) as tenancy:
        await tenancy.abort_move("acme")


async def is_served(tenancy: Tenancy) -> None:
    assert await read_notes(tenancy, "acme") == TEXTS
    await add_notes(tenancy, "globex", "theirs")
    assert set(await read_notes(tenancy, "globex")) == {"theirs"}


async def goes_on(folder: Path, to: str) -> None:
    async with opened(folder, 40) as tenancy:
        await is_served(tenancy)
        moved = await tenancy.move_tenant("acme", to=to)
        assert moved.rows == len(TEXTS)
        assert moved.tenant.manager_type == to
        await is_served(tenancy)
        await add_notes(tenancy, "acme", "written there")
        assert await read_notes(tenancy, "acme") == [*TEXTS, "written there"]
        await tenancy.confirm_move("acme", at_once=True)


async def is_undone(folder: Path) -> None:
    async with opened(folder, 40) as tenancy:
        await is_served(tenancy)
        await tenancy.abort_move("acme")
        await is_served(tenancy)
        await add_notes(tenancy, "acme", "written here")
        assert list((folder / "tenants").glob("*")) == []


def main() -> None:
    start = Path(sys.argv[1]) / "start"
    start.mkdir()
    assert in_child(made(start)) == 0
    for number, (name, step) in enumerate(STEPS.items()):
        folder = Path(copytree(start, start.with_name(str(number))))
        assert in_child(moved_until_killed(folder, "basic", step)), name
        assert in_child(goes_on(folder, "basic")) == 0, name
        sys.stdout.write(f"{name}\n")
    for number, (name, step) in enumerate(UNDOING.items()):
        folder = Path(copytree(start, start.with_name(f"undoing {number}")))
        assert in_child(moved_until_killed(folder, "basic", STEPS["some rows are copied"])), name
        assert in_child(undone_until_killed(folder, step)), name
        assert in_child(is_undone(folder)) == 0, name
        sys.stdout.write(f"{name}\n")


if __name__ == "__main__":
    main()
