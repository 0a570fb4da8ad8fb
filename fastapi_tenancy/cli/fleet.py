"""The commands that keep tenants ready, and take one elsewhere: into a file, out of one, to another place."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from ..fleet import MoveProgress
from ..multitenant import MultitenantManagerProvider
from .arguments import DatabaseURL, Encrypted, Identifier, Key, Manager, Unmanaged
from .call import Call, command, group
from .tenants import check_manager, shown

pool = group("pool", "Keep tenants ready before anybody asks for them.")
fleet = typer.Typer()


class Isolation(StrEnum):
    """How shared-profile keeps tenants apart."""

    SCHEMA = "schema"
    ROW = "row"
    RLS = "rls"


@command(pool, "fill", "pool fill 20", "pool fill 20 --json")
async def fill_pool(
    call: Call,
    number: Annotated[int, typer.Argument(metavar="N", min=0, help="How many are to be ready.", show_default=False)],
) -> None:
    """Make tenants ahead until N are ready, for those who sign up next."""
    with call.progress("making tenants") as step:
        made = await call.tenancy.fill_pending(number, on_progress=lambda made, _: step(made, number, "made"))
    ready = await call.tenancy.pending_tenants()
    call.answer({"made": made, "ready": ready}, f"made: {made}, ready: {ready}")


@command(fleet, "export", "export acme acme.archive", "export acme acme.archive --secrets --json")
async def export_tenant(
    call: Call,
    identifier: Identifier,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="Replaced if it is there.", show_default=False)],
    secrets: Annotated[
        bool, typer.Option("--secrets", help="Also its secret settings and its database URL.", show_default=False)
    ] = False,
    key: Key = None,
) -> None:
    """Write a tenant's rows and its record into a file. It is not encrypted."""
    done = await call.tenancy.export_tenant(identifier, file, key=key, secrets=secrets)
    value = {
        "tenant": identifier,
        "file": str(done.file),
        "rows": done.rows,
        "tables": dict(done.tables),
        "revision": done.revision,
        "bytes": done.bytes,
    }
    call.answer(value, f"exported {identifier}: {done.rows} rows, {done.bytes} bytes in {done.file}")


@command(fleet, "import", "import acme.archive", "import acme.archive --as acme-copy --manager shared-profile")
async def import_tenant(
    call: Call,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="What export has written.", show_default=False)],
    identifier: Annotated[
        str | None, typer.Option("--as", metavar="ID", help="Its identifier; the archived one by default.")
    ] = None,
    manager: Manager = None,
    database_url: DatabaseURL = None,
    encrypted: Encrypted = None,
    unmanaged: Unmanaged = False,
    key: Key = None,
) -> None:
    """Create a tenant with the rows of an archive."""
    check_manager(call.tenancy, manager)
    tenant = await call.tenancy.import_tenant(
        file,
        identifier=identifier,
        manager_type=manager,
        database_url=database_url,
        key_management_mode="unmanaged" if unmanaged else "managed",
        key=key,
        encrypted=encrypted,
    )
    call.answer(shown(call, tenant), f"imported {tenant.identifier}")


@command(
    fleet,
    "move",
    "move acme --to shared-profile --isolation schema",
    "move acme --to basic --database-url postgresql://app@db2/acme",
    "move acme --confirm",
)
async def move_tenant(
    call: Call,
    identifier: Identifier,
    to: Annotated[
        str | None,
        typer.Option(metavar="|".join(MultitenantManagerProvider.MANAGER_TYPES), help="What keeps it from now on."),
    ] = None,
    isolation: Annotated[Isolation | None, typer.Option(help="With shared-profile.")] = None,
    database_url: DatabaseURL = None,
    confirm: Annotated[
        bool, typer.Option("--confirm", help="Drop what it has left where it was.", show_default=False)
    ] = False,
    at_once: Annotated[
        bool, typer.Option("--at-once", help="Confirm also within cache_ttl of the move.", show_default=False)
    ] = False,
    abort: Annotated[bool, typer.Option("--abort", help="Undo a move that was cut short.", show_default=False)] = False,
) -> None:
    """Take a tenant elsewhere with all its rows; where this was killed, the same command goes on.

    The tenant is served all the time, and can only be read while its rows are copied. What it leaves is kept until
    --confirm.
    """
    if (to is not None) + confirm + abort != 1:
        raise typer.BadParameter("give one of --to, --confirm and --abort")
    if to is not None:
        await _move(call, identifier, to, isolation, database_url)
    elif confirm:
        await call.tenancy.confirm_move(identifier, at_once=at_once)
        call.answer({"tenant": identifier, "confirmed": True}, f"dropped what {identifier} had left")
    else:
        await call.tenancy.abort_move(identifier)
        call.answer({"tenant": identifier, "aborted": True}, f"aborted the move of {identifier}")


async def _move(call: Call, identifier: str, to: str, isolation: Isolation | None, database_url: str | None) -> None:
    if to not in MultitenantManagerProvider.MANAGER_TYPES:
        raise typer.BadParameter(
            f"use one of {', '.join(MultitenantManagerProvider.MANAGER_TYPES)}", param_hint=f"--to {to}"
        )
    with call.progress(f"moving {identifier}") as step:

        def told(progress: MoveProgress) -> None:
            step(progress.done, progress.total, f"{progress.step} {progress.table}")

        moved = await call.tenancy.move_tenant(
            identifier, to=to, isolation=isolation, database_url=database_url, on_progress=told
        )
    value = {
        "tenant": identifier,
        "rows": moved.rows,
        "tables": dict(moved.tables),
        "read_only_seconds": moved.read_only_seconds,
        "source": moved.source,
    }
    call.answer(
        value,
        f"moved {identifier}: {moved.rows} rows, read-only for {moved.read_only_seconds:.2f} s",
        f"what it has left is kept; drop it with: fastapi-tenancy move {identifier} --confirm",
    )
