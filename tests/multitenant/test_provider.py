"""The provider makes each manager once, the built-in ones and one's own."""

from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select
from support import Note, add_notes, make_app, make_tenancy, named, running

from fastapi_tenancy import Profile, Tenant, TenantKeyMissingError, TenantUnavailableError
from fastapi_tenancy.multitenant import BaseMultitenantManager
from fastapi_tenancy.multitenant.error import MultitenantManagerError, WalletKeyMissingError
from fastapi_tenancy.multitenant.manager import MultitenantManager


class CountingManager(MultitenantManager):
    """One's own manager: the basic one, that counts the tenants it has created."""

    created = 0

    async def create_tenant(self, tenant: Tenant) -> None:
        await super().create_tenant(tenant)
        type(self).created += 1


class MinimalManager(BaseMultitenantManager):
    """The least that a manager has to write."""

    def namespace(self, tenant: Tenant) -> str:
        return f"nowhere/{tenant.id}"

    async def create_tenant(self, tenant: Tenant) -> None: ...

    async def drop_tenant(self, tenant: Tenant) -> None: ...

    async def open_profile(self, tenant: Tenant) -> Profile:
        return Profile(tenant, {"plan": "none"}, lambda: pytest.fail("it has no sessions"))


async def test_a_manager_of_ones_own_is_found_by_its_dotted_path(tmp_path: Path) -> None:
    path = f"{CountingManager.__module__}.CountingManager"
    async with make_tenancy(tmp_path, manager_type=path) as tenancy:
        await tenancy.create_tenant("acme")
        await add_notes(tenancy, "acme", "x")
    assert CountingManager.created == 1


async def test_a_minimal_manager_serves_requests(tmp_path: Path) -> None:
    path = f"{MinimalManager.__module__}.MinimalManager"
    tenancy = make_tenancy(tmp_path, manager_type=path)
    async with running(make_app(tenancy)) as client:
        await tenancy.create_tenant("acme")
        assert (await client.get("/whoami", headers=named("acme"))).json() == {"tenant": "acme"}
        async with tenancy.use("acme") as profile:
            assert profile.settings == {"plan": "none"}


async def test_each_type_has_one_instance(tmp_path: Path) -> None:
    async with make_tenancy(tmp_path) as tenancy:
        basic = tenancy.provider.provide({"manager_type": "basic"})
        assert tenancy.provider.provide({}) is basic
        assert tenancy.provider.provide(tenancy.settings) is basic
        assert tenancy.provider.provide({"manager_type": "Basic"}) is basic
        assert tenancy.provider.provide({"manager_type": "shared-profile"}) is not basic
        assert len(tenancy.provider.managers) == 2


async def test_a_profile_is_had_without_a_lease_and_with_extra_settings(tmp_path: Path, place: dict[str, Any]) -> None:
    async with make_tenancy(tmp_path, **place, default_settings={"plan": "free"}) as tenancy:
        acme = await tenancy.create_tenant("acme", settings={"seats": 1})
        manager = tenancy.provider.for_tenant(acme)
        profile = await manager.get_tenant_profile(acme, {"seats": 9})
        assert dict(profile.settings) == {"plan": "free", "seats": 9}
        async with profile.session() as session:
            assert list(await session.scalars(select(Note))) == []
        assert {each.tenant.id for each in manager.open_profiles} <= {acme.id}


async def test_a_profile_that_was_closed_says_how_to_keep_it_open(tmp_path: Path) -> None:
    async with make_tenancy(tmp_path) as tenancy:
        acme = await tenancy.create_tenant("acme")
        manager = tenancy.provider.for_tenant(acme)
        profile = await manager.get_tenant_profile(acme, {"view": True})
        await manager.remove_tenant(acme, drop_data=False)
        with pytest.raises(TenantUnavailableError, match=r"tenancy\.use"):
            async with profile.session():
                pass


async def test_a_tenant_can_be_provisioned_by_opening_it(tmp_path: Path, place: dict[str, Any]) -> None:
    async with make_tenancy(tmp_path, **place) as tenancy:
        acme = await tenancy.create_tenant("acme")
        manager = tenancy.provider.for_tenant(acme)
        await manager.remove_tenant(acme, drop_data=True)
        profile = await manager.get_tenant_profile(acme, provision=True)
        async with profile.transaction() as session:
            session.add(Note(text="again"))


def test_the_ancestors_names_are_kept() -> None:
    assert WalletKeyMissingError is TenantKeyMissingError
    assert issubclass(TenantKeyMissingError, MultitenantManagerError)


async def test_a_request_counts_once_in_the_stats(tmp_path: Path) -> None:
    async with make_tenancy(tmp_path) as tenancy:
        await tenancy.create_tenant("acme")
        for _ in range(3):
            async with tenancy.use("acme"):
                pass
        stats = tenancy.stats()["managers"]["MultitenantManager"]
        assert (stats["hits"], stats["misses"]) == (2, 1)


async def test_a_change_retires_the_profile_and_lets_those_who_hold_it_finish(tmp_path: Path) -> None:
    async with make_tenancy(tmp_path, default_settings={"plan": "free"}) as tenancy:
        await tenancy.create_tenant("acme")
        async with tenancy.use("acme") as before:
            await tenancy.update_tenant("acme", settings={"plan": "pro"})
            async with tenancy.use("acme") as after, before.session() as session:
                assert list(await session.scalars(select(Note))) == []
                assert (before.settings["plan"], after.settings["plan"]) == ("free", "pro")
            assert not before.closed
        assert before.closed


async def test_a_profile_that_another_worker_outdated_is_opened_anew(tmp_path: Path) -> None:
    async with make_tenancy(tmp_path) as tenancy, make_tenancy(tmp_path) as other:
        await tenancy.create_tenant("acme")
        async with tenancy.use("acme"):
            pass
        await other.update_tenant("acme", settings={"plan": "pro"})
        fresh = await tenancy.get_tenant("acme")
        async with tenancy.lease(fresh) as profile:
            assert profile.settings["plan"] == "pro"


async def test_open_connections_are_counted(tmp_path: Path, place: dict[str, Any]) -> None:
    async with make_tenancy(tmp_path, **place) as tenancy:
        acme = await tenancy.create_tenant("acme")
        manager = tenancy.provider.for_tenant(acme)
        async with tenancy.use("acme") as profile, profile.session() as one, profile.session() as two:
            await one.scalars(select(Note))
            await two.scalars(select(Note))
            own = 0 if place["manager_type"] == "basic" else 1  # for what concerns all tenants
            assert manager.stats()["connections"] == 2 + own
        await tenancy.delete_tenant("acme")
        assert manager.stats()["connections"] == (0 if place["manager_type"] == "basic" else 2 + own)
