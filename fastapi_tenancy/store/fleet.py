"""What a store of a fleet must do: list all tenants, lease them, and keep a ledger of their migrations."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal, Protocol, runtime_checkable

from ..audit import AuditEntry
from ..tenant import Tenant
from .base import TenantStore

Work = Literal["migration", "move"]
"""What is done with a tenant's data as a whole; one of them at a time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MigrationRecord:
    """One attempt to migrate a tenant.

    Attributes:
        run_id: of the run that it belongs to, which also holds the lease.
        tenant_id: whose tables.
        from_revision: what they were at before; None for none.
        to_revision: what they were to become.
        started_at: UTC.
        finished_at: UTC; None while it goes on, or where it died.
        error: why it failed; None where it did not.
    """

    run_id: str
    tenant_id: str
    from_revision: str | None
    to_revision: str
    started_at: datetime
    finished_at: datetime | None = None
    error: str | None = None


@runtime_checkable
class FleetStore(TenantStore, Protocol):
    """A store of tenants as a fleet.

    A lease is held by a name of the holder's own choosing, and is free again after a moment that the holder puts off
    from time to time. It changes neither the version of a tenant nor is it changed by `TenantStore.save`.
    """

    async def fleet(self, limit: int, after: str | None = None) -> Sequence[Tenant]:
        """At most `limit` tenants in any status, in the order of their ids, from the first one beyond the id `after`.

        An id never changes, so whoever goes through all pages misses nobody who was there at the start.
        """

    async def claim(
        self, ids: Collection[str], work: Work, holder: str, now: datetime, until: datetime
    ) -> Collection[str]:
        """Lease what is free or expired at `now`, of tenants that are neither being created nor deleted.

        Returns:
            The ids that `holder` now has.
        """

    async def renew(self, ids: Collection[str], holder: str, until: datetime) -> None:
        """Put off the end of the leases that `holder` still has."""

    async def release(self, ids: Collection[str], holder: str) -> None:
        """Give up the leases that `holder` still has."""

    async def record_revisions(self, revisions: Mapping[Tenant, str | None]) -> None:
        """Record at which revision tenants were found; of those that changed since they were read, nothing."""

    async def begin_migrations(self, records: Sequence[MigrationRecord]) -> None:
        """Write attempts into the ledger."""

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
        """Write into the ledger how the attempts of the run `holder` ended, and what follows from it, at once.

        The tenants that it still has leased are free, their `revision` is recorded, and their version is the next one.
        `audit` holds entries only where the store is an `AuditStore`.
        """

    async def last_migrations(self, tenant_id: str | None = None) -> Mapping[str, MigrationRecord]:
        """The last attempt for each tenant that has one, or for one of them, by the tenant's id."""
