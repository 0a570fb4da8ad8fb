"""Migrate the tenants that are behind, several at a time, each at most once."""

import asyncio
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from typing import Any

from sqlalchemy.exc import SQLAlchemyError

from ...acts import Act, Acts
from ...directory import TenantDirectory
from ...errors import TenancyError
from ...events import EventKind
from ...multitenant import MultitenantManagerProvider
from ...store import FleetStore, MigrationRecord
from ...tenant import Tenant
from .leases import Leases
from .processes import Answer, MigratingProcess
from .report import MigrationFailure, MigrationProgress, MigrationReport, MigrationSkip
from .sites import Site

OnProgress = Callable[[MigrationProgress], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Means:
    """What a run works with."""

    directory: TenantDirectory
    store: FleetStore
    provider: MultitenantManagerProvider
    acts: Acts
    now: Callable[[], datetime]
    folder: Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """How a run goes.

    Attributes:
        run_id: names it in the ledger, and holds its leases.
        to: the revision that is wanted.
        stamp: note the revision, and run nothing.
        workers: how many are migrated at the same time.
        canary: how many are migrated before the others; where one of them fails, the others are not.
        max_failures: after how many failures no other is begun; None goes on.
        timeout: seconds that one may take.
        on_progress: is told of each tenant.
    """

    run_id: str
    to: str
    stamp: bool = False
    workers: int = 2
    canary: int = 0
    max_failures: int | None = None
    timeout: float = 600.0
    on_progress: OnProgress | None = None


@dataclass(slots=True)
class Outcome:
    """What has become of the tenants so far, and whom it is told.

    Attributes:
        total: how many tenants it will be about.
        failures: how many tables could not be migrated; many tenants may share them.
    """

    total: int
    on_progress: OnProgress | None
    failures: int = 0
    migrated: list[str] = field(default_factory=list)
    failed: list[MigrationFailure] = field(default_factory=list)
    skipped: list[MigrationSkip] = field(default_factory=list)

    def migrate(self, tenants: Iterable[Tenant], seconds: float) -> None:
        for tenant in tenants:
            self.migrated.append(tenant.identifier)
            self._tell(tenant, None, seconds)

    def fail(self, tenants: Iterable[Tenant], error: str, seconds: float) -> None:
        self.failures += 1
        for tenant in tenants:
            self.failed.append(MigrationFailure(tenant.identifier, error))
            self._tell(tenant, error, seconds)

    def skip(self, tenants: Iterable[Tenant], reason: str) -> None:
        for tenant in tenants:
            self.skipped.append(MigrationSkip(tenant.identifier, reason))
            self._tell(tenant, reason, 0.0)

    def report(self) -> MigrationReport:
        return MigrationReport(self.migrated, self.failed, self.skipped)

    def _tell(self, tenant: Tenant, error: str | None, seconds: float) -> None:
        if self.on_progress is not None:
            done = len(self.migrated) + len(self.failed) + len(self.skipped)
            self.on_progress(MigrationProgress(done, self.total, tenant.identifier, error, seconds))


class Run:
    """One run over sites that are behind."""

    def __init__(self, means: Means, plan: Plan, outcome: Outcome) -> None:
        self._means = means
        self._plan = plan
        self._outcome = outcome
        self._leases = Leases(means.directory, means.store, plan.run_id, means.now)
        self._stop: str | None = None

    async def migrate(self, sites: Sequence[Site]) -> None:
        canary = self._plan.canary
        processes = [MigratingProcess(self._means.folder) for _ in range(min(self._plan.workers, len(sites)))]
        try:
            async with self._leases.kept():
                await self._all(processes, sites[:canary])
                if self._outcome.failures and canary:
                    self._stop = "a tenant of the canary failed"
                await self._all(processes, sites[canary:])
        finally:
            for process in processes:
                await process.kill()

    async def _all(self, processes: Sequence[MigratingProcess], sites: Sequence[Site]) -> None:
        todo, taken = deque(sites), list[Site]()
        await _together([self._some(process, todo, taken.append) for process in processes])
        left = deque(taken)
        await _together([self._some(process, left, None) for process in processes])

    async def _some(self, process: MigratingProcess, todo: deque[Site], later: Callable[[Site], None] | None) -> None:
        """Migrate what is left to do; what somebody else has is put off, or the second time waited for."""
        while todo:
            site = todo.popleft()
            if self._stop is not None:
                self._outcome.skip(site.tenants, self._stop)
            elif await self._leases.take(site.ids):
                await self._taken(process, site)
            elif later is not None:
                later(site)
            elif await self._leases.take_from_the_dead(site.ids):
                await self._taken(process, site)
            else:
                self._outcome.skip(site.tenants, await self._why_not(site))

    async def _taken(self, process: MigratingProcess, site: Site) -> None:
        first = site.tenants[0]
        current = await self._leases.current(first.id)
        if current is None or current.revision not in (site.revision, first.revision):
            await self._leases.give_up(site.ids)
            self._outcome.skip(site.tenants, "somebody else has migrated it meanwhile")
            return
        for tenant in site.tenants:  # who has it in memory would go on serving it
            await self._means.directory.forget(tenant)
        started = time.monotonic()
        answer = await self._recorded(process, site)
        seconds = time.monotonic() - started
        if answer.error is None:
            self._outcome.migrate(site.tenants, seconds)
        else:
            self._outcome.fail(site.tenants, answer.error, seconds)
            if self._outcome.failures == self._plan.max_failures:
                self._stop = f"{self._outcome.failures} failed before, which is as many as may"

    async def _recorded(self, process: MigratingProcess, site: Site) -> Answer:
        """Migrate a site, with an entry in the ledger however that ends."""
        plan, means = self._plan, self._means
        record = MigrationRecord(
            run_id=plan.run_id,
            tenant_id="",
            from_revision=site.revision,
            to_revision=plan.to,
            started_at=means.now(),
        )
        records = [replace(record, tenant_id=tenant.id) for tenant in site.tenants]
        try:
            await means.directory.ask(means.store.begin_migrations(records), patiently=True)
            answer = await process.carry_out(self._order(site), plan.timeout)
            if answer.error is None and (fault := await unguarded(means.provider, site)):
                answer = Answer(fault)  # recorded at the old revision, its tenants go on being refused
        except asyncio.CancelledError:
            await asyncio.shield(self._end(site, Answer("it was cancelled")))
            raise
        await self._end(site, answer)
        return answer

    async def _end(self, site: Site, answer: Answer) -> None:
        means = self._means
        revision = answer.revision if answer.knows else site.revision
        acts = (
            [] if answer.error is not None else [self._act(tenant, site.revision, revision) for tenant in site.tenants]
        )
        ended = means.store.end_migrations(
            site.ids,
            self._plan.run_id,
            revision,
            means.now(),
            answer.error,
            audit=[entry for act in acts for entry in act.entries],
        )
        await means.directory.ask(ended, patiently=True)
        self._leases.ended(site.ids)
        for tenant in site.tenants:
            await means.directory.forget(tenant)
            await means.provider.for_tenant(tenant).update_tenant(tenant)
        for act in acts:
            await act.done()

    def _act(self, tenant: Tenant, before: str | None, after: str | None) -> Act:
        details = {"from": before, "to": after, **({"stamped": True} if self._plan.stamp else {})}
        return self._means.acts.act({EventKind.MIGRATED: details}, replace(tenant, revision=after))

    def _order(self, site: Site) -> Mapping[str, Any]:
        tables = site.tables
        return {
            "url": tables.url.render_as_string(hide_password=False),
            "schema": tables.schema,
            "search_path": tables.search_path,
            "cipher": None if tables.cipher is None else tables.cipher.get_secret_value(),
            "owner": None if site.is_shared else site.tenants[0].id,
            "to": self._plan.to,
            "stamp": self._plan.stamp,
        }

    async def _why_not(self, site: Site) -> str:
        current = await self._leases.current(min(site.ids))
        if current is None:
            return "it was deleted meanwhile"
        if not current.is_settled:
            return f"it is {current.status}"
        return "it is being moved" if current.work == "move" else "another run is migrating it"


async def unguarded(provider: MultitenantManagerProvider, site: Site) -> str | None:
    """What keeps new tables that tenants share from being put under guard; None for nothing."""
    if site.is_shared:
        try:
            await provider.for_tenant(site.tenants[0]).migrated(site.tenants[0])
        except (TenancyError, SQLAlchemyError, OSError) as error:
            return f"the migrations ran, but {error}"
    return None


async def _together(works: Sequence[Any]) -> None:
    """Await all; where one fails, end the others and raise what it raised."""
    tasks = [asyncio.ensure_future(work) for work in works]
    try:
        await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
