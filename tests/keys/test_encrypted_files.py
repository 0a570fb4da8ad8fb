"""A tenant's encrypted file: what is in it, and whom it opens for."""

import asyncio
import shutil
import sqlite3
from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path

import pytest
from keys.key_support import PLAIN, SEALING_KEY, file_of, needs_sqlcipher, random_key, read_with, sealing, write_with
from sqlalchemy import text
from sqlalchemy.exc import IntegrityError, OperationalError
from support import Note, add_notes, client_of, make_app, make_tenancy, named, read_notes

from fastapi_tenancy import (
    ConfigurationError,
    NamespaceExistsError,
    NamespaceMissingError,
    SealError,
    Tenancy,
    Tenant,
    TenantNotFoundError,
    WrongTenantKeyError,
)
from fastapi_tenancy.multitenant.databases import EncryptedFiles, sqlcipher
from fastapi_tenancy.multitenant.keys import new_key

pytestmark = needs_sqlcipher

KEY = "a-key-of-a-tenant-which-is-the-same-alwaysA"


@pytest.fixture
async def tenancy(tmp_path: Path) -> AsyncIterator[Tenancy]:
    async with sealing(tmp_path, encrypt_tenants=True) as tenancy:
        yield tenancy


def ask(file: Path, tenant: Tenant, key: str, query: str) -> list[tuple[object, ...]]:
    """As any program with SQLCipher and the key would."""
    with closing(sqlcipher.sqlcipher().connect(str(file))) as connection:
        connection.execute(f"PRAGMA key = \"x'{new_key(key).get_secret_value().hex()}'\"")
        return connection.execute(query).fetchall()


async def test_nothing_can_be_read_without_the_key(tenancy: Tenancy, tmp_path: Path) -> None:
    acme = await tenancy.create_tenant("acme")
    async with tenancy.use("acme") as profile, profile.transaction() as session:
        session.add(Note(text="a planted text"))
        await session.flush()
        files = list((tmp_path / "tenants").iterdir())
        assert len(files) == 3  # the file, its log and the index of that
        assert all(b"planted" not in file.read_bytes() and b"notes" not in file.read_bytes() for file in files)
        assert not any(file.read_bytes().startswith(PLAIN) for file in files)
    with closing(sqlite3.connect(file_of(tmp_path, acme))) as connection, pytest.raises(sqlite3.DatabaseError):
        connection.execute("SELECT * FROM notes")


async def test_the_tenants_own_key_opens_it_by_itself(tenancy: Tenancy, tmp_path: Path) -> None:
    umbra = await tenancy.create_tenant("umbra", key_management_mode="unmanaged", key=KEY)
    await write_with(tenancy, "umbra", KEY, "mine")
    file = file_of(tmp_path, umbra)
    assert ask(file, umbra, KEY, "SELECT text FROM notes") == [("mine",)]
    assert ask(file, umbra, KEY, "PRAGMA journal_mode") == [("wal",)]
    assert ask(file, umbra, KEY, "PRAGMA integrity_check") == [("ok",)]
    assert ask(file, umbra, KEY, "PRAGMA cipher_integrity_check") == []
    assert ask(file, umbra, KEY, "SELECT * FROM tenancy_owner") == [(umbra.id,)]


async def test_each_tenant_has_a_random_key_which_the_store_has_sealed(tenancy: Tenancy) -> None:
    tenants = [await tenancy.create_tenant(name) for name in ("acme", "globex")]
    keys = tenancy.provider.root_profile.keys
    assert len({keys.recorded(tenant)[0].get_secret_value() for tenant in tenants}) == 2


async def test_it_opens_again_in_another_process(tmp_path: Path) -> None:
    async with sealing(tmp_path, encrypt_tenants=True) as tenancy:
        await tenancy.create_tenant("acme")
        await add_notes(tenancy, "acme", "kept")
    async with sealing(tmp_path, encryption_keys=[random_key(), SEALING_KEY]) as tenancy:
        assert await read_notes(tenancy, "acme") == ["kept"]
    async with sealing(tmp_path, encryption_keys=[random_key()]) as tenancy:
        with pytest.raises(SealError):
            await read_notes(tenancy, "acme")


