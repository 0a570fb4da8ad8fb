"""Migrate a tenant when the first request asks for it."""

import asyncio
from collections.abc import Callable
from datetime import datetime, timedelta
from uuid import uuid4

from ...background import Background
from ...directory import TenantDirectory
from ...errors import TenantMigratingError
from ...migration_gate import MigrationGate
from ...store import FleetStore
from ...tenant import Tenant
from .fleet_migrations import FleetMigrations
from .runner import Plan

WAIT = 30.0  # seconds that a request waits; the migration goes on beyond that
_LOOK_EVERY = 0.25

# A tenant whose migration has failed is not tried again for so long: each try costs a process.
RETRY_FAILED = timedelta(seconds=60)


class OnDemand:
    """Migrates a tenant once, however many requests of however many workers ask for it."""

    def __init__(
        self,
        migrations: FleetMigrations,
        directory: TenantDirectory,
        store: FleetStore,
        gate: MigrationGate,
        background: Background,
        now: Callable[[], datetime],
    ) -> None:
        self._migrations = migrations
        self._directory = directory
        self._store = store
        self._gate = gate
        self._background = background
        self._now = now
        self._running: dict[str, asyncio.Task[Tenant]] = {}

    async def migrated(self, tenant: Tenant) -> Tenant:
        """The tenant as it is once it is migrated.

        Raises:
            TenantMigratingError: it could not be, or takes longer than a request waits.
        """
        task = self._running.get(tenant.id)
        if task is None:
            task = self._running[tenant.id] = self._background.start(self._migrate(tenant))
            task.add_done_callback(lambda _: self._running.pop(tenant.id))
        await asyncio.wait((task,), timeout=WAIT)
        if not task.done() or task.cancelled():
            raise TenantMigratingError(f"the tenant {tenant.identifier!r} is still being migrated; try again")
        return task.result()

    async def _migrate(self, tenant: Tenant) -> Tenant:
        reason: str | None = None
        while True:
            current = await self._directory.read(tenant.identifier)
            if self._gate.is_open(current):
                return current
            if self._gate.is_migrating(current):  # by another worker, or an operator
                await asyncio.sleep(_LOOK_EVERY)
                continue
            await self._refuse_if_failed(current)
            if reason is not None:
                raise _failed(current, reason)
            # To the revision that this code was started with, which newer files beside it do not change.
            plan = Plan(run_id=uuid4().hex, to=self._migrations.scripts.head or "", workers=1)
            report = await self._migrations.carry_out(plan, [current])
            reason = next((each.reason for each in report.skipped), "it is still behind")  # who failed is in the ledger

    async def _refuse_if_failed(self, tenant: Tenant) -> None:
        last = (await self._directory.ask(self._store.last_migrations(tenant.id))).get(tenant.id)
        if last is None or last.error is None or last.finished_at is None:
            return
        if last.to_revision == self._migrations.scripts.head and self._now() - last.finished_at < RETRY_FAILED:
            raise _failed(tenant, last.error)


def _failed(tenant: Tenant, reason: str) -> TenantMigratingError:
    return TenantMigratingError(
        f"the tenant {tenant.identifier!r} could not be migrated on demand: {reason}",
        retry_after=int(RETRY_FAILED.total_seconds()),
    )
