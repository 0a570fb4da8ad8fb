"""Keep some tenants ready before anybody asks for them, so that a sign-up takes a few milliseconds."""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any, TypeAlias
from uuid import uuid4

from sqlalchemy.exc import SQLAlchemyError

from ..claims import Claims
from ..directory import TenantDirectory
from ..errors import ConfigurationError, NamespaceExistsError, TenancyError, TenantConflictError
from ..multitenant import MultitenantManagerProvider
from ..settings import TenancySettings
from ..store import PendingStore, PendingTenant
from ..tenant import Tenant, TenantStatus

logger = logging.getLogger(__name__)

# Whoever makes or drops one, and has not been heard of for so long, died with its process.
PENDING_LEASE = timedelta(seconds=10)

_HEARTBEAT = PENDING_LEASE.total_seconds() / 4

_LOOK = 5.0  # seconds between two looks at what other processes took

# Called with how many were made, and how many are wanted in all.
OnProgress: TypeAlias = Callable[[int, int], None]


class PendingPool:
    """Makes tenants ahead, and drops what died or was made as nobody would make it any more."""

    def __init__(
        self,
        store: PendingStore,
        directory: TenantDirectory,
        provider: MultitenantManagerProvider,
        settings: TenancySettings,
        now: Callable[[], datetime],
        claims: Claims,
    ) -> None:
        self._store = store
        self._directory = directory
        self._provider = provider
        self._settings = settings
        self._now = now
        self._claims = claims

    def recipe(self) -> str:
        """The one by which tenants are made now.

        Raises:
            ConfigurationError: by these settings no tenant can be made before it is known.
        """
        recipe = self._provider.provide({}).recipe()
        if recipe is None:
            raise ConfigurationError(
                "no tenant can be made ahead where each has a place, a role or a key of its own, or no place but rows; "
                "leave out pending_tenants, or placement, tenant_role, encrypt_tenants and the isolations row and rls"
            )
        return recipe

    async def ready(self) -> int:
        recipe = self.recipe()
        listed = await self._directory.ask(self._store.list_pending())
        return sum(each.is_ready and each.recipe == recipe for each in listed)

    async def fill(self, number: int, on_progress: OnProgress | None = None) -> int:
        """Drop what is of no use, and make as many as are missing; returns how many were made."""
        recipe = self.recipe()
        await self._clear(recipe)
        made = 0
        while await self._make(recipe, number):
            made += 1
            self._claims.refilled()
            if on_progress is not None:
                on_progress(made, number)
        return made

    @asynccontextmanager
    async def running(self, number: int) -> AsyncIterator[None]:
        """Keep so many ready for the length of a block."""
        keeping = asyncio.create_task(self._keep(number))
        try:
            yield
        finally:
            keeping.cancel()
            await asyncio.wait((keeping,))

    async def _keep(self, number: int) -> None:
        while True:
            try:
                await self.fill(number)
            except (TenancyError, SQLAlchemyError, OSError) as error:
                logger.warning("pending tenants not made", exc_info=error)
            with suppress(TimeoutError):
                async with asyncio.timeout(_LOOK):  # Python 3.11's wait_for may swallow the cancellation at our end
                    await self._claims.taken.wait()
            self._claims.taken.clear()

    async def _make(self, recipe: str, at_most: int) -> bool:
        manager = self._provider.provide({})
        tenant = await manager.place(_tenant(uuid4().hex, self._now()))
        making = PendingTenant(
            id=tenant.id,
            namespace=str(tenant.namespace),
            manager_type=self._settings.manager_type,
            recipe=recipe,
            revision=await manager.revision(tenant),
            updated_at=tenant.created_at,
        )
        if not await self._directory.ask(self._store.add_pending(making, at_most)):
            return False
        may_be_ready = False
        try:
            making = await self._while_alive(making, manager.provision(tenant))
            may_be_ready = True
            await self._change(making, is_ready=True)
        except BaseException as error:
            may_be_ready = may_be_ready and not isinstance(error, TenantConflictError)
            await asyncio.shield(self._abandon(making, may_be_ready=may_be_ready))
            raise
        logger.info("pending tenant made", extra={"tenant": tenant.id})
        return True

    async def _while_alive(self, making: PendingTenant, work: Coroutine[Any, Any, None]) -> PendingTenant:
        task = asyncio.create_task(work)
        try:
            while not (await asyncio.wait((task,), timeout=_HEARTBEAT))[0]:
                making = await self._change(making)
            await task
        finally:
            task.cancel()
            await asyncio.wait((task,))
        return making

    async def _clear(self, recipe: str) -> None:
        """Drop what its maker has left, and what was made by another recipe, unless by newer code than ours."""
        for each in await self._directory.ask(self._store.list_pending()):
            is_of_use = each.is_ready and (each.recipe == recipe or self._is_newer(each))
            if not is_of_use and self._now() - each.updated_at >= PENDING_LEASE:
                await self._discard(each)

    def _is_newer(self, pending: PendingTenant) -> bool:
        scripts = self._provider.root_profile.scripts
        if scripts is None or pending.revision in (None, scripts.head):
            return False
        return not scripts.is_behind(pending.revision)

    async def _abandon(self, making: PendingTenant, *, may_be_ready: bool) -> None:
        if may_be_ready:
            await self._discard(making)  # it stays if it is not as we have left it
        else:
            with _left_behind(making):
                await self._drop(making)

    async def _discard(self, pending: PendingTenant) -> None:
        """Drop one, unless somebody else has laid hands on it."""
        with _left_behind(pending), suppress(TenantConflictError):
            await self._drop(await self._change(pending, is_ready=False))

    async def _drop(self, pending: PendingTenant) -> None:
        tenant = _tenant(pending.id, pending.updated_at, namespace=pending.namespace, manager_type=pending.manager_type)
        with suppress(NamespaceExistsError):  # what is there is not ours, and stays
            await self._provider.for_tenant(tenant).drop_tenant(tenant)
        await self._directory.ask(self._store.remove_pending(pending))

    async def _change(self, before: PendingTenant, **changes: Any) -> PendingTenant:
        after = replace(before, **changes, updated_at=self._now())
        if not await self._directory.ask(self._store.change_pending(before, after)):
            raise TenantConflictError(f"the pending tenant {before.id} was given away or dropped by another process")
        return after


@contextmanager
def _left_behind(pending: PendingTenant) -> Iterator[None]:
    """Leave it to the next filler where it cannot be dropped."""
    try:
        yield
    except (TenancyError, SQLAlchemyError, OSError) as error:
        logger.warning("pending tenant left behind", extra={"tenant": pending.id}, exc_info=error)


def _tenant(tenant_id: str, moment: datetime, **given: Any) -> Tenant:
    """A tenant that has nothing but a place."""
    return Tenant(
        id=tenant_id,
        identifier=f"pending-{tenant_id}",
        name="pending",
        status=TenantStatus.PROVISIONING,
        created_at=moment,
        updated_at=moment,
        **given,
    )