async def test_requests_are_served_async_and_in_threads(tenancy: Tenancy) -> None:
    await tenancy.create_tenant("acme")
    async with client_of(make_app(tenancy)) as client:
        for path in ("/notes", "/sync/notes"):
            added = [client.post(path, params={"text": f"{path} {n}"}, headers=named("acme")) for n in range(8)]
            assert {answer.status_code for answer in await asyncio.gather(*added)} == {201}
        answers = [await client.get(path, headers=named("acme")) for path in ("/notes", "/sync/notes")]
    assert answers[0].json() == answers[1].json()
    assert len(answers[0].json()["notes"]) == 16


async def test_errors_of_the_database_are_those_of_sqlalchemy(tenancy: Tenancy) -> None:
    await tenancy.create_tenant("acme")
    async with tenancy.use("acme") as profile:
        async with profile.session() as session:
            with pytest.raises(OperationalError, match="no such table"):
                await session.execute(text("SELECT * FROM nowhere"))
        with pytest.raises(IntegrityError):
            async with profile.transaction() as session:
                session.add_all([Note(id=1, text="a"), Note(id=1, text="b")])
        with pytest.raises(IntegrityError), profile.sync_transaction() as session:
            session.add(Note(id=1, text=None))


async def test_a_file_that_is_not_encrypted_is_refused(tenancy: Tenancy, tmp_path: Path) -> None:
    plain = await tenancy.create_tenant("plain", encrypted=False)
    acme = await tenancy.create_tenant("acme")
    shutil.copy(file_of(tmp_path, plain), file_of(tmp_path, acme))
    with pytest.raises(NamespaceMissingError, match="is not encrypted"):
        await read_notes(tenancy, "acme")


async def test_an_encrypted_file_is_refused_where_it_should_not_be_one(tenancy: Tenancy, tmp_path: Path) -> None:
    plain = await tenancy.create_tenant("plain", encrypted=False)
    acme = await tenancy.create_tenant("acme")
    shutil.copy(file_of(tmp_path, acme), file_of(tmp_path, plain))
    with pytest.raises(NamespaceMissingError, match="belongs to nobody"):
        await read_notes(tenancy, "plain")


async def test_another_tenants_file_is_refused_also_with_the_same_key(tenancy: Tenancy, tmp_path: Path) -> None:
    unmanaged = {"key_management_mode": "unmanaged", "key": KEY}
    acme, globex = [await tenancy.create_tenant(name, **unmanaged) for name in ("acme", "globex")]
    content = file_of(tmp_path, globex).read_bytes()
    file_of(tmp_path, acme).write_bytes(content)
    with pytest.raises(NamespaceMissingError, match="does not belong to"):
        await read_with(tenancy, "acme", KEY)
    file_of(tmp_path, acme).write_bytes(sqlcipher.salt_of(acme) + content[sqlcipher.SALT_BYTES :])
    with pytest.raises(WrongTenantKeyError):  # what authenticates the pages depends on those bytes
        await read_with(tenancy, "acme", KEY)
    file_of(tmp_path, acme).write_bytes(content)
    with pytest.raises(NamespaceExistsError):
        await tenancy.delete_tenant("acme", drop_data=True)
    assert file_of(tmp_path, acme).read_bytes() == content


async def test_a_managed_key_that_does_not_open_the_file_is_a_clear_error(tenancy: Tenancy, tmp_path: Path) -> None:
    acme = await tenancy.create_tenant("acme")
    file = file_of(tmp_path, acme)
    file.write_bytes(file.read_bytes()[:20] + b"changed" + file.read_bytes()[27:])
    with pytest.raises(NamespaceMissingError, match="does not open with the key"):
        await read_notes(tenancy, "acme")


