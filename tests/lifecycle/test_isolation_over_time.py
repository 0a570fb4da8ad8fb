"""Renames, deletions and re-used identifiers never show or lose anybody's rows."""

import asyncio
from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy import select
from support import Note, add_notes, client_of, make_app, make_tenancy, named, read_notes, running

from fastapi_tenancy import (
    ConfigurationError,
    InvalidIdentifierError,
    InvalidTenantError,
    Tenancy,
    TenantConflictError,
    TenantExistsError,
    TenantNotFoundError,
    TenantStatus,
)


async def test_a_rename_moves_nothing(tenancy: Tenancy) -> None:
    await add_notes(tenancy, "acme", "kept")
    await tenancy.update_tenant("acme", identifier="acme-inc")
    assert await read_notes(tenancy, "acme-inc") == ["kept"]
    with pytest.raises(TenantNotFoundError):
        await read_notes(tenancy, "acme")


async def test_a_renamed_tenants_old_identifier_finds_its_new_bearer_only(tenancy: Tenancy) -> None:
    await add_notes(tenancy, "acme", "of the first")
    await tenancy.update_tenant("acme", identifier="first")
    await tenancy.create_tenant("acme")
    assert await read_notes(tenancy, "acme") == []
    assert await read_notes(tenancy, "first") == ["of the first"]


async def test_two_tenants_can_swap_their_identifiers(tenancy: Tenancy) -> None:
    await add_notes(tenancy, "acme", "a")
    await add_notes(tenancy, "globex", "g")
    await tenancy.update_tenant("acme", identifier="swap")
    await tenancy.update_tenant("globex", identifier="acme")
    await tenancy.update_tenant("swap", identifier="globex")
    assert (await read_notes(tenancy, "acme"), await read_notes(tenancy, "globex")) == (["g"], ["a"])


async def test_a_reused_identifier_starts_empty_after_a_drop(tenancy: Tenancy) -> None:
    await add_notes(tenancy, "acme", "gone")
    await add_notes(tenancy, "globex", "stays")
    await tenancy.delete_tenant("acme", drop_data=True)
    await tenancy.create_tenant("acme")
    assert await read_notes(tenancy, "acme") == []
    assert await read_notes(tenancy, "globex") == ["stays"]


async def test_a_reused_identifier_starts_empty_where_the_data_was_kept(tenancy: Tenancy) -> None:
    first = await tenancy.get_tenant("acme")
    await add_notes(tenancy, "acme", "kept")
    await tenancy.delete_tenant("acme")
    second = await tenancy.create_tenant("acme")
    assert await read_notes(tenancy, "acme") == []
    assert second.id != first.id
    assert [(kept.id, kept.identifier) for kept in await tenancy.retained_namespaces()] == [(first.id, "acme")]


async def test_data_is_destroyed_only_when_told(tmp_path: Path) -> None:
    async with make_tenancy(tmp_path) as tenancy:
        for name in ("kept", "dropped"):
            await tenancy.create_tenant(name)
        kept, dropped = [(await tenancy.get_tenant(name)).id for name in ("kept", "dropped")]
        await tenancy.delete_tenant("kept")
        await tenancy.delete_tenant("dropped", drop_data=True)
        assert [file.name for file in (tmp_path / "tenants").glob("*.db")] == [f"{kept}.db"]
        assert not list((tmp_path / "tenants").glob(f"{dropped}*"))


async def test_a_deleted_tenant_is_gone_for_requests_at_once(tenancy: Tenancy) -> None:
    async with client_of(make_app(tenancy)) as client:
        assert (await client.get("/notes", headers=named("acme"))).status_code == 200
        await tenancy.delete_tenant("acme")
        assert (await client.get("/notes", headers=named("acme"))).status_code == 404
        await tenancy.create_tenant("acme")
        assert (await client.get("/notes", headers=named("acme"))).status_code == 200


async def test_of_20_creations_of_one_identifier_one_wins(tenancy: Tenancy) -> None:
    outcomes = await asyncio.gather(*(tenancy.create_tenant("new") for _ in range(20)), return_exceptions=True)
    assert sorted(type(outcome).__name__ for outcome in outcomes) == ["Tenant"] + ["TenantExistsError"] * 19
    assert all("'new' is taken" in str(error) for error in outcomes if isinstance(error, TenantExistsError))
    assert len((await tenancy.list_tenants()).items) == 3


async def test_of_two_updates_from_one_version_one_is_refused(on_sqlite: Tenancy) -> None:
    before = await on_sqlite.get_tenant("acme")
    await on_sqlite.update_tenant("acme", name="first", version=before.version)
    with pytest.raises(TenantConflictError):
        await on_sqlite.update_tenant("acme", name="second", version=before.version)
    assert (await on_sqlite.get_tenant("acme")).name == "first"


async def test_suspending_and_activating_twice_is_no_error(on_sqlite: Tenancy) -> None:
    assert (await on_sqlite.suspend_tenant("acme")).status is TenantStatus.SUSPENDED
    assert (await on_sqlite.suspend_tenant("acme")).status is TenantStatus.SUSPENDED
    assert (await on_sqlite.activate_tenant("acme")).status is TenantStatus.ACTIVE
    assert (await on_sqlite.activate_tenant("acme")).status is TenantStatus.ACTIVE


