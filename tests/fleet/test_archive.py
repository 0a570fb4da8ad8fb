"""A tenant goes into one file with all its rows, and comes out of it as it was."""

import asyncio
import json
from collections.abc import Callable
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID
from zipfile import ZIP_DEFLATED, ZipFile

import pytest
from fleet.every_type import Base as EveryType
from fleet.every_type import Leaf, Mood, Node, PostgreSQLBase, Rare, Thing
from keys.key_support import needs_sqlcipher, random_key, read_with, sealing, write_with
from prepared_stores import new_store_database
from servers import drop_database
from sqlalchemy import Table, inspect, make_url, select
from support import Note, add_notes, make_tenancy, read_notes

from fastapi_tenancy import (
    ArchiveError,
    InvalidIdentifierError,
    MoveError,
    Tenancy,
    TenantExistsError,
    TenantKeyMissingError,
    TenantNotFoundError,
)
from fastapi_tenancy.fleet.rows import TenantRows

TEXTS = [f"note {number}" for number in range(5)]

FULL = {
    "flag": True,
    "number": 2**62 + 1,
    "ratio": 0.1 + 0.2,
    "price": Decimal("12345678.9012"),
    "text": 'Ünïcödé \u2028 "quoted"\n\ttabs \\N \U0001f600',
    "blob": bytes(range(256)),
    "moment": datetime(2026, 3, 29, 1, 30, 0, 123456, tzinfo=UTC),
    "local": datetime(1999, 12, 31, 23, 59, 59, 999999),  # noqa: DTZ001 - it has no zone
    "day": date(1, 1, 1),
    "hour": time(23, 59, 59, 1),
    "length": timedelta(days=40, seconds=5),
    "key": UUID(int=7),
    "mood": Mood.BAD,
    "document": {"a": [1, 2.5, None, "x", {"b": True}], "big": 2**70},
    "pickled": {"any": ("thing",)},
}


def values_of(thing: Thing) -> dict[str, object]:
    values = {column.key: getattr(thing, column.key) for column in inspect(Thing).columns if column.key in FULL}
    if thing.moment is not None:  # SQLite and MariaDB keep no zone
        values["moment"] = thing.moment.replace(tzinfo=thing.moment.tzinfo or UTC)
    return values


async def things_of(tenancy: Tenancy, identifier: str) -> list[dict[str, object]]:
    async with tenancy.use(identifier) as profile, profile.session() as session:
        return [values_of(thing) for thing in await session.scalars(select(Thing).order_by(Thing.id))]


async def test_each_type_of_value_comes_back(tmp_path: Path) -> None:
    async with make_tenancy(tmp_path, metadata=EveryType.metadata) as tenancy:
        await tenancy.create_tenant("acme")
        async with tenancy.use("acme") as profile, profile.transaction() as session:
            session.add_all([Thing(**FULL), Thing(), Thing(ratio=float("inf")), Thing(document=False)])
        before = await things_of(tenancy, "acme")
        exported = await tenancy.export_tenant("acme", tmp_path / "acme.zip")
        await tenancy.import_tenant(exported.file, identifier="copy")
        assert await things_of(tenancy, "copy") == before
    assert (exported.rows, exported.tables["things"]) == (4, 4)


async def test_it_has_the_rows_of_its_tenant_only_and_they_become_another_tenants(tmp_path: Path) -> None:
    async with make_tenancy(tmp_path, manager_type="shared-profile") as tenancy:
        for identifier in ("globex", "acme"):
            await tenancy.create_tenant(identifier, name=identifier.title(), settings={"plan": "pro"})
            await add_notes(tenancy, identifier, *TEXTS)
        file = (await tenancy.export_tenant("acme", tmp_path / "acme.zip")).file
        copy = await tenancy.import_tenant(file, identifier="copy", manager_type="basic")
        assert (copy.name, copy.settings, copy.status) == ("Acme", {"plan": "pro"}, "active")
        assert await read_notes(tenancy, "copy") == TEXTS
        async with tenancy.use("copy") as profile, profile.session() as session:
            assert set(await session.scalars(select(Note.tenant_id))) == {copy.id}
        with pytest.raises(ArchiveError, match="another tenant has rows with the same id in notes"):
            await tenancy.import_tenant(file, identifier="third")
        with pytest.raises(TenantNotFoundError):
            await tenancy.get_tenant("third")
        await tenancy.delete_tenant("acme", drop_data=True)
        await tenancy.import_tenant(file)
        assert await read_notes(tenancy, "acme") == TEXTS
        assert await read_notes(tenancy, "globex") == TEXTS


