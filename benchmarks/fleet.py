"""What it takes to look at a fleet with nothing to do, and to end a migration that was killed.

    python benchmarks/fleet.py [--quick]

1,000 SQLite files beside plain Alembic (`alembic.command.upgrade` for one after the other) in the same run; 200 schemas
of PostgreSQL, with the queries counted; and 200 tenants behind, of which ten are bad and two are suspended, with a
runner that is killed by SIGKILL. PostgreSQL is the server that TENANCY_TEST_POSTGRES_URL names, else one that is
started here and never flushes to disk.
"""

import argparse
import asyncio
import importlib
import os
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, closing, contextmanager, redirect_stderr, redirect_stdout
from io import StringIO
from pathlib import Path
from shutil import copytree
from typing import Any

from alembic import command
from alembic.config import Config
from sides import database, postgresql
from sqlalchemy import Engine, event

from fastapi_tenancy import Tenancy
from fastapi_tenancy.migrations import write_folder

APPLICATION = """
from sqlalchemy import MetaData
from fastapi_tenancy import HeaderResolver, Tenancy, TenancySettings

settings = TenancySettings(migrations="migrations", **{settings!r})
tenancy = Tenancy(settings, resolvers=[HeaderResolver()], metadata=MetaData())
"""

REVISION = """
import sqlalchemy as sa
from alembic import op

revision, down_revision = {revision!r}, {after!r}


def upgrade():
    {upgrade}
"""

TABLE = 'op.create_table("{}", sa.Column("id", sa.Integer, primary_key=True))'
TABLES = "\n    ".join(TABLE.format(f"table{number}") for number in range(10))
MORE = "\n    ".join(TABLE.format(name) for name in ("more", "tags"))

KILLED = """
import asyncio, os, signal
from {module} import tenancy

def kill(progress):
    if progress.done == progress.total // 2:
        os.kill(os.getpid(), signal.SIGKILL)

async def main():
    async with tenancy:
        await tenancy.migrate(on_progress=kill)

asyncio.run(main())
"""


@asynccontextmanager
async def fleet(folder: Path, module: str, tenants: int, **settings: Any) -> AsyncIterator[Tenancy]:
    """An application in `folder`, with as many tenants at its first revision."""
    os.chdir(folder)
    sys.path.insert(0, str(folder))
    write_folder("migrations", f"{module}:tenancy")
    revise(folder, "aa01", None, TABLES)
    (folder / f"{module}.py").write_text(APPLICATION.format(settings=settings))
    importlib.invalidate_caches()
    async with importlib.import_module(module).tenancy as tenancy:
        for number in range(tenants):
            await tenancy.create_tenant(f"t{number}")
        yield tenancy
    sys.path.remove(str(folder))


def revise(folder: Path, revision: str, after: str | None, upgrade: str) -> None:
    text = REVISION.format(revision=revision, after=after, upgrade=upgrade)
    (folder / "migrations" / "versions" / f"{revision}.py").write_text(text)


async def best(work: Callable[[], Awaitable[Any]], rounds: int = 3) -> float:
    """Seconds of the quickest of several rounds."""
    took = []
    for _ in range(rounds):
        started = time.perf_counter()
        await work()
        took.append(time.perf_counter() - started)
    return min(took)


def plain_alembic(folder: Path, files: list[Path]) -> float:
    """Seconds for each file, which is at the head already, with a folder as `alembic init` writes it."""
    ini = folder / "alembic.ini"
    with redirect_stdout(StringIO()), redirect_stderr(StringIO()):
        command.init(Config(ini), str(folder / "plain"))
        copytree(folder / "migrations" / "versions", folder / "plain" / "versions", dirs_exist_ok=True)
        started = time.perf_counter()
        for file in files:
            config = Config(ini)
            config.set_main_option("sqlalchemy.url", f"sqlite:///{file}")
            command.upgrade(config, "head")
        return (time.perf_counter() - started) / len(files)


