"""A tenant gets another key: its file is under one of the two at any moment, and nothing that is written is lost."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from forking import Forking
from keys.key_support import file_of, needs_sqlcipher, random_key, sealing, write_with
from support import Note, add_notes, client_of, make_app, make_tenancy, named, read_notes

from fastapi_tenancy import ConfigurationError, Tenancy, TenancyError, TenantConflictError, TenantUnavailableError
from fastapi_tenancy.multitenant.databases import encrypted_file, sqlcipher

pytestmark = needs_sqlcipher


@pytest.fixture
async def tenancy(tmp_path: Path) -> AsyncIterator[Tenancy]:
    async with sealing(tmp_path, encrypt_tenants=True, shutdown_timeout=0.05) as tenancy:
        await tenancy.create_tenant("acme")
        await add_notes(tenancy, "acme", "kept")
        yield tenancy


def recorded(tenancy: Tenancy, tenant: Any) -> list[bytes]:
    return [key.get_secret_value() for key in tenancy.provider.root_profile.keys.recorded(tenant)]


async def test_a_managed_tenant_gets_a_random_key_or_the_given_one(tenancy: Tenancy) -> None:
    acme = await tenancy.get_tenant("acme")
    given = random_key()
    keys = [recorded(tenancy, each) for each in (acme, await tenancy.rekey_tenant("acme"))]
    keys.append(recorded(tenancy, await tenancy.rekey_tenant("acme", new_key=given)))
    assert len({key for [key] in keys}) == 3
    assert await read_notes(tenancy, "acme") == ["kept"]


async def test_nothing_of_the_file_can_be_read_with_the_old_key(tmp_path: Path) -> None:
    old, new = random_key(), random_key()
    async with make_tenancy(tmp_path) as tenancy:
        umbra = await tenancy.create_tenant("umbra", encrypted=True, key_management_mode="unmanaged", key=old)
        await write_with(tenancy, "umbra", old, "kept")
        await tenancy.rekey_tenant("umbra", key=old, new_key=new)
        file, keys = file_of(tmp_path, umbra), tenancy.provider.root_profile.keys
        changed = await tenancy.get_tenant("umbra")
        with closing(sqlcipher.connect(str(file), sqlcipher.raw(keys.given(changed, new), changed))) as connection:
            assert connection.execute("SELECT text FROM notes").fetchall() == [("kept",)]
            assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
            assert connection.execute("PRAGMA cipher_integrity_check").fetchall() == []
        connection = sqlcipher.connect(str(file), sqlcipher.raw(keys.given(umbra, old), umbra))
        with closing(connection), pytest.raises(sqlcipher.sqlcipher().DatabaseError, match="not a database"):
            connection.execute("SELECT text FROM notes")
        assert file.read_bytes()[:16] == sqlcipher.salt_of(umbra)


async def test_what_is_under_way_gets_a_503_and_what_comes_then_is_served(tenancy: Tenancy) -> None:
    async with tenancy.use("acme") as profile, profile.session() as session:
        await session.get(Note, 1)
        await session.rollback()
        await tenancy.rekey_tenant("acme")
        with pytest.raises(TenantUnavailableError):
            async with profile.session() as late:
                await late.get(Note, 1)
        with pytest.raises(TenantUnavailableError):
            async with profile.transaction():
                pass
        with pytest.raises(TenantUnavailableError), profile.sync_transaction():
            pass
        assert await read_notes(tenancy, "acme") == ["kept"]


async def test_another_worker_loses_nothing_and_goes_on_when_it_hears_of_it(tenancy: Tenancy, tmp_path: Path) -> None:
    moment = 0.0
    async with sealing(tmp_path, clock=lambda: moment) as other:
        await add_notes(other, "acme", "by the other")
        async with client_of(make_app(other)) as client:
            await tenancy.rekey_tenant("acme")
            refused = await client.post("/notes", params={"text": "not taken"}, headers=named("acme"))
            moment += other.settings.cache_ttl
            taken = await client.post("/notes", params={"text": "taken"}, headers=named("acme"))
    assert (refused.status_code, taken.status_code) == (503, 201)
    assert await read_notes(tenancy, "acme") == ["kept", "by the other", "taken"]


async def test_writers_that_are_there_first_are_waited_for(tenancy: Tenancy, tmp_path: Path) -> None:
    async with sealing(tmp_path) as other, other.use("acme") as profile:
        async with profile.transaction() as session:
            rekeying = asyncio.create_task(tenancy.rekey_tenant("acme"))
            session.add(Note(text="first"))
            await session.flush()
            await asyncio.wait({rekeying}, timeout=0.1)
            assert not rekeying.done()
        await rekeying
    assert await read_notes(tenancy, "acme") == ["kept", "first"]


async def test_writers_that_never_end_are_not_waited_for_forever(
    tenancy: Tenancy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(encrypted_file, "BUSY_TIMEOUT", 0.05)
    async with sealing(tmp_path) as other, other.use("acme") as profile, profile.transaction() as session:
        session.add(Note(text="first"))
        await session.flush()
        with pytest.raises(TenantUnavailableError, match="in use all the time"):
            await tenancy.rekey_tenant("acme")
    assert await read_notes(tenancy, "acme") == ["kept", "first"]
    await tenancy.rekey_tenant("acme")
    assert len(recorded(tenancy, await tenancy.get_tenant("acme"))) == 1


@pytest.mark.parametrize("given", [False, True])
async def test_those_who_do_it_at_the_same_time_lock_nobody_out(tenancy: Tenancy, tmp_path: Path, given: bool) -> None:
    async with sealing(tmp_path) as other:
        for _ in range(5):
            keys = [{"new_key": random_key()} if given else {} for _ in range(4)]
            calls = [each.rekey_tenant("acme", **key) for each, key in zip((tenancy, other) * 2, keys, strict=True)]
            outcomes = await asyncio.gather(*calls, return_exceptions=True)
            assert all(isinstance(each, TenantConflictError) for each in outcomes if isinstance(each, Exception))
            await tenancy.directory.forget_all()
            assert await read_notes(tenancy, "acme") == ["kept"]
            await tenancy.rekey_tenant("acme")


async def test_a_tenant_without_a_key_gets_none(tenancy: Tenancy) -> None:
    await tenancy.create_tenant("plain", encrypted=False)
    with pytest.raises(ConfigurationError, match="has no key"):
        await tenancy.rekey_tenant("plain")


async def test_a_suspended_tenant_can_get_another_key_and_one_that_goes_cannot(tenancy: Tenancy) -> None:
    await tenancy.suspend_tenant("acme")
    await tenancy.rekey_tenant("acme")
    assert await read_notes(tenancy, "acme") == ["kept"]

    async def fails(*_: object) -> None:
        raise TenancyError("broken")

    tenancy.provider.provide({}).drop_tenant = fails
    with pytest.raises(TenancyError, match="broken"):
        await tenancy.delete_tenant("acme", drop_data=True)
    with pytest.raises(TenantConflictError, match="is deleting"):
        await tenancy.rekey_tenant("acme")


def test_the_same_call_ends_what_was_killed_at_any_moment(tmp_path: Path, forked: Forking) -> None:
    process = forked.run(Path(__file__).with_name("kill_keys.py"), str(tmp_path))
    assert process.returncode == 0, process.stderr
