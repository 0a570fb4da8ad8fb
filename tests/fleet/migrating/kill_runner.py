"""Migrate the fleet of the shop in this folder, and be killed in the middle: `python kill_runner.py MODULE`."""

import asyncio
import importlib
import os
import signal
import sys
from datetime import timedelta

from fastapi_tenancy.fleet import MigrationProgress
from fastapi_tenancy.fleet.migrating import leases


def killed_in_the_middle(progress: MigrationProgress) -> None:
    if progress.done == progress.total // 2:
        os.kill(os.getpid(), signal.SIGKILL)


async def main(module: str) -> None:
    leases.LEASE = timedelta(seconds=1)  # the next run waits for it to end
    tenancy = importlib.import_module(module).tenancy
    async with tenancy:
        await tenancy.migrate(on_progress=killed_in_the_middle)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
