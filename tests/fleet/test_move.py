"""A tenant is taken to another place with all its rows, and served all the time."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from forking import Forking
from prepared_stores import new_store_database
from servers import drop_database, new_database, plain_role, rows_of
from sqlalchemy import Column, Integer, MetaData, String, Table, create_engine, make_url, select, text
from support import Note, add_notes, client_of, make_app, make_tenancy, named, read_notes

from fastapi_tenancy import (
    ConfigurationError,
    FleetStore,
    MoveError,
    MoveProgress,
    Tenancy,
    TenancyEvent,
    Tenant,
    TenantConflictError,
    TenantNotFoundError,
    TenantReadOnlyError,
    TenantUnavailableError,
    VetoedError,
)
from fastapi_tenancy.fleet.moving import moves
from fastapi_tenancy.fleet.moving.copying import Copying

Task = asyncio.Task[Any]

TEXTS = [f"note {number}" for number in range(5)]


@pytest.fixture
async def in_rows(tmp_path: Path) -> AsyncIterator[Tenancy]:
    """Globex and acme in the same tables of a SQLite file, each with five notes."""
    async with make_tenancy(tmp_path, manager_type="shared-profile") as tenancy:
        await two_tenants(tenancy)
        yield tenancy


async def two_tenants(tenancy: Tenancy) -> None:
    for identifier in ("globex", "acme"):
        await tenancy.create_tenant(identifier)
        await add_notes(tenancy, identifier, *TEXTS)


async def go(tenancy: Tenancy, to: str, **given: Any) -> Tenant:
    """Move acme for good."""
    moved = await tenancy.move_tenant("acme", to=to, **given)
    await tenancy.confirm_move("acme", at_once=True)
    return moved.tenant


async def test_it_goes_to_a_file_of_its_own_and_back(in_rows: Tenancy, tmp_path: Path) -> None:
    moved = await in_rows.move_tenant("acme", to="basic")
    assert (moved.rows, moved.tables, moved.source) == (5, {"folders": 0, "notes": 5}, f"row/{moved.tenant.id}")
    assert await read_notes(in_rows, "acme") == TEXTS
    await add_notes(in_rows, "acme", "more")
    await in_rows.confirm_move("acme", at_once=True)
    back = await go(in_rows, "shared-profile")
    assert back.namespace == f"row/{back.id}"
    assert await read_notes(in_rows, "acme") == [*TEXTS, "more"]
    assert await read_notes(in_rows, "globex") == TEXTS
    await add_notes(in_rows, "acme", "again")
    assert list((tmp_path / "tenants").glob("*.db")) == []


# The isolation that it begins and ends with → where it goes.
WAYS = {"row": ("schema", "basic", "row"), "rls": ("basic", "rls")}


@pytest.mark.parametrize("isolation", WAYS)
async def test_on_postgresql_it_goes_to_a_schema_to_a_database_and_back(
    isolation: str, postgresql_url: str, tmp_path: Path
) -> None:
    database = new_store_database(postgresql_url) if isolation == "row" else new_database(postgresql_url)
    url = database if isolation == "row" else plain_role(database, createdb=True)
    settings = {"database_url": url, "manager_type": "shared-profile", "shared_isolation": isolation}
    try:
        async with make_tenancy(tmp_path, **settings) as tenancy:
            await two_tenants(tenancy)
            for number, place in enumerate(WAYS[isolation]):
                given = {"to": "basic"} if place == "basic" else {"to": "shared-profile", "isolation": place}
                acme = await go(tenancy, **given)
                assert str(acme.namespace).startswith(f"{place}/")
                assert await read_notes(tenancy, "acme") == [*TEXTS, *map(str, range(number))]
                await add_notes(tenancy, "acme", str(number))
            assert await read_notes(tenancy, "globex") == TEXTS
    finally:
        drop_database(database)


@asynccontextmanager
async def moving(monkeypatch: pytest.MonkeyPatch, tenancy: Tenancy, before: str, to: str) -> AsyncIterator[Task]:
    """Acme is being moved, and waits before a step until the end of the block."""
    real, reached, go_on = moves._in_a_thread, asyncio.Event(), asyncio.Event()

    async def held(copying: Copying, step: Callable[[], Any]) -> Any:
        if step.__name__ == before:
            reached.set()
            await go_on.wait()
        return await real(copying, step)

    monkeypatch.setattr(moves, "_in_a_thread", held)
    task = asyncio.create_task(tenancy.move_tenant("acme", to=to))
    await reached.wait()
    try:
        yield task
    finally:
        go_on.set()
        await asyncio.wait((task,))


@pytest.mark.parametrize(("begin", "to"), [("shared-profile", "basic"), ("basic", "shared-profile")])
async def test_meanwhile_it_is_read_and_what_would_write_it_gets_a_503(
    begin: str, to: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with make_tenancy(tmp_path, manager_type=begin) as tenancy, client_of(make_app(tenancy)) as client:
        await two_tenants(tenancy)
        async with moving(monkeypatch, tenancy, "copy", to):
            for path in ("/notes", "/sync/notes"):
                read = await client.get(path, headers=named("acme"))
                assert read.json()["notes"] == TEXTS
                refused = await client.post(path, params={"text": "new"}, headers=named("acme"))
                assert (refused.status_code, refused.headers["retry-after"]) == (503, "5")
                others = await client.post(path, params={"text": "theirs"}, headers=named("globex"))
                assert others.status_code == 201
        assert (await client.get("/notes", headers=named("acme"))).json()["notes"] == TEXTS
        assert (await client.post("/notes", params={"text": "new"}, headers=named("acme"))).status_code == 201


async def change_a_note(tenancy: Tenancy, identifier: str, text: str) -> None:
    async with tenancy.use(identifier) as profile, profile.transaction() as session:
        (await session.scalars(select(Note).limit(1))).one().text = text


async def delete_a_note(tenancy: Tenancy, identifier: str, _text: str) -> None:
    async with tenancy.use(identifier) as profile, profile.transaction() as session:
        await session.delete((await session.scalars(select(Note).limit(1))).one())


@pytest.mark.parametrize("place", ["schema", "rls", "mariadb"])
async def test_servers_refuse_to_write_it_too(
    place: str, request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    is_mariadb = place == "mariadb"
    database = new_database(request.getfixturevalue("mysql_url" if is_mariadb else "postgresql_url"))
    url = plain_role(database, createdb=True) if place == "rls" else database
    settings = {"manager_type": "shared-profile", "shared_isolation": "row" if is_mariadb else place}
    own = {"tenant_database_url": f"sqlite:///{tmp_path}/{{id}}.db"}
    try:
        async with make_tenancy(tmp_path, database_url=url, **settings, **own) as tenancy:
            await two_tenants(tenancy)
            async with moving(monkeypatch, tenancy, "copy", "basic"):
                for write in (add_notes, change_a_note, delete_a_note):
                    with pytest.raises(TenantReadOnlyError):
                        await write(tenancy, "acme", "new")
                await add_notes(tenancy, "globex", "theirs")
            assert await read_notes(tenancy, "acme") == TEXTS
            await tenancy.confirm_move("acme", at_once=True)
            assert await read_notes(tenancy, "globex") == [*TEXTS, "theirs"]
    finally:
        drop_database(database)


async def test_a_worker_that_has_not_heard_of_it_reads_what_was_and_writes_nothing(
    in_rows: Tenancy, tmp_path: Path
) -> None:
    async with make_tenancy(tmp_path, manager_type="shared-profile", bus="none") as other:
        await read_notes(other, "acme")
        await in_rows.move_tenant("acme", to="basic")
        assert await read_notes(other, "acme") == TEXTS
        with pytest.raises(TenantReadOnlyError):
            await add_notes(other, "acme", "lost")
        with pytest.raises(TenantUnavailableError, match="cache_ttl"):
            await in_rows.confirm_move("acme")


@pytest.mark.parametrize("step", ["check", "fence", "copy", "verify"])
async def test_a_move_that_fails_leaves_everything_as_it_was(
    in_rows: Tenancy, step: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = getattr(Copying, step)

    def fails(copying: Copying) -> None:
        real(copying)
        raise OSError("disk full")

    monkeypatch.setattr(Copying, step, fails)
    before = await in_rows.get_tenant("acme")
    with pytest.raises(OSError, match="disk full"):
        await in_rows.move_tenant("acme", to="basic")
    monkeypatch.undo()
    assert replace(await in_rows.get_tenant("acme"), work=None, work_until=None) == before
    assert list((tmp_path / "tenants").glob("*")) == []
    await add_notes(in_rows, "acme", "written")
    await in_rows.move_tenant("acme", to="basic")
    assert await read_notes(in_rows, "acme") == [*TEXTS, "written"]


async def test_a_move_that_is_cancelled_is_undone(in_rows: Tenancy, monkeypatch: pytest.MonkeyPatch) -> None:
    async with moving(monkeypatch, in_rows, "verify", "basic") as task:
        task.cancel()
        await asyncio.wait((task,))
    await add_notes(in_rows, "acme", "written")
    with pytest.raises(MoveError, match="not being moved"):
        await in_rows.abort_move("acme")


def test_what_was_killed_at_any_step_goes_on_or_is_undone(tmp_path: Path, forked: Forking) -> None:
    process = forked.run(Path(__file__).with_name("kill_moves.py"), str(tmp_path))
    assert process.returncode == 0, process.stderr
    assert len(process.stdout.splitlines()) == 9


async def test_nobody_else_works_on_it_meanwhile(in_rows: Tenancy, monkeypatch: pytest.MonkeyPatch) -> None:
    async with moving(monkeypatch, in_rows, "copy", "basic"):
        assert (await in_rows.get_tenant("acme")).work == "move"
        with pytest.raises(MoveError, match="abort_move"):
            await in_rows.delete_tenant("acme", drop_data=True)
        renamed = await in_rows.update_tenant("acme", name="Acme Inc")
    moved = await in_rows.get_tenant("acme")
    assert (moved.name, moved.work, moved.version) == ("Acme Inc", None, renamed.version + 1)


async def test_what_it_left_is_kept_until_that_is_confirmed(in_rows: Tenancy) -> None:
    await in_rows.move_tenant("acme", to="basic")
    again = await in_rows.move_tenant("acme", to="basic")
    assert again.rows == 5
    for act in (
        in_rows.move_tenant("acme", to="shared-profile"),
        in_rows.abort_move("acme"),
        in_rows.delete_tenant("acme", drop_data=True),
    ):
        with pytest.raises(MoveError, match="confirm_move"):
            await act
    await in_rows.confirm_move("acme", at_once=True)
    with pytest.raises(MoveError, match="not being moved"):
        await in_rows.confirm_move("acme", at_once=True)
    with pytest.raises(MoveError, match="already"):
        await in_rows.move_tenant("acme", to="basic")
    await in_rows.delete_tenant("acme", drop_data=True)


async def test_keys_that_another_tenant_has_are_refused_before_the_source_is_fenced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with make_tenancy(tmp_path) as tenancy:
        await tenancy.create_tenant("globex", manager_type="shared-profile")
        await tenancy.create_tenant("acme")
        for identifier in ("globex", "acme"):
            await add_notes(tenancy, identifier, *TEXTS)
        monkeypatch.setattr(Copying, "fence", None)
        with pytest.raises(MoveError, match=r"another tenant has rows with the same id in notes"):
            await tenancy.move_tenant("acme", to="shared-profile")
        assert await read_notes(tenancy, "acme") == TEXTS
        assert await read_notes(tenancy, "globex") == TEXTS


async def test_keys_that_row_level_security_hides_are_refused_and_leave_nothing(
    tmp_path: Path, postgresql_url: str
) -> None:
    url = plain_role(new_database(postgresql_url))
    own = {"tenant_database_url": f"sqlite:///{tmp_path}/{{id}}.db"}
    async with make_tenancy(tmp_path, database_url=url, shared_isolation="rls", **own) as tenancy:
        await tenancy.create_tenant("globex", manager_type="shared-profile")
        await tenancy.create_tenant("acme")
        for identifier in ("globex", "acme"):
            await add_notes(tenancy, identifier, *TEXTS)
        with pytest.raises(MoveError, match="duplicate key"):
            await tenancy.move_tenant("acme", to="shared-profile")
        assert await read_notes(tenancy, "globex") == TEXTS
        await add_notes(tenancy, "acme", "written")
    assert rows_of(url.replace("postgresql://", "postgresql+psycopg://"), "SELECT 1 FROM tenancy_moves") == []


async def test_values_that_would_change_are_refused(tmp_path: Path, postgresql_url: str) -> None:
    metadata = MetaData()
    table = Table("moments", metadata, Column("id", Integer, primary_key=True), Column("text", String))
    there = make_url(postgresql_url).set(database="t_{id}").render_as_string(hide_password=False)
    async with make_tenancy(tmp_path, metadata=metadata) as tenancy:
        acme = await tenancy.create_tenant("acme")
        async with tenancy.use("acme") as profile, profile.transaction() as session:
            await session.execute(table.insert().values(text="a NUL \0 in it"))
        with pytest.raises(MoveError, match="does not take the rows"):
            await tenancy.move_tenant("acme", to="basic", database_url=there)
        assert await tenancy.get_tenant("acme") == replace(acme, work=None)


async def test_tables_that_nobody_knows_are_not_left_behind(tmp_path: Path) -> None:
    async with make_tenancy(tmp_path) as tenancy:
        acme = await tenancy.create_tenant("acme")
        engine = create_engine(f"sqlite:///{tmp_path}/tenants/{acme.id}.db")
        with engine.begin() as connection:
            connection.execute(text("CREATE TABLE empty_ones (id INTEGER)"))
            connection.execute(text("CREATE TABLE jobs AS SELECT 1 AS id"))
        engine.dispose()
        with pytest.raises(MoveError, match="the tables jobs are not in the metadata"):
            await tenancy.move_tenant("acme", to="shared-profile")


@pytest.mark.parametrize(
    "given",
    [
        {"to": "nowhere"},
        {"to": "basic", "isolation": "row"},
        {"to": "shared-profile", "isolation": "none"},
        {"to": "shared-profile", "isolation": "schema"},  # SQLite has none
        {"to": "shared-profile", "database_url": "sqlite:///x.db"},
    ],
)
async def test_what_cannot_be_is_said_at_once(on_sqlite: Tenancy, given: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError):
        await on_sqlite.move_tenant("acme", **given)


async def test_a_suspended_tenant_goes_suspended_and_one_that_is_not_there_not_at_all(in_rows: Tenancy) -> None:
    await in_rows.suspend_tenant("acme")
    assert not (await go(in_rows, "basic")).is_active
    assert await read_notes(in_rows, "acme") == TEXTS
    with pytest.raises(TenantNotFoundError):
        await in_rows.move_tenant("nobody", to="basic")


async def test_it_is_told_and_recorded(in_rows: Tenancy) -> None:
    told: list[TenancyEvent] = []
    in_rows.on("moved")(told.append)
    steps: list[MoveProgress] = []
    moved = await in_rows.move_tenant("acme", to="basic", on_progress=steps.append)
    assert [event.tenant for event in told] == [moved.tenant]
    [entry, *_] = (await in_rows.audit_trail("acme")).items
    acme = moved.tenant.id
    assert (entry.action, entry.details) == ("moved", {"from": f"row/{acme}", "to": f"basic/{acme}", "rows": 5})
    assert {step.step for step in steps} == {"check", "copy", "verify"} - {"check"}


async def test_a_listener_can_stop_it(in_rows: Tenancy) -> None:
    @in_rows.on("moved", veto=True)
    def not_now(_: TenancyEvent) -> None:
        raise RuntimeError("at night only")

    with pytest.raises(VetoedError, match="at night only"):
        await in_rows.move_tenant("acme", to="basic")
    await add_notes(in_rows, "acme", "written")


async def test_whoever_lost_the_lease_neither_ends_nor_undoes_the_move(
    in_rows: Tenancy, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with moving(monkeypatch, in_rows, "verify", "basic") as task:
        acme, store = await in_rows.get_tenant("acme"), in_rows.store
        assert isinstance(store, FleetStore)
        later = in_rows.now() + timedelta(minutes=1)
        await store.claim([acme.id], "move", "somebody else", later, later + timedelta(seconds=15))
    with pytest.raises(TenantConflictError):
        await task
    assert (await in_rows.get_tenant("acme")).namespace == acme.namespace
    with pytest.raises(TenantReadOnlyError):
        await add_notes(in_rows, "acme", "written")
    await store.release([acme.id], "somebody else")
    await in_rows.move_tenant("acme", to="basic")
    assert await read_notes(in_rows, "acme") == TEXTS


async def test_a_database_url_is_sealed_and_sealed_again_while_it_is_kept(tmp_path: Path) -> None:
    old, new = ("A" * 43, "B" * 42 + "A")
    where = f"sqlite:///{tmp_path}/{{}}.db"
    async with make_tenancy(tmp_path, encryption_keys=[old]) as tenancy:
        await tenancy.create_tenant("acme", database_url=where.format("first"))
        await add_notes(tenancy, "acme", *TEXTS)
        await tenancy.move_tenant("acme", to="basic", database_url=where.format("second"))
    assert where.format("first").encode() not in (tmp_path / "tenancy.db").read_bytes()
    async with make_tenancy(tmp_path, encryption_keys=[new, old]) as tenancy:
        await tenancy.reseal()
    async with make_tenancy(tmp_path, encryption_keys=[new]) as tenancy:
        await tenancy.confirm_move("acme", at_once=True)
        assert await read_notes(tenancy, "acme") == TEXTS
    assert [each.name for each in tmp_path.glob("*st.db")] == []
