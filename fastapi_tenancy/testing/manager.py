"""What every multitenant manager promises: tenants never meet, and nothing is lost."""

# ruff: noqa: S101 - assert is how pytest works

import asyncio
from contextlib import suppress
from dataclasses import replace

import pytest
from sqlalchemy import String, select
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from ..multitenant import BaseMultitenantManager, Profile, TenantScoped
from ..tenancy import Tenancy
from ..tenant import Tenant
from .base import AsyncioContract
from .readers import until


class Base(DeclarativeBase):
    """Of the tables that the contract's tenants have."""


class Note(TenantScoped, Base):
    """What the contract writes; `Note.metadata` is for `Tenancy(metadata=…)`."""

    __tablename__ = "contract_notes"

    id: Mapped[int] = mapped_column(primary_key=True)
    text: Mapped[str] = mapped_column(String(200))


class ManagerContract(AsyncioContract):
    """Proves a `BaseMultitenantManager`; give a fixture `tenancy`.

    It yields an open `Tenancy` without tenants, with your manager as its `manager_type` and `Note.metadata` as its
    `metadata`. Under `profile_cache_size=2` the tests also prove what happens as profiles make room for others.
    """

    @pytest.fixture
    def tenancy(self) -> Tenancy:
        raise NotImplementedError(f"{type(self).__name__} needs a fixture tenancy() that yields an open Tenancy")

    async def test_tenants_do_not_see_each_others_rows(self, tenancy: Tenancy) -> None:
        for name in ("acme", "globex", "initech"):
            await tenancy.create_tenant(name)
            await write(tenancy, name, f"of {name}")
        for name in ("acme", "globex", "initech"):
            assert await read(tenancy, name) == [f"of {name}"]
            async with tenancy.use(name) as profile, profile.transaction() as session:
                assert list(await session.scalars(select(Note.text))) == [f"of {name}"]

    async def test_tenants_that_are_used_at_once_do_not_see_each_others_rows(self, tenancy: Tenancy) -> None:
        for name in ("acme", "globex"):
            await tenancy.create_tenant(name)
            await write(tenancy, name, f"of {name}")
        async with (
            tenancy.use("acme") as acme,
            tenancy.use("globex") as globex,
            acme.session() as one,
            globex.session() as other,
        ):
            assert list(await one.scalars(select(Note.text))) == ["of acme"]
            assert list(await other.scalars(select(Note.text))) == ["of globex"]

    async def test_a_key_that_two_tenants_have_gives_each_its_own_row(self, tenancy: Tenancy) -> None:
        keys = {}
        for name in ("acme", "globex"):
            await tenancy.create_tenant(name)
            async with tenancy.use(name) as profile, profile.transaction() as session:
                note = Note(text=f"of {name}")
                session.add(note)
                await session.flush()
                keys[name] = note.id
        for key in keys.values():
            async with tenancy.use("acme") as profile, profile.session() as session:
                found = await session.get(Note, key)
                assert found is None or found.text == "of acme"

    async def test_what_is_not_committed_is_not_kept(self, tenancy: Tenancy) -> None:
        await tenancy.create_tenant("acme")
        async with tenancy.use("acme") as profile:
            async with profile.session() as session:
                session.add(Note(text="never committed"))
                await session.flush()
            with suppress(ZeroDivisionError):
                async with profile.transaction() as session:
                    session.add(Note(text="rolled back"))
                    await session.flush()
                    raise ZeroDivisionError
        assert await read(tenancy, "acme") == []

    async def test_fifty_uses_at_once_keep_rows_apart(self, tenancy: Tenancy) -> None:
        tenants = [await tenancy.create_tenant(name) for name in ("a", "b", "c", "d", "e")]

        async def work(number: int) -> None:
            tenant = tenants[number % 5]
            await write(tenancy, tenant.identifier, f"{tenant.identifier} {number}")
            assert all(text.startswith(tenant.identifier) for text in await texts(tenancy, tenant))
            if number % 3 == 0:
                await manager_of(tenancy).update_tenant(tenant)

        await asyncio.gather(*(work(number) for number in range(50)))
        for first, tenant in enumerate(tenants):
            expected = [f"{tenant.identifier} {number}" for number in range(first, 50, 5)]
            assert sorted(await texts(tenancy, tenant)) == sorted(expected)

    async def test_a_rename_moves_nothing_and_the_next_bearer_of_the_name_starts_empty(self, tenancy: Tenancy) -> None:
        await tenancy.create_tenant("acme")
        await write(tenancy, "acme", "of the first")
        await tenancy.update_tenant("acme", identifier="first")
        await tenancy.create_tenant("acme")
        assert await read(tenancy, "acme") == []
        assert await read(tenancy, "first") == ["of the first"]

    @pytest.mark.parametrize("drop_data", [True, False])
    async def test_a_deleted_tenants_successor_starts_empty(self, tenancy: Tenancy, drop_data: bool) -> None:
        await tenancy.create_tenant("globex")
        await write(tenancy, "globex", "stays")
        for _ in range(2):
            await tenancy.create_tenant("acme")
            assert await read(tenancy, "acme") == []
            await write(tenancy, "acme", "of the first")
            await tenancy.delete_tenant("acme", drop_data=drop_data)
        assert await read(tenancy, "globex") == ["stays"]

    async def test_data_is_dropped_only_when_told(self, tenancy: Tenancy) -> None:
        for name in ("kept", "dropped"):
            await tenancy.create_tenant(name)
            await write(tenancy, name, "text")
        kept, dropped = [await tenancy.get_tenant(name) for name in ("kept", "dropped")]
        await tenancy.delete_tenant("kept")
        await tenancy.delete_tenant("dropped", drop_data=True)
        assert await texts(tenancy, kept) == ["text"]
        await manager_of(tenancy).create_tenant(dropped)
        assert await texts(tenancy, dropped) == []

    async def test_creating_again_what_is_there_keeps_its_rows(self, tenancy: Tenancy) -> None:
        acme = await tenancy.create_tenant("acme")
        await write(tenancy, "acme", "kept")
        await manager_of(tenancy).create_tenant(acme)
        assert await read(tenancy, "acme") == ["kept"]

    async def test_dropping_again_what_is_gone_or_never_was_there_does_nothing(self, tenancy: Tenancy) -> None:
        await tenancy.create_tenant("globex")
        await write(tenancy, "globex", "stays")
        acme = await tenancy.create_tenant("acme")
        await tenancy.delete_tenant("acme", drop_data=True)
        never = replace(acme, id="0" * 32, identifier="never")
        never = replace(never, namespace=manager_of(tenancy).namespace(replace(never, namespace=None)))
        for tenant in (acme, acme, never):
            await manager_of(tenancy).drop_tenant(tenant)
        assert await read(tenancy, "globex") == ["stays"]

    async def test_identifiers_names_and_settings_are_as_free_as_the_library_says(self, tenancy: Tenancy) -> None:
        for identifier in ("a", "7", "a-1", "select", "default", "x" * 63):
            settings = {"quote": "'\"`;--", "none": None, "deep": {"list": [1, 2.5, True]}}
            await tenancy.create_tenant(identifier, name="Ünïcode 'n\" \\ {id} 株式会社", settings=settings)
            await write(tenancy, identifier, identifier)
            assert await read(tenancy, identifier) == [identifier]

    async def test_namespaces_are_unique_and_do_not_change(self, tenancy: Tenancy) -> None:
        manager = manager_of(tenancy)
        tenants = [await tenancy.create_tenant(name) for name in ("acme", "globex", "initech")]
        assert [manager.namespace(tenant) for tenant in tenants] == [tenant.namespace for tenant in tenants]
        assert len({tenant.namespace for tenant in tenants}) == 3
        renamed = await tenancy.update_tenant("acme", identifier="acme-inc", name="Acme", settings={"plan": "pro"})
        suspended = await tenancy.suspend_tenant("globex")
        assert manager.namespace(renamed) == tenants[0].namespace
        assert manager.namespace(suspended) == tenants[1].namespace

    async def test_a_leased_profile_is_closed_when_its_last_lease_has_ended(self, tenancy: Tenancy) -> None:
        acme = await tenancy.create_tenant("acme")
        manager = manager_of(tenancy)
        async with tenancy.use("acme") as profile:
            async with tenancy.lease(acme) as same:
                assert same is profile
                await tenancy.update_tenant("acme", settings={"plan": "pro"})
                await tenancy.suspend_tenant("acme")
                await manager.remove_tenant_profile(profile)
                await manager.close_idle()
            async with profile.transaction() as session:
                session.add(Note(text="written during it"))
            assert not profile.closed
        await until(lambda: profile.closed)
        await tenancy.activate_tenant("acme")
        assert await read(tenancy, "acme") == ["written during it"]

    async def test_a_leased_profile_is_not_closed_to_make_room(self, tenancy: Tenancy) -> None:
        await tenancy.create_tenant("acme")
        async with tenancy.use("acme") as profile, profile.session() as session:
            for name in ("b", "c", "d"):
                await tenancy.create_tenant(name)
                await write(tenancy, name, f"of {name}")
            assert not profile.closed
            assert list(await session.scalars(select(Note.text))) == []
        for name in ("b", "c", "d"):
            assert await read(tenancy, name) == [f"of {name}"]

    async def test_a_tenant_that_is_asked_for_at_once_is_opened_once(self, tenancy: Tenancy) -> None:
        acme = await tenancy.create_tenant("acme")

        async def leased() -> Profile:
            async with tenancy.lease(acme) as profile:
                return profile

        assert len(set(await asyncio.gather(*(leased() for _ in range(20))))) == 1

    async def test_the_next_lease_sees_a_change(self, tenancy: Tenancy) -> None:
        await tenancy.create_tenant("acme", settings={"plan": "free"})
        async with tenancy.use("acme") as before:
            await tenancy.update_tenant("acme", name="Acme Inc", settings={"plan": "pro"})
            async with tenancy.use("acme") as after:
                assert (after.settings["plan"], after.tenant.name) == ("pro", "Acme Inc")
            assert before.settings["plan"] == "free"

    async def test_settings_are_laid_over_the_deployments(self, tenancy: Tenancy) -> None:
        acme = await tenancy.create_tenant("acme", settings={"plan": "pro"})
        async with tenancy.lease(acme) as profile:
            assert dict(profile.settings) == {**tenancy.settings.default_settings, "plan": "pro"}
        extra = await manager_of(tenancy).get_tenant_profile(acme, {"plan": "trial"}, provision=True)
        assert extra.settings["plan"] == "trial"


def manager_of(tenancy: Tenancy) -> BaseMultitenantManager:
    return tenancy.provider.provide({})


async def write(tenancy: Tenancy, identifier: str, text: str) -> None:
    async with tenancy.use(identifier) as profile, profile.transaction() as session:
        session.add(Note(text=text))


async def read(tenancy: Tenancy, identifier: str) -> list[str]:
    return await texts(tenancy, await tenancy.get_tenant(identifier))


async def texts(tenancy: Tenancy, tenant: Tenant) -> list[str]:
    async with tenancy.lease(tenant) as profile, profile.session() as session:
        return list(await session.scalars(select(Note.text).order_by(Note.id)))