async def test_a_missing_file_is_an_error_and_not_an_empty_tenant(tenancy: Tenancy, tmp_path: Path) -> None:
    acme = await tenancy.create_tenant("acme")
    file_of(tmp_path, acme).unlink()
    with pytest.raises(NamespaceMissingError, match="restore"):
        await read_notes(tenancy, "acme")
    assert not file_of(tmp_path, acme).exists()


async def test_a_file_that_is_there_already_is_neither_used_nor_touched(tenancy: Tenancy, tmp_path: Path) -> None:
    other = await tenancy.create_tenant("other")
    theirs = tmp_path / "theirs.db"
    shutil.copy(file_of(tmp_path, other), theirs)
    before = theirs.read_bytes()
    with pytest.raises(NamespaceExistsError, match="move it away"):
        await tenancy.create_tenant("acme", database_url=f"sqlite:///{theirs}")
    assert theirs.read_bytes() == before


async def test_a_path_may_have_any_characters(tenancy: Tenancy, tmp_path: Path) -> None:
    await tenancy.create_tenant("acme", database_url=f'sqlite:///{tmp_path}/it\'s "a" file.db')
    await add_notes(tenancy, "acme", "works")
    assert await read_notes(tenancy, "acme") == ["works"]


async def test_the_tables_are_made_once_for_all_tenants(tenancy: Tenancy, monkeypatch: pytest.MonkeyPatch) -> None:
    await tenancy.create_tenant("acme")
    monkeypatch.setattr(EncryptedFiles, "_build", lambda _: pytest.fail("made again"))
    await asyncio.gather(*(tenancy.create_tenant(f"n{number}") for number in range(10)))
    await add_notes(tenancy, "n9", "works")
    assert await read_notes(tenancy, "n8") == []


async def test_a_folder_that_cannot_be_written_to_is_named(tmp_path: Path) -> None:
    (tmp_path / "tenants").touch()
    async with sealing(tmp_path, encrypt_tenants=True) as tenancy:
        with pytest.raises(ValueError, match="cannot write to the folder"):
            await tenancy.create_tenant("acme")


async def test_only_files_can_be_encrypted(tmp_path: Path) -> None:
    async with sealing(tmp_path, encrypt_tenants=True) as tenancy:
        for given in (
            {"manager_type": "shared-profile"},
            {"database_url": "postgresql://user:password@127.0.0.1:1/t"},
        ):
            with pytest.raises(ConfigurationError, match="cannot be encrypted"):
                await tenancy.create_tenant("acme", encrypted=True, **given)
        with pytest.raises(TenantNotFoundError):
            await tenancy.get_tenant("acme")
        assert not (await tenancy.create_tenant("row", manager_type="shared-profile")).encrypted


async def test_a_random_key_needs_something_to_seal_it_with(tmp_path: Path) -> None:
    async with make_tenancy(tmp_path) as tenancy:
        with pytest.raises(ConfigurationError, match="encryption_keys"):
            await tenancy.create_tenant("acme", encrypted=True)
        await tenancy.create_tenant("umbra", encrypted=True, key_management_mode="unmanaged", key=KEY)
        await write_with(tenancy, "umbra", KEY, "works")


async def test_without_sqlcipher_it_is_said_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with sealing(tmp_path, encrypt_tenants=True) as tenancy:
        await tenancy.create_tenant("acme")
    monkeypatch.setattr(sqlcipher, "dbapi2", None)
    async with sealing(tmp_path, encrypt_tenants=True) as tenancy:
        with pytest.raises(ConfigurationError, match=r"pip install '\.\[sqlcipher\]'"):
            await tenancy.create_tenant("globex")
        with pytest.raises(ConfigurationError, match=r"pip install '\.\[sqlcipher\]'"):
            await read_notes(tenancy, "acme")
        with pytest.raises(TenantNotFoundError):
            await tenancy.get_tenant("globex")
        await tenancy.create_tenant("plain", encrypted=False)