async def test_a_suspended_tenant_keeps_its_rows(tenancy: Tenancy) -> None:
    await add_notes(tenancy, "acme", "kept")
    await tenancy.suspend_tenant("acme")
    await tenancy.activate_tenant("acme")
    assert await read_notes(tenancy, "acme") == ["kept"]


@pytest.mark.parametrize("identifier", ["", "A", "a b", "-a", "a-", "a" * 64, "ä", "a.b", "a/b", "a\n"])
async def test_a_malformed_identifier_is_refused_and_leaves_nothing(on_sqlite: Tenancy, identifier: str) -> None:
    tenancy = on_sqlite
    with pytest.raises(InvalidIdentifierError):
        await tenancy.create_tenant(identifier)
    with pytest.raises(InvalidIdentifierError):
        await tenancy.update_tenant("acme", identifier=identifier)
    assert [tenant.identifier for tenant in (await tenancy.list_tenants()).items] == ["acme", "globex"]


@pytest.mark.parametrize(
    "given", [{"name": ""}, {"name": " "}, {"name": "x" * 201}, {"settings": {"x": object()}}, {"settings": {1: 2}}]
)
async def test_what_cannot_be_stored_is_refused(on_sqlite: Tenancy, given: dict[str, object]) -> None:
    tenancy = on_sqlite
    with pytest.raises(InvalidTenantError):
        await tenancy.create_tenant("new", **given)
    with pytest.raises(InvalidTenantError):
        await tenancy.update_tenant("acme", **given)


async def test_pages_lead_from_one_to_the_next(on_sqlite: Tenancy) -> None:
    first = await on_sqlite.list_tenants(limit=1)
    second = await on_sqlite.list_tenants(limit=1, after=first.next)
    assert [page.items[0].identifier for page in (first, second)] == ["acme", "globex"]
    assert (first.next, second.next) == ("acme", None)
    with pytest.raises(ValueError, match="limit"):
        await on_sqlite.list_tenants(limit=0)


async def test_settings_are_read_only(on_sqlite: Tenancy) -> None:
    tenant = await on_sqlite.create_tenant("new", settings={"inner": {"list": [1]}})
    with pytest.raises(TypeError):
        tenant.settings["inner"]["list"] = []
    with pytest.raises(AttributeError):
        tenant.settings["inner"]["list"].append(2)


async def test_both_managers_serve_in_one_application(tmp_path: Path) -> None:
    tenancy = make_tenancy(tmp_path, manager_type="shared-profile")
    async with running(make_app(tenancy)) as client:
        await tenancy.create_tenant("small")
        await tenancy.create_tenant("large", manager_type="basic")
        for name in ("small", "large"):
            await client.post(f"/notes?text={name}", headers=named(name))
        for name in ("small", "large"):
            assert (await client.get("/notes", headers=named(name))).json() == {"tenant": name, "notes": [name]}
        assert len(list((tmp_path / "tenants").glob("*.db"))) == 1


async def test_a_changed_default_manager_does_not_show_an_empty_tenant(tmp_path: Path) -> None:
    async with make_tenancy(tmp_path, manager_type="basic") as tenancy:
        await tenancy.create_tenant("acme")
        await add_notes(tenancy, "acme", "in the file")
    async with make_tenancy(tmp_path, manager_type="shared-profile") as tenancy:
        with pytest.raises(Exception, match="restore manager_type"):
            await read_notes(tenancy, "acme")


async def test_a_request_under_way_leaves_no_rows_behind_a_dropped_tenant(tenancy: Tenancy) -> None:
    acme = await tenancy.get_tenant("acme")
    async with tenancy.use("acme") as profile:
        deletion = asyncio.create_task(tenancy.delete_tenant("acme", drop_data=True))
        while (await tenancy.store.get(acme.id)).status is not TenantStatus.DELETING:
            await asyncio.sleep(0)
        async with profile.transaction() as session:
            session.add(Note(text="at the last moment"))
    await deletion
    acme_again = replace(acme, namespace=tenancy.provider.for_tenant(acme).namespace(acme))
    await tenancy.provider.for_tenant(acme).create_tenant(acme_again)
    async with tenancy.lease(acme_again) as profile, profile.session() as session:
        assert list(await session.scalars(select(Note))) == []


async def test_a_shared_tenant_cannot_have_a_database_of_its_own(tmp_path: Path) -> None:
    async with make_tenancy(tmp_path) as tenancy:
        with pytest.raises(ConfigurationError, match="leave out the tenant's database_url"):
            await tenancy.create_tenant("acme", manager_type="shared-profile", database_url="sqlite:///own.db")
        assert (await tenancy.list_tenants()).items == []


async def test_a_change_of_the_working_directory_moves_nothing(
    tmp_path: Path, manager_type: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path)
    tenancy = make_tenancy(Path("data"), manager_type=manager_type)
    monkeypatch.chdir(tmp_path / "elsewhere")
    async with tenancy:
        await tenancy.create_tenant("acme")
        await add_notes(tenancy, "acme", "x")
    assert not list((tmp_path / "elsewhere").iterdir())
