"""What every store of a fleet promises."""

# ruff: noqa: S101 - assert is how pytest works

import asyncio
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest

from ..store import FleetStore, MigrationRecord
from ..tenant import Tenant, TenantStatus
from .base import AsyncioContract
from .tenants import MOMENT, tenant_named

_A_WHILE = timedelta(seconds=15)


async def _added(store: FleetStore, *identifiers: str, **given: Any) -> list[Tenant]:
    tenants = [tenant_named(identifier, **given) for identifier in identifiers]
    for tenant in tenants:
        await store.add(tenant)
    return tenants


async def _claim(store: FleetStore, tenants: list[Tenant], holder: str, now: datetime = MOMENT) -> set[str]:
    return set(await store.claim([tenant.id for tenant in tenants], "migration", holder, now, now + _A_WHILE))


async def _now(store: FleetStore, tenant: Tenant) -> Tenant:
    found = await store.get(tenant.id)
    assert found is not None
    return found


def _attempt(tenant: Tenant, run: str = "run", **given: Any) -> MigrationRecord:
    values = {"from_revision": None, "to_revision": "b", "started_at": MOMENT, **given}
    return MigrationRecord(run_id=run, tenant_id=tenant.id, **values)


class FleetStoreContract(AsyncioContract):
    """Proves a `FleetStore`; give a fixture `store` that opens an empty store and closes it after the test."""

    @pytest.fixture
    def store(self) -> FleetStore:
        raise NotImplementedError(f"{type(self).__name__} needs a fixture store() that gives the store to be proven")

    async def test_the_pages_of_a_fleet_miss_nobody_whose_status_or_name_changes(self, store: FleetStore) -> None:
        tenants = await _added(store, *"abcdef")
        for tenant, status in zip(tenants, TenantStatus, strict=False):
            await store.save(replace(tenant, status=status))
        found: list[Tenant] = []
        while page := await store.fleet(2, found[-1].id if found else None):
            found += page
            for tenant in await store.page(10):
                await store.save(replace(tenant, identifier=f"{tenant.identifier}x", status=TenantStatus.SUSPENDED))
        assert [each.id for each in found] == sorted(tenant.id for tenant in tenants)

    async def test_whoever_is_gone_is_not_in_the_fleet(self, store: FleetStore) -> None:
        acme, globex, initech = await _added(store, "acme", "globex", "initech")
        await store.remove(acme, keep_namespace=True)
        await store.remove(globex, keep_namespace=False)
        assert await store.fleet(10) == [initech]

    async def test_a_lease_is_held_by_one(self, store: FleetStore) -> None:
        acme, globex = await _added(store, "acme", "globex")
        assert await _claim(store, [acme], "first") == {acme.id}
        assert await _claim(store, [acme, globex], "second") == {globex.id}
        current = await _now(store, acme)
        assert (current.work, current.work_until) == ("migration", MOMENT + _A_WHILE)

    async def test_of_many_that_claim_at_once_one_gets_each(self, store: FleetStore) -> None:
        tenants = await _added(store, *"abcd")
        got = await asyncio.gather(*(_claim(store, tenants, f"holder {number}") for number in range(6)))
        assert sorted(each for ids in got for each in ids) == sorted(tenant.id for tenant in tenants)

    async def test_a_lease_that_expired_can_be_taken_and_one_that_was_renewed_cannot(self, store: FleetStore) -> None:
        acme, globex = await _added(store, "acme", "globex")
        await _claim(store, [acme, globex], "first")
        await store.renew([acme.id], "first", MOMENT + 2 * _A_WHILE)
        await store.renew([globex.id], "another", MOMENT + 2 * _A_WHILE)
        assert await _claim(store, [acme, globex], "second", MOMENT + _A_WHILE) == {globex.id}

    async def test_only_the_holder_releases(self, store: FleetStore) -> None:
        (acme,) = await _added(store, "acme")
        await _claim(store, [acme], "first")
        await store.release([acme.id], "second")
        assert (await _now(store, acme)).work == "migration"
        await store.release([acme.id], "first")
        assert await _now(store, acme) == acme

    @pytest.mark.parametrize("status", [TenantStatus.PROVISIONING, TenantStatus.DELETING])
    async def test_whoever_comes_or_goes_cannot_be_claimed(self, store: FleetStore, status: TenantStatus) -> None:
        assert await _claim(store, await _added(store, "acme", status=status), "first") == set()

    async def test_a_change_of_a_tenant_leaves_its_lease_alone(self, store: FleetStore) -> None:
        (acme,) = await _added(store, "acme")
        await _claim(store, [acme], "first")
        await store.save(replace(acme, status=TenantStatus.SUSPENDED))
        assert await _claim(store, [acme], "second") == set()
        await store.release([acme.id], "first")
        assert (await _now(store, acme)).status is TenantStatus.SUSPENDED

    async def test_what_is_recorded_of_a_revision_is_a_new_version(self, store: FleetStore) -> None:
        acme, globex = await _added(store, "acme", "globex", revision="a")
        changed = await store.save(replace(globex, name="Globex"))
        await store.record_revisions({acme: "b", globex: "b"})
        current = await _now(store, acme)
        assert (current.revision, current.version) == ("b", acme.version + 1)
        assert await _now(store, globex) == changed

    async def test_the_end_of_a_migration_is_written_at_once(self, store: FleetStore) -> None:
        acme, globex = await _added(store, "acme", "globex")
        await _claim(store, [acme, globex], "run")
        attempts = [_attempt(acme), _attempt(globex)]
        await store.begin_migrations(attempts)
        assert await store.last_migrations() == {acme.id: attempts[0], globex.id: attempts[1]}
        await store.end_migrations([acme.id], "run", "b", MOMENT + _A_WHILE)
        migrated = replace(acme, revision="b", version=acme.version + 1)
        assert await _now(store, acme) == migrated
        assert await store.last_migrations(acme.id) == {acme.id: replace(attempts[0], finished_at=MOMENT + _A_WHILE)}
        assert await store.last_migrations(globex.id) == {globex.id: attempts[1]}

    async def test_whoever_lost_the_lease_records_nothing_of_the_tenant(self, store: FleetStore) -> None:
        (acme,) = await _added(store, "acme")
        await _claim(store, [acme], "first")
        await store.begin_migrations([_attempt(acme, "first")])
        await _claim(store, [acme], "second", MOMENT + _A_WHILE)
        await store.end_migrations([acme.id], "first", "b", MOMENT)
        current = await _now(store, acme)
        assert (current.revision, current.work, current.version) == (None, "migration", acme.version)

    async def test_the_last_attempt_counts(self, store: FleetStore) -> None:
        (acme,) = await _added(store, "acme")
        for run, error in (("first", None), ("second", "no such table")):
            await store.begin_migrations([_attempt(acme, run)])
            await store.end_migrations([acme.id], run, None, MOMENT, error)
        last = (await store.last_migrations())[acme.id]
        assert (last.run_id, last.error) == ("second", "no such table")
