"""Create, change and delete tenants, so that what fails or is killed half-way leaves nothing, or is resumed."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import fields, replace
from datetime import datetime, timedelta
from functools import partial
from typing import Any, TypeVar
from uuid import uuid4

from pydantic import SecretBytes
from sqlalchemy.exc import SQLAlchemyError

from .acts import Act, Acts
from .audit import AuditEntry
from .cache import ABSENT
from .claims import Claims
from .directory import TenantDirectory
from .errors import (
    NamespaceExistsError,
    TenancyError,
    TenantConflictError,
    TenantExistsError,
    TenantNotFoundError,
)
from .events import EventKind
from .multitenant import BaseMultitenantManager, MultitenantManagerProvider, Seeds
from .multitenant.keys import GivenKey, KeyManagementMode
from .tenant import Tenant, TenantStatus

logger = logging.getLogger(__name__)

T = TypeVar("T")

# A creation that has not been heard of for so long died with its process; the next call takes over.
PROVISIONING_LEASE = timedelta(seconds=10)

_HEARTBEAT = PROVISIONING_LEASE.total_seconds() / 4

_STATUS_KINDS = {
    TenantStatus.ACTIVE: EventKind.ACTIVATED,
    TenantStatus.SUSPENDED: EventKind.SUSPENDED,
    TenantStatus.DELETING: EventKind.DELETING,
}

_POLL = 0.05  # seconds between two looks at somebody else's creation


# Called with a tenant whose identifier is taken, before its data are created.
OnReserved = Callable[[Tenant], Awaitable[None]]

# Called with a tenant whose tables are there, and its key, before it is active: writes its first rows.
Fill = Callable[[Tenant, SecretBytes | None], Awaitable[None]]


class TenantLifecycle:
    """`provisioning` → `active` ⇄ `suspended` → `deleting` → gone."""

    def __init__(
        self,
        directory: TenantDirectory,
        provider: MultitenantManagerProvider,
        now: Callable[[], datetime],
        acts: Acts,
        claims: Claims,
        seeds: Seeds,
    ) -> None:
        self._directory = directory
        self._provider = provider
        self._now = now
        self._acts = acts
        self._claims = claims
        self._seeds = seeds

    async def create(
        self,
        draft: Tenant,
        on_reserved: OnReserved | None = None,
        *,
        key: GivenKey | None = None,
        encrypted: bool | None = None,
        fill: Fill | None = None,
        told: Mapping[EventKind, Mapping[str, Any]] | None = None,
    ) -> Tenant:
        """As `Administration.create_tenant`; with `fill` in the place of the seeds, and `told` of the act besides."""
        manager = self._provider.for_tenant(draft)
        tenant, own = manager.with_key(await manager.place(draft), key, encrypted)
        kinds = {
            EventKind.PROVISIONED: {},
            EventKind.CREATED: {"name": tenant.name, "settings": sorted(tenant.settings)},
            **(told or {}),
        }
        await self._acts.act(kinds, tenant).ask()
        if not (on_reserved or fill or self._seeds):  # else there is something to do between the claim and the end
            active = replace(tenant, status=TenantStatus.ACTIVE)
            act = self._acts.act(kinds, active)
            if (created := await self._claim(manager, active, act.entries)) is not None:
                return await _told(created, act)
            claimed = None
        else:
            claimed = None if fill else await self._claim(manager, tenant)
        if claimed is None:
            await self._reserve(tenant, partial(self._directory.add, tenant))
        tenant = claimed or tenant
        try:
            if on_reserved is not None:
                await on_reserved(tenant)
            revision = tenant.revision if claimed else await manager.revision(tenant)
            making = self._make(manager, tenant, own, fill, has_place=claimed is not None)
            tenant = await self._while_alive(tenant, making)
            active = replace(tenant, status=TenantStatus.ACTIVE, revision=revision)
            act = self._acts.act(kinds, active)
            created = await self._directory.change(tenant, active, audit=act.entries)
        except BaseException:
            # Also when cancelled: the caller is gone, and nothing may be left that looks like a tenant.
            await asyncio.shield(self._discard_quietly(manager, tenant))
            raise
        return await _told(created, act)

    def draft(
        self,
        identifier: str,
        *,
        name: str,
        settings: Mapping[str, Any],
        manager_type: str | None,
        database_url: str | None,
        key_management_mode: KeyManagementMode,
    ) -> Tenant:
        now = self._now()
        return Tenant(
            id=uuid4().hex,
            identifier=identifier,
            name=name,
            status=TenantStatus.PROVISIONING,
            settings=settings,
            manager_type=manager_type,
            database_url=database_url,
            key_management_mode=key_management_mode,
            created_at=now,
            updated_at=now,
        )

    async def update(self, tenant: Tenant, **changes: Any) -> Tenant:
        """Write `changes` over `tenant` as it was read.

        Raises:
            TenantConflictError: somebody else changed it in between, or it is being created or deleted.
            TenantExistsError: the new identifier is taken.
        """
        if not tenant.is_settled:
            raise TenantConflictError(f"the tenant {tenant.identifier!r} is {tenant.status}; wait until that has ended")
        return await self._write(tenant, **changes)

    async def set_status(self, tenant: Tenant, status: TenantStatus) -> Tenant:
        if tenant.status is status:
            # Somebody else may have written it, or we did and never learnt of it: what is remembered may be older.
            await self._directory.forget(tenant)
            return tenant
        saved = await self.update(tenant, status=status)
        logger.info("tenant status changed", extra={"tenant": tenant.id, "status": status.value})
        return saved

    async def delete(self, tenant: Tenant, *, drop_data: bool) -> None:
        if tenant.status is TenantStatus.PROVISIONING:
            drop_data = True  # it never had any
        kinds = {EventKind.DELETED: {"data": "dropped" if drop_data else "kept"}}
        if tenant.status is not TenantStatus.DELETING:  # else it is resumed, and cannot be stopped any more
            await self._acts.act(kinds, tenant).ask()
            tenant = await self._write(tenant, status=TenantStatus.DELETING)
        await self._provider.for_tenant(tenant).remove_tenant(tenant, drop_data=drop_data)
        act = self._acts.act(kinds, tenant)
        removed = await self._directory.remove(tenant, keep_namespace=not drop_data, audit=act.entries)
        logger.info("tenant deleted", extra={"tenant": tenant.id, "data": "dropped" if drop_data else "kept"})
        if removed:  # else somebody else was faster
            await act.done()

    async def _claim(
        self, manager: BaseMultitenantManager, tenant: Tenant, audit: Sequence[AuditEntry] = ()
    ) -> Tenant | None:
        """The tenant in a place that was made ahead; None where there is none that fits it."""
        if not self._claims.fits(tenant):
            return None
        undo = partial(self._discard_quietly, manager)
        return await self._reserve(tenant, partial(self._claims.claim, tenant, undo, audit))

    async def _make(
        self,
        manager: BaseMultitenantManager,
        tenant: Tenant,
        key: SecretBytes | None,
        fill: Fill | None,
        *,
        has_place: bool,
    ) -> None:
        if not has_place:
            await manager.provision(tenant, key)
        if fill is not None:
            await fill(tenant, key)
        elif self._seeds:
            async with manager.unserved(tenant, key) as profile:
                await self._seeds.plant(profile)

    async def _write(self, tenant: Tenant, **changes: Any) -> Tenant:
        changed = replace(tenant, **changes, updated_at=self._now())
        act = await self._acts.act(_kinds(tenant, changed), changed, before=tenant).ask()
        saved = await self._directory.change(tenant, changed, audit=act.entries)
        await self._provider.for_tenant(saved).update_tenant(saved)
        await act.done(saved)
        return saved

    async def _while_alive(self, tenant: Tenant, work: Coroutine[Any, Any, None]) -> Tenant:
        """Do the work, and show from time to time that its creation has not died; returns the tenant as it is then."""
        task = asyncio.create_task(work)
        try:
            while not (await asyncio.wait((task,), timeout=_HEARTBEAT))[0]:
                tenant = await self._directory.change(tenant, replace(tenant, updated_at=self._now()))
            await task
        finally:
            task.cancel()
            await asyncio.wait((task,))
        return tenant

    async def _reserve(self, tenant: Tenant, take: Callable[[], Awaitable[T]]) -> T:
        """Take the identifier and a namespace, from a creation that died if need be."""
        while True:
            try:
                return await take()
            except TenantExistsError:
                try:
                    other = await self._directory.read(tenant.identifier)
                except TenantNotFoundError:
                    continue  # it failed and cleaned up meanwhile
                if other.status is not TenantStatus.PROVISIONING:
                    raise
                if self._now() - other.updated_at < PROVISIONING_LEASE:
                    await asyncio.sleep(_POLL)
                else:
                    await self._take_over(other)

    async def _take_over(self, dead: Tenant) -> None:
        try:
            claimed = await self._directory.change(dead, replace(dead, updated_at=self._now()))
        except (TenantConflictError, TenantNotFoundError):
            return  # somebody was faster
        await self._discard(self._provider.for_tenant(claimed), claimed)

    async def _discard_quietly(self, manager: BaseMultitenantManager, tenant: Tenant) -> None:
        """Leave it to the next call where this fails too, so that the caller hears of the first failure."""
        try:
            # Whoever is cancelled, or waits in vain, has not learnt whether the activation was written, with its entry.
            written = (await self._directory.read(tenant.identifier)).is_active
            failed = self._acts.act({EventKind.DELETED: {"creation": "failed"}}, tenant)
            await self._discard(manager, tenant, failed.entries if written else ())
        except (TenancyError, SQLAlchemyError, OSError) as error:
            logger.warning("failed creation left behind", extra={"tenant": tenant.id}, exc_info=error)

    async def _discard(self, manager: BaseMultitenantManager, tenant: Tenant, audit: Sequence[AuditEntry] = ()) -> None:
        with suppress(NamespaceExistsError):  # what is there is not the tenant's, and stays
            await manager.remove_tenant(tenant, drop_data=True)
        await self._directory.remove(tenant, keep_namespace=False, audit=audit)


async def _told(created: Tenant, act: Act) -> Tenant:
    logger.info("tenant created", extra={"tenant": created.id})
    await act.done(created)
    return created


def _kinds(before: Tenant, after: Tenant) -> dict[EventKind, dict[str, Any]]:
    """What the change is called, with names of what is changed, and no values that may be secret."""
    kinds: dict[EventKind, dict[str, Any]] = {}
    if after.identifier != before.identifier:
        kinds[EventKind.RENAMED] = {"from": before.identifier, "to": after.identifier}
    if after.status is not before.status:
        kinds[_STATUS_KINDS[after.status]] = {}
    changed = sorted({*_changed_fields(before, after), *_changed_settings(before.settings, after.settings)})
    if changed or not kinds:
        kinds[EventKind.UPDATED] = {"changed": changed}
    return kinds


def _changed_fields(before: Tenant, after: Tenant) -> Iterator[str]:
    told_otherwise = ("identifier", "status", "settings", "version", "updated_at")
    names = (field.name for field in fields(Tenant) if field.name not in told_otherwise)
    return (name for name in names if getattr(before, name) != getattr(after, name))


def _changed_settings(before: Mapping[str, Any], after: Mapping[str, Any]) -> Iterator[str]:
    return (f"settings.{key}" for key in {*before, *after} if before.get(key, ABSENT) != after.get(key, ABSENT))
