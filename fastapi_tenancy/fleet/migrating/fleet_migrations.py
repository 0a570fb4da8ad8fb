"""Migrate all tenants of a deployment, and tell where they stand."""

import asyncio
import logging
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime

from ...acts import Acts
from ...directory import TenantDirectory
from ...migrations import MigrationScripts
from ...multitenant import MultitenantManagerProvider
from ...multitenant.keys import GivenKey
from ...store import FleetStore
from ...tenant import Tenant
from .report import MigrationReport, MigrationStatus
from .runner import Means, Outcome, Plan, Run, unguarded
from .sites import Site, read_revisions, sites_of

logger = logging.getLogger(__name__)

_PAGE = 1000


class FleetMigrations:
    """Knows the truth before it acts: what is recorded of the tenants' revisions is mended by each look at them."""

    def __init__(
        self,
        directory: TenantDirectory,
        store: FleetStore,
        provider: MultitenantManagerProvider,
        now: Callable[[], datetime],
        acts: Acts,
        scripts: MigrationScripts,
    ) -> None:
        self._means = Means(
            directory=directory, store=store, provider=provider, acts=acts, now=now, folder=scripts.folder
        )
        self.scripts = scripts

    async def migrate(
        self, plan: Plan, tenants: Sequence[Tenant] | None = None, keys: Mapping[str, GivenKey] | None = None
    ) -> MigrationReport:
        """As `Tenancy.migrate`; `plan.to` is as an operator writes it."""
        await self._refresh()
        if self.scripts.head is None and plan.to == "head":
            return MigrationReport((), (), ())
        return await self.carry_out(replace(plan, to=self.scripts.resolve(plan.to)), tenants, keys)

    async def carry_out(
        self, plan: Plan, tenants: Sequence[Tenant] | None = None, keys: Mapping[str, GivenKey] | None = None
    ) -> MigrationReport:
        """As `migrate`, with the migrations that are known by now."""
        sites, out = await self._look(await self.fleet() if tenants is None else tenants, keys or {})
        skipped = [(tenant, reason) for tenant, reason in out if self.scripts.is_behind(tenant.revision, plan.to)]
        chosen: list[Site] = []
        for site in sites:
            reason = self._why_not(site, plan, named=tenants is not None)
            if reason:
                skipped += [(tenant, reason) for tenant in site.tenants]
            elif site.revision != plan.to:
                chosen.append(site)
        outcome = Outcome(len(skipped) + sum(len(site.tenants) for site in chosen), plan.on_progress)
        for tenant, reason in skipped:
            outcome.skip((tenant,), reason)
        if chosen:
            await Run(self._means, plan, outcome).migrate(chosen)
        return outcome.report()

    async def status(self) -> MigrationStatus:
        """As `Tenancy.migration_status`."""
        await self._refresh()
        sites, out = await self._look(await self.fleet(), {})
        stands = [(tenant, site.revision) for site in sites for tenant in site.tenants]
        stands += [(tenant, tenant.revision) for tenant, _ in out if tenant.is_settled]
        behind = [tenant for tenant, revision in stands if self.scripts.is_behind(revision)]
        last = await self._means.directory.ask(self._means.store.last_migrations(), patiently=True)
        failed = [tenant.identifier for tenant in behind if tenant.id in last and last[tenant.id].error is not None]
        names = sorted(tenant.identifier for tenant in behind)
        return MigrationStatus(self.scripts.head, len(stands) - len(behind), names, sorted(failed))

    async def fleet(self) -> Sequence[Tenant]:
        """All tenants, in any status; none that is there now is missed, whatever happens to it meanwhile."""
        found: list[Tenant] = []
        after = None
        while page := await self._means.directory.ask(self._means.store.fleet(_PAGE, after), patiently=True):
            found += page
            after = page[-1].id
        return found

    async def _look(
        self, tenants: Collection[Tenant], keys: Mapping[str, GivenKey]
    ) -> tuple[list[Site], list[tuple[Tenant, str]]]:
        """Where the tenants' tables are and at which revision, and those of whom that cannot be told, with the reason.

        With one tenant come all those that have rows in the same tables.
        """
        sites, unknown = await sites_of(self._means.provider, _settled(tenants), keys)
        if any(site.is_shared for site in sites):
            ids = {tenant.id for tenant in tenants}
            everybody, _ = await sites_of(self._means.provider, _settled(await self.fleet()), keys)
            shared = [site for site in everybody if site.is_shared and not ids.isdisjoint(site.ids)]
            sites = [site for site in sites if not site.is_shared] + shared
        await read_revisions(sites)
        drifted: dict[Tenant, str | None] = {}
        for site in sites:
            if site.drifted and (fault := await unguarded(self._means.provider, site)):
                logger.warning("tenants left behind their tables", extra={"fault": fault})
            else:
                drifted |= site.drifted
        if drifted:
            await self._means.directory.ask(self._means.store.record_revisions(drifted), patiently=True)
            for tenant in drifted:
                await self._means.directory.forget(tenant)
        out = [(tenant, f"it is {tenant.status}") for tenant in tenants if not tenant.is_settled]
        out += [(tenant, unknown[tenant.identifier]) for tenant in tenants if tenant.identifier in unknown]
        return sites, out

    def _why_not(self, site: Site, plan: Plan, *, named: bool) -> str | None:
        """Why a site that is not at the revision that is wanted is left as it is."""
        if plan.stamp:
            if site.revision in (None, plan.to) or named:
                return None
            return f"it is at revision {site.revision} already; migrate it, or name it to have it stamped all the same"
        if site.revision == plan.to or self.scripts.is_behind(site.revision, plan.to):
            return None
        return f"it is at revision {site.revision}, beyond {plan.to}; nothing is ever downgraded"

    async def _refresh(self) -> None:
        head = self.scripts.head
        await asyncio.to_thread(self.scripts.refresh)
        if self.scripts.head != head:
            await self._means.directory.forget_all()  # some of whom it serves may be behind now


def _settled(tenants: Iterable[Tenant]) -> list[Tenant]:
    return [tenant for tenant in tenants if tenant.is_settled]
