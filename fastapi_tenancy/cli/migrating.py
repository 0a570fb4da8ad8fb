"""The commands that migrate the tenants' tables, and tell where these stand."""

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from ..fleet.migrating.report import MigrationProgress
from ..migrations import write_folder
from .arguments import Keys
from .call import Call, command, group
from .printing import FailureError
from .values import given_keys

migrations = group("migrations", "Keep the migrations of the tenants' tables.")
migrating = typer.Typer()


@command(migrations, "init", "migrations init migrations --app main:tenancy")
def init(
    call: Call,
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="Made, and has to be empty.", show_default=False)],
) -> None:
    """Write an Alembic folder ready for tenants, for TenancySettings.migrations to name."""
    # The application is not loaded: where its settings name the folder already, it could not be.
    write_folder(folder, str(call.where))
    call.answer(
        {"folder": str(folder)},
        f"wrote {folder}; set TENANCY_MIGRATIONS={folder}, and write the first revision with:",
        f'alembic -c {folder}/alembic.ini revision --autogenerate -m "first tables"',
    )


@command(
    migrating,
    "migrate",
    "migrate",
    "migrate --canary 5 --max-failures 3 --workers 4",
    "migrate --tenant acme --tenant globex --to 4f2a --json",
)
async def migrate(
    call: Call,
    to: Annotated[str, typer.Option("--to", metavar="REV", help="The revision; none is downgraded to it.")] = "head",
    tenants: Annotated[
        list[str] | None, typer.Option("--tenant", metavar="ID", help="Only this one. Can be repeated.")
    ] = None,
    workers: Annotated[int, typer.Option(metavar="N", min=1, help="Processes that migrate at once.")] = 2,
    canary: Annotated[int, typer.Option(metavar="N", min=0, help="Go on only if the first N have succeeded.")] = 0,
    max_failures: Annotated[
        int | None, typer.Option("--max-failures", metavar="N", min=1, help="Stop when N have failed.")
    ] = None,
    seconds: Annotated[
        float, typer.Option("--timeout", metavar="SECONDS", min=0.1, help="How long a tenant may take.")
    ] = 600.0,
    keys: Keys = None,
    stamp: Annotated[
        bool, typer.Option("--stamp", help="Only note that the tables are there already.", show_default=False)
    ] = False,
) -> None:
    """Migrate the tenants that are behind the code, in processes of their own; run it again to go on.

    It exits with 1 where a tenant failed.
    """
    with call.progress("migrating") as step:

        def told(progress: MigrationProgress) -> None:
            line = f"{progress.tenant}: {progress.error or f'migrated in {progress.seconds:.1f} s'}"
            step(progress.done, progress.total, line, failed=progress.error is not None)

        report = await call.tenancy.migrate(
            to,
            tenants=tenants,
            workers=workers,
            canary=canary,
            max_failures=max_failures,
            timeout=seconds,
            stamp=stamp,
            keys=given_keys(keys or ()),
            on_progress=told,
        )
    counts = f"migrated: {len(report.migrated)}, failed: {len(report.failed)}, skipped: {len(report.skipped)}"
    call.answer(asdict(report), counts)
    if report.failed:
        raise FailureError(
            f"{len(report.failed)} failed: {', '.join(each.tenant for each in report.failed)}; "
            "mend them and run the same command again"
        )


@command(migrating, "status", "status", "status --json")
async def status(call: Call) -> None:
    """Tell which tenants are behind the code, and which failed when they were last migrated."""
    found = await call.tenancy.migration_status()
    call.answer(
        asdict(found),
        f"head: {found.head or 'no revision yet'}",
        f"current: {found.current}",
        f"behind: {len(found.behind)} {', '.join(found.behind)}".rstrip(),
        f"failed: {len(found.failed)} {', '.join(found.failed)}".rstrip(),
    )