async def files_with_nothing_to_do(folder: Path, tenants: int, looped: int) -> None:
    async with fleet(folder, "of_files", tenants, database_url="sqlite:///data/tenancy.db") as tenancy:
        ours = await best(tenancy.migrate)
        status = await tenancy.migration_status()
        print(f"{status.current:,} SQLite files, nothing to do: {ours:.2f} s, {ours / tenants * 1e3:.2f} ms each")
        theirs = plain_alembic(folder, sorted((folder / "data" / "tenants").glob("*.db"))[:looped])
        print(f"  alembic.command.upgrade over {looped} of them: {theirs * 1e3:.1f} ms each")
        print(f"  ratio: {theirs / (ours / tenants):.0f}")


@contextmanager
def counted(word: str) -> Any:
    """The statements that are sent meanwhile and hold `word`."""
    sent: list[str] = []

    def note(_connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        if word in statement:
            sent.append(statement)

    event.listen(Engine, "before_cursor_execute", note)
    yield sent
    event.remove(Engine, "before_cursor_execute", note)


async def schemas_with_nothing_to_do(folder: Path, server: str, tenants: int) -> None:
    shared = {"manager_type": "shared-profile", "shared_isolation": "schema"}
    with database(server) as url:
        async with fleet(folder, "of_schemas", tenants, database_url=url, **shared) as tenancy:
            ours = await best(tenancy.migrate)
            with counted("alembic_version") as sent:
                await tenancy.migrate()
            print(f"{tenants} PostgreSQL schemas, nothing to do: {ours * 1e3:.0f} ms, {len(sent)} query of revisions")


async def killed_in_the_middle(folder: Path, tenants: int, bad: int) -> None:
    async with fleet(folder, "of_bad_ones", tenants, database_url="sqlite:///data/tenancy.db") as tenancy:
        spoilt = {f"t{number * tenants // bad}" for number in range(bad)}
        for identifier in spoilt:
            tenant = await tenancy.get_tenant(identifier)
            with closing(sqlite3.connect(folder / "data" / "tenants" / f"{tenant.id}.db")) as connection:
                connection.execute("CREATE TABLE tags (mine INTEGER)")
        revise(folder, "bb02", "aa01", MORE)
        environment = {**os.environ, "PYTHONPATH": str(folder)}
        runner = [sys.executable, "-c", KILLED.format(module="of_bad_ones")]
        killed = subprocess.Popen(runner, env=environment)  # noqa: ASYNC220 - nothing else runs here
        while killed.poll() is None and len(await tenancy.store.last_migrations()) < tenants // 10:  # noqa: ASYNC110 - it is another process
            await asyncio.sleep(0.05)
        for identifier in ("t1", "t2"):
            await tenancy.suspend_tenant(identifier)
        status = await asyncio.to_thread(killed.wait)
        left = len((await tenancy.migration_status()).behind)
        started = time.perf_counter()
        report = await tenancy.migrate()
        took = time.perf_counter() - started
        after = await tenancy.migration_status()
        print(
            f"{tenants} SQLite files behind, {bad} bad, 2 suspended: a runner was killed ({status}), {left} were left"
        )
        print(f"  the next run took {took:.1f} s: {len(report.migrated)} migrated, {len(report.failed)} failed")
        print(f"  all of the bad ones, and only they, failed: {({each.tenant for each in report.failed}) == spoilt}")
        print(f"  current: {after.current}, behind: {len(after.behind)}, half done: {await half_done(folder)}")


async def half_done(folder: Path) -> int:
    """The files in which the revision is not what the tables are."""
    found = 0
    for file in (folder / "data" / "tenants").glob("*.db"):
        with closing(sqlite3.connect(file)) as connection:
            names = {name for (name,) in connection.execute("SELECT name FROM sqlite_master")}
            ((revision,),) = connection.execute("SELECT version_num FROM alembic_version")
            found += ("more" in names) != (revision == "bb02")
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="a tenth of the tenants")
    part = 10 if parser.parse_args().quick else 1
    with tempfile.TemporaryDirectory() as one, tempfile.TemporaryDirectory() as two, postgresql() as server:
        asyncio.run(files_with_nothing_to_do(Path(one), 1000 // part, 100 // part))
        asyncio.run(schemas_with_nothing_to_do(Path(two), server, 200 // part))
    with tempfile.TemporaryDirectory() as three:
        asyncio.run(killed_in_the_middle(Path(three), 200 // part, 10 // part))
        os.chdir("/")


if __name__ == "__main__":
    main()
