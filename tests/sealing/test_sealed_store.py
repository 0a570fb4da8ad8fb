"""The store keeps database URLs and secret settings sealed, and gives them back in plain."""

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest
from sealing.sealing_support import (
    NEW,
    OLD,
    SETTINGS,
    on_row,
    sealer_of,
    sealing_store,
    sealing_tenancy,
    stored,
)
from support import add_notes, make_app, make_tenancy, named, read_notes, running

from fastapi_tenancy import (
    ConfigurationError,
    InMemoryTenantStore,
    InvalidTenantError,
    SealError,
    SQLAlchemyTenantStore,
    TenantStore,
)
from fastapi_tenancy.testing import TenantStoreContract, tenant_named


class TestSealedTenantStore(TenantStoreContract):
    """The contract, where everything that can be secret is."""

    @pytest.fixture
    async def store(self) -> AsyncIterator[TenantStore]:
        made = sealing_store("sqlite://", NEW, secret_settings=("plan", "limits.notes", "flags"))
        await made.open()
        yield made
        await made.close()


async def test_a_sealed_tenant_is_served_and_the_store_shows_no_secret(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/own.db"
    async with sealing_tenancy(tmp_path, NEW) as tenancy:
        created = await tenancy.create_tenant("acme", settings=SETTINGS, database_url=url)
        await add_notes(tenancy, "acme", "works")
        assert not any(secret in stored(tmp_path) for secret in (b"hunter", b"sqlite:///"))
        assert b"mail" in stored(tmp_path)
    async with sealing_tenancy(tmp_path, NEW) as tenancy:
        assert await tenancy.get_tenant("acme") == created
        assert (created.settings, created.database_url) == (SETTINGS, url)
        assert await read_notes(tenancy, "acme") == ["works"]


async def test_a_change_of_settings_is_sealed_too(tmp_path: Path) -> None:
    async with sealing_tenancy(tmp_path, NEW) as tenancy:
        await tenancy.create_tenant("acme")
        updated = await tenancy.update_tenant("acme", settings=SETTINGS)
        assert updated.settings == (await tenancy.get_tenant("acme")).settings == SETTINGS
    assert b"hunter" not in stored(tmp_path)


async def test_default_settings_are_overlaid_by_what_was_sealed(tmp_path: Path) -> None:
    defaults = {"api_key": "everybody's", "plan": "free"}
    async with sealing_tenancy(tmp_path, NEW, default_settings=defaults) as tenancy:
        await tenancy.create_tenant("acme", settings={"api_key": "hunter2"})
        await tenancy.create_tenant("globex")
        for identifier, key in (("acme", "hunter2"), ("globex", "everybody's")):
            async with tenancy.use(identifier) as profile:
                assert dict(profile.settings) == {"api_key": key, "plan": "free"}
    assert b"everybody" not in stored(tmp_path)


async def test_what_is_kept_of_a_deleted_tenant_is_sealed_too(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/hunter.db"
    async with sealing_tenancy(tmp_path, NEW) as tenancy:
        await tenancy.create_tenant("acme", database_url=url)
        await tenancy.delete_tenant("acme")
        (kept,) = await tenancy.retained_namespaces()
        assert kept.database_url == url
        assert "hunter" not in repr(kept).replace(str(kept.namespace), "")


async def test_rows_from_before_there_were_keys_are_read_and_sealed_at_their_next_write(tmp_path: Path) -> None:
    async with sealing_tenancy(tmp_path) as tenancy:
        acme = await tenancy.create_tenant("acme", settings=SETTINGS)
    assert b"hunter" in stored(tmp_path)
    async with sealing_tenancy(tmp_path, NEW) as tenancy:
        assert await tenancy.get_tenant("acme") == acme
        await tenancy.update_tenant("acme", name="Acme Inc")
    with pytest.raises(SealError, match="set encryption_keys"):
        async with sealing_tenancy(tmp_path) as tenancy:
            await tenancy.get_tenant("acme")


async def test_a_setting_that_is_no_longer_secret_can_still_be_read(tmp_path: Path) -> None:
    async with sealing_tenancy(tmp_path, NEW) as tenancy:
        await tenancy.create_tenant("acme", settings=SETTINGS)
    async with sealing_tenancy(tmp_path, NEW, secret_settings=()) as tenancy:
        assert (await tenancy.get_tenant("acme")).settings == SETTINGS


async def test_a_tenant_whose_key_is_not_listed_is_refused_alone_and_lists_still_work(tmp_path: Path) -> None:
    async with sealing_tenancy(tmp_path, OLD) as tenancy:
        await tenancy.create_tenant("acme", settings=SETTINGS)
    tenancy = sealing_tenancy(tmp_path, NEW)
    async with running(make_app(tenancy)) as client:
        await tenancy.create_tenant("globex", settings=SETTINGS)
        answers = [await client.get("/whoami", headers=named(name)) for name in ("acme", "globex")]
        assert [answer.status_code for answer in answers] == [503, 200]
        assert answers[0].json() == {"detail": "The tenant is temporarily unavailable."}
        with pytest.raises(SealError, match="which is not listed"):
            await tenancy.update_tenant("acme", settings={})
        acme, globex = (await tenancy.list_tenants()).items
        assert (acme.identifier, globex.settings) == ("acme", SETTINGS)
        with pytest.raises(InvalidTenantError, match="sealed"):  # else the secret would be lost
            await tenancy.store.save(acme)
    async with sealing_tenancy(tmp_path, NEW, OLD) as tenancy:
        assert (await tenancy.get_tenant("acme")).settings == SETTINGS


async def test_what_is_sealed_for_one_tenant_opens_in_no_other_row(tmp_path: Path) -> None:
    async with sealing_tenancy(tmp_path, NEW) as tenancy:
        for name in ("acme", "globex"):
            await tenancy.create_tenant(name, settings=SETTINGS, database_url=f"sqlite:///{tmp_path}/{name}.db")
    of_globex = "(SELECT {0} FROM tenancy_tenants WHERE identifier = 'globex')"
    for column in ("database_url", "settings"):
        on_row(tmp_path, f"UPDATE tenancy_tenants SET {column} = {of_globex.format(column)}")
        async with sealing_tenancy(tmp_path, NEW) as tenancy:
            with pytest.raises(SealError, match="another tenant"):
                await tenancy.get_tenant("acme")


@pytest.mark.parametrize(
    "change", [{"settings": {"$sealed": "x"}}, {"database_url": sealer_of(NEW).seal(b"sqlite:///x.db", "acme", "x")}]
)
async def test_what_looks_sealed_is_not_taken_for_plain(tmp_path: Path, change: dict[str, str]) -> None:
    store = sealing_store(f"sqlite:///{tmp_path}/tenancy.db")
    await store.open()
    acme = tenant_named("acme")
    await store.add(acme)
    with pytest.raises(InvalidTenantError, match="sealed"):
        await store.save(replace(acme, **change))
    await store.close()


def test_secret_settings_need_a_key(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="set encryption_keys"):
        make_tenancy(tmp_path, secret_settings=["api_key"])


def test_a_store_that_would_keep_secrets_in_plain_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="sealer="):
        sealing_tenancy(tmp_path, NEW, store=SQLAlchemyTenantStore("sqlite://"))


def test_a_store_that_seals_or_keeps_nothing_at_rest_is_taken(tmp_path: Path) -> None:
    for store in (InMemoryTenantStore(), sealing_store("sqlite://", NEW)):
        assert sealing_tenancy(tmp_path, NEW, store=store).store is store