async def test_it_says_what_it_is_and_holds_no_secret_unless_asked(tmp_path: Path) -> None:
    secret = {"encryption_keys": ["A" * 43], "secret_settings": ["api_key"]}
    async with make_tenancy(tmp_path, **secret) as tenancy:
        await tenancy.create_tenant("acme", settings={"plan": "pro", "api_key": "sesame"})
        await tenancy.export_tenant("acme", tmp_path / "acme.zip")
        [exported, *_] = (await tenancy.audit_trail("acme")).items
        with ZipFile(tmp_path / "acme.zip") as archive:
            manifest = json.loads(archive.read("manifest.json"))
            assert archive.namelist() == ["tables/folders.jsonl", "tables/notes.jsonl", "manifest.json"]
        await tenancy.export_tenant("acme", tmp_path / "all.zip", secrets=True)
        await tenancy.import_tenant(tmp_path / "all.zip", identifier="copy")
        assert (await tenancy.get_tenant("copy")).settings["api_key"] == "sesame"
        [imported, *_] = (await tenancy.audit_trail("copy")).items
    assert (manifest["format"], manifest["version"], manifest["revision"]) == ("fastapi-tenancy archive", 1, None)
    assert manifest["tenant"]["settings"] == {"plan": "pro"}
    assert (tmp_path / "acme.zip").stat().st_mode & 0o777 == 0o600
    assert (exported.action, exported.details) == ("exported", {"secrets": False})
    assert (imported.action, imported.details) == ("imported", {"from": "acme", "rows": 0})


