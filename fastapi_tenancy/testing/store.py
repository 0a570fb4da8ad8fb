"""What every tenant store promises."""

# ruff: noqa: S101 - assert is how pytest works

import asyncio
from dataclasses import replace

import pytest

from ..errors import NamespaceExistsError, TenantConflictError, TenantExistsError, TenantNotFoundError
from ..store import TenantStore
from ..tenant import TenantStatus
from .base import AsyncioContract
from .tenants import tenant_named


class TenantStoreContract(AsyncioContract):
    """Proves a `TenantStore`; give a fixture `store` that opens an empty one and closes it after the test."""

    @pytest.fixture
    def store(self) -> TenantStore:
        raise NotImplementedError(f"{type(self).__name__} needs a fixture store() that gives the store to be proven")

    async def test_what_was_added_is_found_unchanged(self, store: TenantStore) -> None:
        acme = tenant_named(
            "acme",
            settings={"plan": "pro", "limits": {"notes": 3}, "flags": ["a", "b"], "none": None},
            manager_type="basic",
            database_url="sqlite:///x.db",
            namespace="n/1",
        )
        await store.add(acme)
        assert await store.get(acme.id) == acme
        assert await store.get_by_identifier("acme") == acme

    async def test_what_is_not_there_is_none(self, store: TenantStore) -> None:
        assert await store.get("0") is None
        assert await store.get_by_identifier("nobody") is None

    async def test_an_identifier_is_unique(self, store: TenantStore) -> None:
        await store.add(tenant_named("acme"))
        with pytest.raises(TenantExistsError):
            await store.add(tenant_named("acme"))

    async def test_of_many_that_take_one_identifier_at_once_one_wins(self, store: TenantStore) -> None:
        tenants = [tenant_named("acme") for _ in range(8)]
        ends = await asyncio.gather(*(store.add(tenant) for tenant in tenants), return_exceptions=True)
        assert sorted(type(end).__name__ for end in ends) == ["NoneType"] + ["TenantExistsError"] * 7
        assert await store.get_by_identifier("acme") == tenants[ends.index(None)]

    async def test_a_namespace_is_unique(self, store: TenantStore) -> None:
        await store.add(tenant_named("acme", namespace="here"))
        with pytest.raises(NamespaceExistsError):
            await store.add(tenant_named("globex", namespace="here"))

    async def test_a_rename_to_a_taken_identifier_is_refused(self, store: TenantStore) -> None:
        acme = tenant_named("acme")
        await store.add(acme)
        await store.add(tenant_named("globex"))
        with pytest.raises(TenantExistsError):
            await store.save(replace(acme, identifier="globex"))
        assert await store.get(acme.id) == acme

    async def test_a_renamed_tenant_is_found_by_its_new_identifier_only(self, store: TenantStore) -> None:
        acme = tenant_named("acme")
        await store.add(acme)
        renamed = await store.save(replace(acme, identifier="acme-inc"))
        assert await store.get_by_identifier("acme-inc") == renamed
        assert await store.get_by_identifier("acme") is None

    async def test_saving_counts_the_version_up(self, store: TenantStore) -> None:
        acme = tenant_named("acme")
        await store.add(acme)
        saved = await store.save(replace(acme, name="Acme"))
        assert (saved.version, saved.name) == (2, "Acme")
        assert await store.get(acme.id) == saved

    async def test_two_writers_cannot_overwrite_each_other(self, store: TenantStore) -> None:
        acme = tenant_named("acme")
        await store.add(acme)
        await store.save(replace(acme, name="first"))
        with pytest.raises(TenantConflictError):
            await store.save(replace(acme, name="second"))
        found = await store.get(acme.id)
        assert found is not None
        assert found.name == "first"

    async def test_of_many_that_save_one_version_at_once_one_wins(self, store: TenantStore) -> None:
        acme = tenant_named("acme")
        await store.add(acme)
        changes = [replace(acme, name=f"writer {number}") for number in range(8)]
        ends = await asyncio.gather(*(store.save(change) for change in changes), return_exceptions=True)
        assert sorted(type(end).__name__ for end in ends) == ["Tenant"] + ["TenantConflictError"] * 7
        assert await store.get(acme.id) in ends

    async def test_saving_what_is_gone_is_refused(self, store: TenantStore) -> None:
        with pytest.raises(TenantNotFoundError):
            await store.save(tenant_named("acme"))

    async def test_a_removed_tenants_identifier_and_namespace_are_free(self, store: TenantStore) -> None:
        acme = tenant_named("acme", namespace="here")
        await store.add(acme)
        await store.remove(acme, keep_namespace=False)
        await store.add(tenant_named("acme", namespace="here"))
        assert await store.retained() == []

    @pytest.mark.parametrize("keep_namespace", [True, False])
    async def test_a_tenant_is_removed_once(self, store: TenantStore, keep_namespace: bool) -> None:
        acme = tenant_named("acme", namespace="here")
        await store.add(acme)
        ends = await asyncio.gather(*(store.remove(acme, keep_namespace=keep_namespace) for _ in range(4)))
        assert sorted(ends) == [False] * 3 + [True]

    async def test_a_kept_namespace_is_never_given_to_anybody_else(self, store: TenantStore) -> None:
        acme = tenant_named("acme", namespace="here", database_url="sqlite:///x.db")
        await store.add(acme)
        await store.remove(acme, keep_namespace=True)
        assert await store.get_by_identifier("acme") is None
        assert await store.get(acme.id) is None
        await store.add(tenant_named("acme", namespace="there"))
        with pytest.raises(NamespaceExistsError):
            await store.add(tenant_named("globex", namespace="here"))
        kept = await store.retained()
        assert [(each.id, each.identifier, each.namespace, each.database_url) for each in kept] == [
            (acme.id, "acme", "here", "sqlite:///x.db")
        ]

    async def test_many_deleted_tenants_may_have_had_the_same_identifier(self, store: TenantStore) -> None:
        for number in range(3):
            again = tenant_named("acme", namespace=str(number))
            await store.add(again)
            await store.remove(again, keep_namespace=True)
        assert len(await store.retained()) == 3

    async def test_pages_join_to_the_whole_list_in_order(self, store: TenantStore) -> None:
        names = sorted(f"t{number:02}" for number in range(25))
        for name in reversed(names):
            await store.add(tenant_named(name))
        seen: list[str] = []
        while page := await store.page(10, seen[-1] if seen else None):
            seen += [each.identifier for each in page]
        assert seen == names

    async def test_a_page_can_be_of_one_status(self, store: TenantStore) -> None:
        await store.add(tenant_named("acme"))
        await store.add(tenant_named("globex", status=TenantStatus.SUSPENDED))
        assert [each.identifier for each in await store.page(10, None, TenantStatus.SUSPENDED)] == ["globex"]

    async def test_a_page_can_be_of_those_that_hold_a_text(self, store: TenantStore) -> None:
        names = {"acme": "Köln", "globex": "Hauptstraße", "initech": "σας \U0001f4bb", "stark": "Ström 100 %_\\/'"}
        for identifier, name in names.items():
            await store.add(tenant_named(identifier, name=name))
        expected = {
            "": ["acme", "globex", "initech", "stark"],
            "ACM": ["acme"],
            "ö": ["acme", "stark"],
            "STRÖM": ["stark"],
            "stro\u0308m": ["stark"],
            "strom": [],
            "strasse": ["globex"],
            "ΣΑΣ": ["initech"],
            "\U0001f4bb": ["initech"],
            **{special: ["stark"] for special in ("%", "_", "\\", "/", "'")},
            "\0": [],
            "e\nk": [],
        }
        found = {q: [each.identifier for each in await store.page(10, None, None, q)] for q in expected}
        assert found == expected

    async def test_pages_of_a_search_join_to_all_that_it_finds(self, store: TenantStore) -> None:
        for number in range(12):
            await store.add(tenant_named(f"t{number:02}", name="Even" if number % 2 == 0 else "odd"))
        first = [each.identifier for each in await store.page(4, None, TenantStatus.ACTIVE, "EVEN")]
        second = [each.identifier for each in await store.page(4, first[-1], TenantStatus.ACTIVE, "EVEN")]
        assert first + second == ["t00", "t02", "t04", "t06", "t08", "t10"]

    async def test_a_search_finds_a_tenant_by_what_it_is_called_now(self, store: TenantStore) -> None:
        acme = tenant_named("acme", name="before")
        await store.add(acme)
        await store.save(replace(acme, identifier="globex", name="afterwards"))
        assert await store.page(10, None, None, "before") == await store.page(10, None, None, "acme") == []
        assert [each.id for each in await store.page(10, None, None, "after")] == [acme.id]
