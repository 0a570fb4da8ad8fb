"""What every store that keeps the moves of tenants promises."""

# ruff: noqa: S101 - assert is how pytest works

from dataclasses import replace
from typing import Any, Protocol

import pytest

from ..errors import NamespaceExistsError, TenantConflictError
from ..store import AuditStore, MoveRecord, MoveStore, TenantStore
from ..tenant import Tenant, TenantStatus
from .audit_store import entry_of
from .base import AsyncioContract
from .tenants import MOMENT, tenant_named


class MovingStore(TenantStore, MoveStore, AuditStore, Protocol):
    """All at once: a move is of a tenant, and has entries."""


class MoveStoreContract(AsyncioContract):
    """Proves a `MoveStore`; give a fixture `store` that opens an empty store and closes it after the test."""

    @pytest.fixture
    def store(self) -> MovingStore:
        raise NotImplementedError(f"{type(self).__name__} needs a fixture store() that gives the store to be proven")

    @pytest.fixture
    async def acme(self, store: MovingStore) -> Tenant:
        acme = tenant_named("acme", namespace="row/acme")
        await store.add(acme)
        return acme

    async def test_a_move_is_found_unchanged(self, store: MovingStore, acme: Tenant) -> None:
        move = move_of(acme, details={"rows": {"notes": 3}})
        await store.begin_move(move)
        assert await store.get_move(acme.id) == move
        assert await store.list_moves() == [move]

    async def test_a_tenant_has_one_move_at_a_time(self, store: MovingStore, acme: Tenant) -> None:
        await store.begin_move(move_of(acme))
        with pytest.raises(TenantConflictError):
            await store.begin_move(move_of(acme, namespace="elsewhere"))

    async def test_no_move_goes_where_a_tenant_or_another_move_is(self, store: MovingStore, acme: Tenant) -> None:
        globex = tenant_named("globex", namespace="row/globex")
        await store.add(globex)
        await store.begin_move(move_of(acme))
        for taken in ("basic/acme", "row/acme"):
            with pytest.raises(NamespaceExistsError):
                await store.begin_move(move_of(globex, namespace=taken))

    async def test_details_can_be_noted(self, store: MovingStore, acme: Tenant) -> None:
        await store.begin_move(move_of(acme))
        await store.note_move(move_of(acme, details={"read_only_since": "now"}))
        found = await store.get_move(acme.id)
        assert found is not None
        assert found.details == {"read_only_since": "now"}

    async def test_the_places_are_exchanged_at_once_with_the_entries(self, store: MovingStore, acme: Tenant) -> None:
        await store.begin_move(move_of(acme))
        renamed = await store.save(replace(acme, name="renamed meanwhile"))
        there, left = flipped(acme)
        saved = await store.flip_move(there, left, audit=[entry_of(acme, action="moved")])
        assert saved == replace(
            renamed,
            namespace="basic/acme",
            manager_type="basic",
            database_url="sqlite:///acme.db",
            version=renamed.version + 1,
        )
        assert await store.get(acme.id) == saved
        assert await store.get_move(acme.id) == left
        assert [each.action for each in await store.list_audit(10)] == ["moved"]

    async def test_a_tenant_that_is_not_where_it_was_stays_where_it_is(self, store: MovingStore, acme: Tenant) -> None:
        there, left = flipped(acme)
        with pytest.raises(TenantConflictError):
            await store.flip_move(there, left)
        await store.begin_move(move_of(acme))
        with pytest.raises(TenantConflictError):
            await store.flip_move(there, replace(left, namespace="row/other"), audit=[entry_of(acme)])
        await store.save(replace(acme, status=TenantStatus.DELETING))
        with pytest.raises(TenantConflictError):
            await store.flip_move(there, left, audit=[entry_of(acme)])
        found = await store.get(acme.id)
        assert found is not None
        assert found.namespace == "row/acme"
        assert await store.list_audit(10) == []

    async def test_a_move_is_forgotten_in_the_phase_that_was_meant(self, store: MovingStore, acme: Tenant) -> None:
        move = move_of(acme)
        await store.begin_move(move)
        assert not await store.end_move(replace(move, phase="moved"))
        assert await store.end_move(move)
        assert not await store.end_move(move)
        assert await store.get_move(acme.id) is None

    async def test_a_move_goes_with_its_tenant(self, store: MovingStore, acme: Tenant) -> None:
        await store.begin_move(move_of(acme))
        await store.remove(acme, keep_namespace=False)
        assert await store.get_move(acme.id) is None
        assert await store.list_moves() == []


def move_of(tenant: Tenant, **given: Any) -> MoveRecord:
    values: dict[str, Any] = {
        "tenant_id": tenant.id,
        "phase": "copying",
        "manager_type": "basic",
        "database_url": "sqlite:///acme.db",
        "namespace": "basic/acme",
        "details": {},
        "started_at": MOMENT,
        "updated_at": MOMENT,
    }
    return MoveRecord(**{**values, **given})


def flipped(tenant: Tenant) -> tuple[Tenant, MoveRecord]:
    """The tenant in its new place, and the move with the old one."""
    move = move_of(tenant)
    there = replace(tenant, namespace=move.namespace, manager_type=move.manager_type, database_url=move.database_url)
    left = move_of(
        tenant,
        phase="moved",
        details={"rows": 3},
        namespace=tenant.namespace,
        manager_type=tenant.manager_type,
        database_url=tenant.database_url,
    )
    return there, left
