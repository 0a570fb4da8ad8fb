"""What fails, is cancelled or dies half-way leaves nothing, or a record that the same call resumes."""

import asyncio
import signal
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from textwrap import dedent

import pytest
from forking import Forking
from sqlalchemy import create_engine, text
from support import Base, add_notes, client_of, make_app, make_tenancy, named, read_notes, running

from fastapi_tenancy import (
    NamespaceExistsError,
    NamespaceMissingError,
    Tenancy,
    TenantConflictError,
    TenantExistsError,
    TenantNotFoundError,
    TenantStatus,
    TenantUnavailableError,
    lifecycle,
)
from fastapi_tenancy.multitenant import BaseMultitenantManager


def manager_of(tenancy: Tenancy) -> BaseMultitenantManager:
    return tenancy.provider.provide({})


def held_up(manager: BaseMultitenantManager, monkeypatch: pytest.MonkeyPatch) -> tuple[asyncio.Event, asyncio.Event]:
    """Have creations wait: the first event tells that one began, the second lets it go on."""
    real, reached, go_on = manager.create_tenant, asyncio.Event(), asyncio.Event()

    async def slow(tenant):
        reached.set()
        await go_on.wait()
        await real(tenant)

    monkeypatch.setattr(manager, "create_tenant", slow)
    return reached, go_on


def files(folder: Path) -> list[str]:
    return sorted(file.name for file in folder.glob("tenants/*"))


