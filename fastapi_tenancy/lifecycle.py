"""Create, change and delete tenants, so that what fails or is killed half-way leaves nothing, or is resumed."""

import asyncio
import logging
from collections.abc import Callable, Coroutine, Mapping
from contextlib import suppress
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any
from uuid import uuid4

from sqlalchemy.exc import SQLAlchemyError

from .directory import TenantDirectory
from .errors import (
    NamespaceExistsError,
    TenancyError,
    TenantConflictError,
    TenantExistsError,
    TenantNotFoundError,
)
from .multitenant import BaseMultitenantManager, MultitenantManagerProvider
from .tenant import Tenant, TenantStatus

logger = logging.getLogger(__name__)

# A creation that has not been heard of for so long died with its process; the next call takes over.
PROVISIONING_LEASE = timedelta(seconds=10)

_HEARTBEAT = PROVISIONING_LEASE.total_seconds() / 4

_POLL = 0.05  # seconds between two looks at somebody else's creation


class TenantLifecycle:
    """`provisioning` → `active` ⇄ `suspended` → `deleting` → gone."""

    def __init__(
        self, directory: TenantDirectory, provider: MultitenantManagerProvider, now: Callable[[], datetime]
    ) -> None:
        self._directory = directory
        self._provider = provider
        self._now = now

    async def create(self, draft: Tenant) -> Tenant:
        manager = self._provider.for_tenant(draft)
        tenant = await manager.place(draft)
        await self._reserve(tenant)
        try:
            tenant = await self._while_alive(tenant, manager.create_tenant(tenant))
            created = await self._directory.change(tenant, replace(tenant, status=TenantStatus.ACTIVE))
        except BaseException:
            # Also when cancelled: the caller is gone, and nothing may be left that looks like a tenant.
            await asyncio.shield(self._discard_quietly(manager, tenant))
            raise
        logger.info("tenant created", extra={"tenant": tenant.id})
        return created

    def draft(
        self,
        identifier: str,
        *,
        name: str,
        settings: Mapping[str, Any],
        manager_type: str | None,
        database_url: str | None,
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
            return tenant
        saved = await self.update(tenant, status=status)
        logger.info("tenant status changed", extra={"tenant": tenant.id, "status": status.value})
        return saved

    async def delete(self, tenant: Tenant, *, drop_data: bool) -> None:
        if tenant.status is TenantStatus.PROVISIONING:
            drop_data = True  # it never had any
        if tenant.status is not TenantStatus.DELETING:
            tenant = await self._write(tenant, status=TenantStatus.DELETING)
        await self._provider.for_tenant(tenant).remove_tenant(tenant, drop_data=drop_data)
        await self._directory.remove(tenant, keep_namespace=not drop_data)
        logger.info("tenant deleted", extra={"tenant": tenant.id, "data": "dropped" if drop_data else "kept"})

    async def _write(self, tenant: Tenant, **changes: Any) -> Tenant:
        saved = await self._directory.change(tenant, replace(tenant, **changes, updated_at=self._now()))
        await self._provider.for_tenant(saved).update_tenant(saved)
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

    async def _reserve(self, tenant: Tenant) -> None:
        """Take the identifier and the namespace, from a creation that died if need be."""
        while True:
            try:
                return await self._directory.add(tenant)
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
            await self._discard(manager, tenant)
        except (TenancyError, SQLAlchemyError, OSError) as error:
            logger.warning("failed creation left behind", extra={"tenant": tenant.id}, exc_info=error)

    async def _discard(self, manager: BaseMultitenantManager, tenant: Tenant) -> None:
        with suppress(NamespaceExistsError):  # what is there is not the tenant's, and stays
            await manager.remove_tenant(tenant, drop_data=True)
        await self._directory.remove(tenant, keep_namespace=False)
