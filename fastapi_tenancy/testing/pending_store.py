"""What every store of tenants that were made ahead promises."""

# ruff: noqa: S101 - assert is how pytest works

import asyncio
from dataclasses import replace
from datetime import timedelta
from typing import Any, Protocol

import pytest

from ..audit import AuditEntry
from ..errors import TenantExistsError
from ..store import PendingStore, PendingTenant, TenantStore
from .base import AsyncioContract
from .tenants import MOMENT, tenant_named

RECIPE = "5" * 64


class TenantAndPendingStore(TenantStore, PendingStore, Protocol):
    """Both at once."""


def _pending(number: int, **given: Any) -> PendingTenant:
    values = {"manager_type": "basic", "recipe": RECIPE, "revision": "a1", "updated_at": MOMENT, **given}
    return PendingTenant(id=f"{number:032x}", namespace=f"basic/{number:032x}", **values)


async def _ready(store: PendingStore, *numbers: int, **given: Any) -> list[PendingTenant]:
    made = [_pending(number, is_ready=True, **given) for number in numbers]
    for each in made:
        assert await store.add_pending(each, 99)
    return made


class PendingStoreContract(AsyncioContract):
    """Proves a `PendingStore`; give a fixture `store` that opens an empty store and closes it after the test."""

    @pytest.fixture
    def store(self) -> TenantAndPendingStore:
        raise NotImplementedError(f"{type(self).__name__} needs a fixture store() that gives the store to be proven")

    async def test_what_is_added_is_listed(self, store: TenantAndPendingStore) -> None:
        made = [_pending(2), _pending(1, revision=None, manager_type=None), _pending(3, is_ready=True)]
        for each in made:
            assert await store.add_pending(each, 3)
        assert await store.list_pending() == sorted(made, key=lambda each: each.id)

    async def test_there_are_never_more_of_a_recipe_than_are_wanted(self, store: TenantAndPendingStore) -> None:
        added = await asyncio.gather(*(store.add_pending(_pending(number), 3) for number in range(8)))
        assert sum(added) == len(await store.list_pending()) <= 3
        while sum(added) < 3:  # of those that came at once, all may have given way
            added.append(await store.add_pending(_pending(len(added)), 3))
        assert not await store.add_pending(_pending(99), 3)
        assert await store.add_pending(_pending(99, recipe="6" * 64), 3)

    async def test_what_is_as_it_was_can_be_changed_and_forgotten(self, store: TenantAndPendingStore) -> None:
        making = _pending(1)
        await store.add_pending(making, 1)
        ready = replace(making, is_ready=True, updated_at=MOMENT + timedelta(microseconds=1), revision="b2")
        assert await store.change_pending(making, ready)
        assert await store.list_pending() == [ready]
        assert await store.remove_pending(ready)
        assert await store.list_pending() == []

    async def test_what_is_not_as_it_was_is_left_alone(self, store: TenantAndPendingStore) -> None:
        [ready] = await _ready(store, 1)
        for other in (replace(ready, is_ready=False), replace(ready, updated_at=MOMENT + timedelta(microseconds=1))):
            assert not await store.change_pending(other, replace(other, revision="lost"))
            assert not await store.remove_pending(other)
        assert await store.list_pending() == [ready]

    async def test_a_tenant_gets_the_id_and_the_place_of_one_that_is_ready(self, store: TenantAndPendingStore) -> None:
        [ready] = await _ready(store, 1)
        draft = tenant_named("acme")
        claimed = await store.claim_pending(draft, RECIPE)
        assert claimed == replace(draft, id=ready.id, namespace=ready.namespace, revision="a1")
        assert await store.get_by_identifier("acme") == claimed
        assert await store.list_pending() == []
        assert await store.claim_pending(tenant_named("globex"), RECIPE) is None
        assert await store.get_by_identifier("globex") is None

    async def test_only_what_is_ready_and_of_the_recipe_is_given(self, store: TenantAndPendingStore) -> None:
        others = [_pending(1), *await _ready(store, 2, recipe="6" * 64)]
        await store.add_pending(others[0], 99)
        assert await store.claim_pending(tenant_named("acme"), RECIPE) is None
        assert await store.list_pending() == others

    async def test_no_two_tenants_get_the_same(self, store: TenantAndPendingStore) -> None:
        ready = await _ready(store, *range(5))
        names = [f"tenant-{number}" for number in range(8)]
        claimed = await asyncio.gather(*(store.claim_pending(tenant_named(name), RECIPE) for name in names))
        given = [each for each in claimed if each is not None]
        assert sorted(each.id for each in given) == [each.id for each in ready]
        assert [(await store.get(each.id)) for each in given] == given
        assert await store.list_pending() == []

    async def test_a_taken_identifier_costs_no_place(self, store: TenantAndPendingStore) -> None:
        ready = await _ready(store, 1)
        await store.add(tenant_named("acme"))
        with pytest.raises(TenantExistsError):
            await store.claim_pending(tenant_named("acme"), RECIPE)
        assert await store.list_pending() == ready

    async def test_of_many_that_want_one_identifier_one_gets_a_place(self, store: TenantAndPendingStore) -> None:
        await _ready(store, *range(4))
        drafts = [tenant_named("acme") for _ in range(4)]
        outcomes = await asyncio.gather(
            *(store.claim_pending(draft, RECIPE) for draft in drafts), return_exceptions=True
        )
        assert sum(isinstance(each, TenantExistsError) for each in outcomes) == 3
        assert len(await store.list_pending()) == 3

    async def test_its_entries_are_written_with_it_and_name_its_id(self, store: TenantAndPendingStore) -> None:
        [ready] = await _ready(store, 1)
        draft = tenant_named("acme")
        entry = AuditEntry(
            action="created", at=MOMENT, actor="ops", tenant_id=draft.id, identifier="acme", details={"name": "Acme"}
        )
        await store.claim_pending(draft, RECIPE, audit=[entry])
        list_audit = getattr(store, "list_audit", None)  # a store need not keep the trail
        if list_audit is not None:
            assert [replace(each, id=None) for each in await list_audit(9)] == [replace(entry, tenant_id=ready.id)]
