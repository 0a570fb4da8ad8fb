"""Tenants as a fleet, in a dict, for tests."""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime

from ..audit import AuditEntry
from ..tenant import Tenant
from .fleet import MigrationRecord, Work


class InMemoryFleet:
    """The part of a store in memory that is a `FleetStore`."""

    _tenants: dict[str, Tenant]
    _write_entries: Callable[[Sequence[AuditEntry]], None]

    def __init__(self) -> None:
        super().__init__()
        self._holders: dict[str, str] = {}  # by the tenant's id
        self._ledger: list[MigrationRecord] = []

    async def fleet(self, limit: int, after: str | None = None) -> Sequence[Tenant]:
        found = sorted(self._tenants.values(), key=lambda tenant: tenant.id)
        return [tenant for tenant in found if after is None or tenant.id > after][:limit]

    async def claim(
        self, ids: Collection[str], work: Work, holder: str, now: datetime, until: datetime
    ) -> Collection[str]:
        for tenant in [each for each in map(self._tenants.get, ids) if each is not None and each.is_settled]:
            if tenant.work_until is None or tenant.work_until <= now:
                self._tenants[tenant.id] = replace(tenant, work=work, work_until=until)
                self._holders[tenant.id] = holder
        return {tenant.id for tenant in self._held(ids, holder)}

    async def renew(self, ids: Collection[str], holder: str, until: datetime) -> None:
        for tenant in self._held(ids, holder):
            self._tenants[tenant.id] = replace(tenant, work_until=until)

    async def release(self, ids: Collection[str], holder: str) -> None:
        for tenant in self._held(ids, holder):
            self._free(tenant)

    async def record_revisions(self, revisions: Mapping[Tenant, str | None]) -> None:
        for tenant, revision in revisions.items():
            current = self._tenants.get(tenant.id)
            if current is not None and current.version == tenant.version:
                self._tenants[tenant.id] = replace(current, revision=revision, version=current.version + 1)

    async def begin_migrations(self, records: Sequence[MigrationRecord]) -> None:
        self._ledger += records

    async def end_migrations(
        self,
        ids: Collection[str],
        holder: str,
        revision: str | None,
        finished_at: datetime,
        error: str | None = None,
        *,
        audit: Sequence[AuditEntry] = (),
    ) -> None:
        self._ledger = [
            replace(each, finished_at=finished_at, error=error)
            if each.run_id == holder and each.tenant_id in ids and each.finished_at is None
            else each
            for each in self._ledger
        ]
        for tenant in self._held(ids, holder):
            self._free(replace(tenant, revision=revision, version=tenant.version + 1))
        self._write_entries(audit)

    async def last_migrations(self, tenant_id: str | None = None) -> Mapping[str, MigrationRecord]:
        return {
            each.tenant_id: each
            for each in self._ledger
            if each.tenant_id in self._tenants and tenant_id in (None, each.tenant_id)
        }

    def _held(self, ids: Collection[str], holder: str) -> Iterator[Tenant]:
        held = [each for each in ids if self._holders.get(each) == holder and each in self._tenants]
        return (self._tenants[each] for each in held)

    def _free(self, tenant: Tenant) -> None:
        self._tenants[tenant.id] = replace(tenant, work=None, work_until=None)
        del self._holders[tenant.id]