async def test_what_is_written_meanwhile_is_in_it_as_a_whole_or_not_at_all(
    on_sqlite: Tenancy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await add_notes(on_sqlite, "acme", *TEXTS)
    real, loop = TenantRows.read, asyncio.get_running_loop()

    def read_and_write(rows: TenantRows, table: Table, skip: int = 0) -> Any:
        asyncio.run_coroutine_threadsafe(add_notes(on_sqlite, "acme", "meanwhile"), loop).result()
        return real(rows, table, skip)

    monkeypatch.setattr(TenantRows, "read", read_and_write)
    exported = await on_sqlite.export_tenant("acme", tmp_path / "acme.zip")
    assert exported.tables["notes"] == 5
    assert await read_notes(on_sqlite, "acme") == [*TEXTS, "meanwhile", "meanwhile"]


@pytest.fixture
async def archive(on_sqlite: Tenancy, tmp_path: Path) -> Path:
    await add_notes(on_sqlite, "acme", *TEXTS)
    return (await on_sqlite.export_tenant("acme", tmp_path / "acme.zip")).file


def rewritten(archive: Path, change: Callable[[dict[str, bytes]], None]) -> Path:
    """The archive with other members, and valid as a zip."""
    with ZipFile(archive) as content:
        members = {name: content.read(name) for name in content.namelist()}
    change(members)
    with ZipFile(archive, "w", ZIP_DEFLATED) as content:
        for name, member in members.items():
            content.writestr(name, member)
    return archive


def with_manifest(**changes: Any) -> Callable[[dict[str, bytes]], None]:
    def change(members: dict[str, bytes]) -> None:
        manifest = json.loads(members["manifest.json"])
        members["manifest.json"] = json.dumps({**manifest, **changes}).encode()

    return change


NOTES = "tables/notes.jsonl"

DAMAGES: dict[str, tuple[Callable[[dict[str, bytes]], None], str]] = {
    "another value": (lambda members: members.update({NOTES: members[NOTES].replace(b"note 3", b"note 4")}), NOTES),
    "a row too few": (lambda members: members.update({NOTES: members[NOTES].split(b"\n", 1)[1]}), NOTES),
    "no such member": (lambda members: members.pop(NOTES), NOTES),
    "a member too many": (lambda members: members.update({"other.txt": b""}), "other.txt"),
    "no manifest": (lambda members: members.pop("manifest.json"), "manifest.json"),
    "another format": (with_manifest(format="other"), "manifest.json"),
    "a later version": (with_manifest(version=2), "version 2"),
    "no tenant": (with_manifest(tenant={}), "manifest.json"),
    "another revision": (with_manifest(revision="4711"), "revision 4711"),
    "another table": (with_manifest(tables=[]), "folders.jsonl"),
}


@pytest.mark.parametrize("damage", DAMAGES)
async def test_a_damaged_or_foreign_archive_is_refused_before_anything_is_written(
    on_sqlite: Tenancy, archive: Path, damage: str
) -> None:
    change, said = DAMAGES[damage]
    with pytest.raises(ArchiveError, match=said):
        await on_sqlite.import_tenant(rewritten(archive, change), identifier="copy")
    with pytest.raises(TenantNotFoundError):
        await on_sqlite.get_tenant("copy")


async def test_a_file_whose_bytes_are_damaged_is_refused_wherever_that_is(on_sqlite: Tenancy, archive: Path) -> None:
    content = archive.read_bytes()
    for place in range(0, len(content), 97):
        archive.write_bytes(content[:place] + bytes([content[place] ^ 0xFF]) + content[place + 1 :])
        try:
            await on_sqlite.import_tenant(archive, identifier="copy")
        except (ArchiveError, InvalidIdentifierError):
            continue
        assert await read_notes(on_sqlite, "copy") == TEXTS  # a byte that says nothing, such as the time of a member
        await on_sqlite.delete_tenant("copy", drop_data=True)
    archive.write_bytes(b"no archive")
    with pytest.raises(ArchiveError, match="is no archive"):
        await on_sqlite.import_tenant(archive, identifier="copy")


async def test_other_models_are_refused(archive: Path, tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    async with make_tenancy(tmp_path / "other", metadata=EveryType.metadata) as tenancy:
        with pytest.raises(ArchiveError, match="the table folders has other columns"):
            await tenancy.import_tenant(archive)
        assert not list((tmp_path / "other" / "tenants").glob("*"))


async def test_an_identifier_that_is_taken_is_refused(on_sqlite: Tenancy, archive: Path) -> None:
    with pytest.raises(TenantExistsError):
        await on_sqlite.import_tenant(archive)
    assert await read_notes(on_sqlite, "acme") == TEXTS


async def test_a_file_that_cannot_be_written_leaves_nothing(on_sqlite: Tenancy, tmp_path: Path) -> None:
    with pytest.raises(ArchiveError, match="cannot be written"):
        await on_sqlite.export_tenant("acme", tmp_path / "missing" / "acme.zip")
    (tmp_path / "folder.zip").mkdir()
    with pytest.raises(ArchiveError, match="cannot be written"):
        await on_sqlite.export_tenant("acme", tmp_path / "folder.zip")
    assert [each.name for each in tmp_path.glob(".*zip*")] == []


async def tangle(tenancy: Tenancy, identifier: str) -> None:
    """Rows that refer to later ones of the same table, and to each other."""
    async with tenancy.use(identifier) as profile, profile.transaction() as session:
        session.add_all([Node(id=number) for number in (1, 2, 3)])
        await session.flush()
        session.add_all([Leaf(id=5, node_id=1), Leaf(id=6, node_id=3)])
        await session.flush()
        for number, (parent, favourite) in {1: (3, 5), 2: (2, None), 3: (None, 6)}.items():
            node = await session.get_one(Node, number)
            node.parent_id, node.favourite_id = parent, favourite


async def tangled(tenancy: Tenancy, identifier: str) -> list[tuple[int, int | None, int | None]]:
    async with tenancy.use(identifier) as profile, profile.session() as session:
        nodes = await session.scalars(select(Node).order_by(Node.id))
        return [(node.id, node.parent_id, node.favourite_id) for node in nodes]


TANGLED = [(1, 3, 5), (2, 2, None), (3, None, 6)]


@pytest.mark.parametrize("fixture", ["postgresql_url", "mysql_url"])
async def test_a_tenant_goes_to_another_kind_of_database_and_back_with_each_type_of_value(
    fixture: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    server = make_url(request.getfixturevalue(fixture))
    there = server.set(database="t_{id}").render_as_string(hide_password=False)
    async with make_tenancy(tmp_path, metadata=EveryType.metadata) as tenancy:
        await tenancy.create_tenant("acme")
        async with tenancy.use("acme") as profile, profile.transaction() as session:
            session.add_all([Thing(**FULL), Thing(), Thing(document=False)])
        await tangle(tenancy, "acme")
        before = await things_of(tenancy, "acme")
        moved = await tenancy.move_tenant("acme", to="basic", database_url=there)
        try:
            assert await things_of(tenancy, "acme") == before
            assert await tangled(tenancy, "acme") == TANGLED
            async with tenancy.use("acme") as profile, profile.transaction() as session:
                session.add(added := Thing(text="after"))
                await session.flush()
                assert added.id == 4
            await tenancy.confirm_move("acme", at_once=True)
            await tenancy.move_tenant("acme", to="basic")
            assert (await things_of(tenancy, "acme"))[:3] == before
            assert await tangled(tenancy, "acme") == TANGLED
        finally:
            drop_database(server.set(database=f"t_{moved.tenant.id}").render_as_string(hide_password=False))


RARE = {
    "tags": ["a,b", 'quoted "', "", "NULL"],
    "grid": [[1, 2], [3, 4]],
    "document": {"b": 1.50, "a": [None]},
    "address": "10.0.0.0/8",
    "mood": Mood.GOOD,
    "length": timedelta(days=-3, seconds=7),
}


async def rare_of(tenancy: Tenancy, identifier: str) -> list[dict[str, Any]]:
    async with tenancy.use(identifier) as profile, profile.session() as session:
        rows = await session.scalars(select(Rare).order_by(Rare.id))
        return [{name: getattr(row, name) for name in RARE} for row in rows]


async def test_what_only_postgresql_has_goes_with_it(postgresql_url: str, tmp_path: Path) -> None:
    database = new_store_database(postgresql_url)
    settings = {"database_url": database, "manager_type": "shared-profile", "metadata": PostgreSQLBase.metadata}
    try:
        async with make_tenancy(tmp_path, **settings) as tenancy:
            await tenancy.create_tenant("acme")
            async with tenancy.use("acme") as profile, profile.transaction() as session:
                session.add_all([Rare(**RARE), Rare()])
            before = await rare_of(tenancy, "acme")
            await tenancy.import_tenant(
                (await tenancy.export_tenant("acme", tmp_path / "acme.zip")).file, identifier="copy"
            )
            assert await rare_of(tenancy, "copy") == before
            await tenancy.move_tenant("acme", to="basic")
            assert await rare_of(tenancy, "acme") == before
            await tenancy.confirm_move("acme", at_once=True)
            await tenancy.delete_tenant("acme", drop_data=True)
    finally:
        drop_database(database)


@needs_sqlcipher
async def test_an_encrypted_tenant_is_exported_with_its_key_and_imported_with_another(tmp_path: Path) -> None:
    key, other = random_key(), random_key()
    async with sealing(tmp_path) as tenancy:
        await tenancy.create_tenant("acme", encrypted=True, key_management_mode="unmanaged", key=key)
        await write_with(tenancy, "acme", key, *TEXTS)
        with pytest.raises(TenantKeyMissingError):
            await tenancy.export_tenant("acme", tmp_path / "acme.zip")
        file = (await tenancy.export_tenant("acme", tmp_path / "acme.zip", key=key)).file
        with ZipFile(file) as archive:
            assert json.loads(archive.read("manifest.json"))["was_encrypted"] is True
        given = {"key_management_mode": "unmanaged", "key": other}
        await tenancy.import_tenant(file, identifier="copy", encrypted=True, **given)
        assert await read_with(tenancy, "copy", other) == TEXTS
        with pytest.raises(MoveError, match="encrypted"):
            await tenancy.move_tenant("acme", to="shared-profile")


async def test_rows_that_refer_to_each_other_come_back_on_sqlite(tmp_path: Path) -> None:
    async with make_tenancy(tmp_path, metadata=EveryType.metadata) as tenancy:
        await tenancy.create_tenant("acme")
        await tangle(tenancy, "acme")
        await tenancy.import_tenant((await tenancy.export_tenant("acme", tmp_path / "a.zip")).file, identifier="copy")
        assert await tangled(tenancy, "copy") == TANGLED
