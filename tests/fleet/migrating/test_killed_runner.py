"""A runner is killed in the middle, and the next one ends what is left: nobody is missed, and nobody half done."""

import asyncio
import os
import signal
import sys
from pathlib import Path
from typing import Any

from fleet.migrating.conftest import MODULE
from fleet.migrating.standing import execute, recorded, spoil

NUMBER, BAD = 20, (3, 8, 15)
RUNNER = Path(__file__).with_name("kill_runner.py")

# Each has three steps, all of which are there, or none.
THREE = """
op.add_column("notes", sa.Column("done", sa.Boolean))
op.create_table("more", sa.Column("id", sa.Integer, primary_key=True))
op.create_table("tags", sa.Column("id", sa.Integer, primary_key=True))
"""


async def test_the_next_run_ends_what_a_killed_one_began(fleet: Any) -> None:
    names = [f"t{number}" for number in range(NUMBER)]
    bad = {names[number] for number in BAD}
    async with fleet.tenancy() as tenancy:
        for name in names:
            await tenancy.create_tenant(name)
        await spoil(tenancy, *bad)
    fleet.advance(THREE)
    async with fleet.tenancy() as tenancy:
        environment = {**os.environ, "PYTHONPATH": str(Path.cwd())}
        killed = await asyncio.create_subprocess_exec(sys.executable, RUNNER, MODULE, env=environment)
        while killed.returncode is None and not await tenancy.store.last_migrations():
            await asyncio.sleep(0.05)
        for name in names[:2]:
            await tenancy.suspend_tenant(name)
        assert await killed.wait() == -signal.SIGKILL
        report = await tenancy.migrate()
        assert {each.tenant for each in report.failed} == bad
        assert report.skipped == []
        everybody = {*names, "acme", "globex", "initech"}
        assert (await tenancy.migration_status()).behind == sorted(bad)
        for name in everybody:
            tables = {row[0] for row in await execute(tenancy, name, "SELECT name FROM sqlite_master")}
            columns = {row[1] for row in await execute(tenancy, name, "PRAGMA table_info(notes)")}
            assert ("more" in tables, "done" in columns) == ((False, False) if name in bad else (True, True))
            assert (await recorded(tenancy, name)) == (["aa1"] if name in bad else ["bb20"])