async def test_a_failed_creation_leaves_nothing(
    tenancy: Tenancy, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    before = files(tmp_path)
    manager = manager_of(tenancy)
    real = manager.create_tenant

    async def fails_at_the_end(tenant):
        await real(tenant)
        raise RuntimeError("disk full")

    monkeypatch.setattr(manager, "create_tenant", fails_at_the_end)
    with pytest.raises(RuntimeError, match="disk full"):
        await tenancy.create_tenant("new")
    monkeypatch.undo()
    with pytest.raises(TenantNotFoundError):
        await tenancy.get_tenant("new")
    assert files(tmp_path) == before
    assert (await tenancy.create_tenant("new")).status is TenantStatus.ACTIVE


async def test_a_cancelled_creation_leaves_nothing(
    tenancy: Tenancy, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    before = files(tmp_path)
    manager = manager_of(tenancy)
    real, reached = manager.create_tenant, asyncio.Event()

    async def hangs_at_the_end(tenant):
        await real(tenant)
        reached.set()
        await asyncio.Event().wait()

    monkeypatch.setattr(manager, "create_tenant", hangs_at_the_end)
    creation = asyncio.create_task(tenancy.create_tenant("new"))
    await reached.wait()
    creation.cancel()
    with pytest.raises(asyncio.CancelledError):
        await creation
    monkeypatch.undo()
    assert files(tmp_path) == before
    assert (await tenancy.create_tenant("new")).status is TenantStatus.ACTIVE


async def test_a_tenant_that_is_being_created_is_not_served(tenancy: Tenancy, monkeypatch: pytest.MonkeyPatch) -> None:
    reached, go_on = held_up(manager_of(tenancy), monkeypatch)
    creation = asyncio.create_task(tenancy.create_tenant("new"))
    await reached.wait()
    with pytest.raises(TenantConflictError, match="is provisioning"):
        await tenancy.update_tenant("new", name="too early")
    async with client_of(make_app(tenancy)) as client:
        early = await client.get("/whoami", headers=named("new"))
        go_on.set()
        await creation
        late = await client.get("/whoami", headers=named("new"))
    assert (early.status_code, early.headers["retry-after"], late.status_code) == (503, "2", 200)


async def test_a_creation_that_takes_long_shows_that_it_is_alive_and_is_not_taken_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lifecycle, "_HEARTBEAT", 0.01)
    moment = datetime.now(UTC)
    async with make_tenancy(tmp_path, now=lambda: moment) as tenancy:
        reached, go_on = held_up(manager_of(tenancy), monkeypatch)
        first = asyncio.create_task(tenancy.create_tenant("new"))
        await reached.wait()
        for _ in range(3):
            moment += timedelta(seconds=60)
            while (await tenancy.get_tenant("new")).updated_at != moment:
                await asyncio.sleep(0.005)
        second = asyncio.create_task(tenancy.create_tenant("new"))
        await asyncio.wait({second}, timeout=0.1)
        assert not second.done()
        go_on.set()
        created = await first
        with pytest.raises(TenantExistsError):
            await second
        assert (await tenancy.get_tenant("new")) == created


KILLED = """
    import asyncio, os, signal, sys
    from pathlib import Path
    from support import make_tenancy
    from fastapi_tenancy.multitenant.databases.sqlite_file import SQLiteFiles

    step, folder = sys.argv[1], Path(sys.argv[2])

    def die(*_):
        os.kill(os.getpid(), signal.SIGKILL)

    async def die_later(*_, **__):
        die()

    async def main():
        async with make_tenancy(folder) as tenancy:
            if step.startswith("delete"):
                await tenancy.create_tenant("acme")
            if step == "create: recorded":
                SQLiteFiles.create = die_later
            elif step == "create: half built":
                os.fsync = die
            elif step == "create: built":
                Path.rename = die
            elif step == "create: in place":
                tenancy.directory.change = die_later
            elif step == "delete: marked":
                SQLiteFiles.drop = die_later
            elif step == "delete: dropped":
                tenancy.directory.remove = die_later
            if step.startswith("create"):
                await tenancy.create_tenant("acme")
            else:
                await tenancy.delete_tenant("acme", drop_data=True)

    asyncio.run(main())
"""


@pytest.fixture
def killed_at(tmp_path: Path, forked: Forking) -> Callable[[str], None]:
    """Kill a process at a step of its work in the folder."""

    def killed_at(step: str) -> None:
        process = forked.run(dedent(KILLED), step, str(tmp_path))
        assert process.returncode == -signal.SIGKILL, process.stderr

    return killed_at


@pytest.mark.parametrize("step", ["create: recorded", "create: half built", "create: built", "create: in place"])
async def test_a_killed_creation_is_not_served_and_the_same_call_ends_it(tmp_path: Path, killed_at, step: str) -> None:
    killed_at(step)
    later = datetime.now(UTC) + timedelta(seconds=11)
    tenancy = make_tenancy(tmp_path, now=lambda: later)
    async with running(make_app(tenancy)) as client:
        assert (await client.get("/whoami", headers=named("acme"))).status_code == 503
        created = await tenancy.create_tenant("acme")
        assert (await client.get("/whoami", headers=named("acme"))).status_code == 200
        await add_notes(tenancy, "acme", "works")
    assert {name.partition("-")[0] for name in files(tmp_path)} == {f"{created.id}.db"}


@pytest.mark.parametrize("step", ["delete: marked", "delete: dropped"])
async def test_a_killed_deletion_is_not_served_and_the_same_call_ends_it(tmp_path: Path, killed_at, step: str) -> None:
    killed_at(step)
    tenancy = make_tenancy(tmp_path)
    async with running(make_app(tenancy)) as client:
        assert (await client.get("/whoami", headers=named("acme"))).status_code == 404
        await tenancy.delete_tenant("acme", drop_data=True)
        assert files(tmp_path) == []
        await tenancy.create_tenant("acme")
        assert await read_notes(tenancy, "acme") == []


async def test_a_deletion_can_be_called_off_before_data_is_lost(tmp_path: Path, killed_at) -> None:
    killed_at("delete: marked")
    async with make_tenancy(tmp_path) as tenancy:
        await tenancy.delete_tenant("acme")
        assert len(files(tmp_path)) >= 1
        assert len(await tenancy.retained_namespaces()) == 1


async def test_a_file_that_is_there_already_is_neither_used_nor_touched(tmp_path: Path) -> None:
    engine = create_engine(f"sqlite:///{tmp_path}/theirs.db")
    with engine.begin() as connection:
        connection.execute(text("CREATE TABLE notes (secret TEXT)"))
    engine.dispose()
    before = (tmp_path / "theirs.db").read_bytes()
    async with make_tenancy(tmp_path) as tenancy:
        with pytest.raises(NamespaceExistsError, match="move it away"):
            await tenancy.create_tenant("acme", database_url=f"sqlite:///{tmp_path}/theirs.db")
        with pytest.raises(TenantNotFoundError):
            await tenancy.get_tenant("acme")
    assert (tmp_path / "theirs.db").read_bytes() == before


async def test_a_database_url_belongs_to_one_tenant_however_it_is_spelt(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path)
    async with make_tenancy(tmp_path) as tenancy:
        await tenancy.create_tenant("acme", database_url=f"sqlite:///{tmp_path}/own.db")
        for spelling in (f"sqlite+aiosqlite:///{tmp_path}/./own.db", f"sqlite:///{tmp_path}/link/own.db"):
            with pytest.raises(NamespaceExistsError):
                await tenancy.create_tenant("globex", database_url=spelling)


async def test_a_missing_file_is_an_error_and_not_an_empty_tenant(tmp_path: Path) -> None:
    async with make_tenancy(tmp_path) as tenancy:
        acme = await tenancy.create_tenant("acme")
        (tmp_path / "tenants" / f"{acme.id}.db").unlink()
        with pytest.raises(NamespaceMissingError, match="restore"):
            await read_notes(tenancy, "acme")
    assert files(tmp_path) == []


async def test_a_file_put_in_anothers_place_is_not_served(tmp_path: Path) -> None:
    async with make_tenancy(tmp_path) as tenancy:
        acme, globex = [await tenancy.create_tenant(name) for name in ("acme", "globex")]
        await add_notes(tenancy, "globex", "secret")
    folder = tmp_path / "tenants"
    (folder / f"{globex.id}.db").rename(folder / f"{acme.id}.db")
    async with make_tenancy(tmp_path) as tenancy:
        with pytest.raises(NamespaceMissingError, match="belongs to"):
            await read_notes(tenancy, "acme")


async def test_a_data_folder_can_be_moved_as_a_whole(tmp_path: Path) -> None:
    (tmp_path / "old").mkdir()
    async with make_tenancy(tmp_path / "old", metadata=Base.metadata) as tenancy:
        await tenancy.create_tenant("acme")
        await add_notes(tenancy, "acme", "kept")
    (tmp_path / "old").rename(tmp_path / "new")
    async with make_tenancy(tmp_path / "new") as tenancy:
        assert await read_notes(tenancy, "acme") == ["kept"]


async def test_nothing_is_opened_after_the_end(tmp_path: Path) -> None:
    tenancy = make_tenancy(tmp_path)
    async with tenancy:
        acme = await tenancy.create_tenant("acme")
    with pytest.raises(TenantUnavailableError, match="closed"):
        tenancy.lease(acme)
