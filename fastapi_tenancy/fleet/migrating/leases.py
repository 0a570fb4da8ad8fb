"""Hold tenants for a run: nobody else works on their data meanwhile, and nobody waits long for a run that died."""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Collection
from contextlib import asynccontextmanager, suppress
from datetime import datetime, timedelta

from ...directory import TenantDirectory
from ...errors import StoreUnavailableError
from ...store import FleetStore, Work
from ...tenant import Tenant

logger = logging.getLogger(__name__)

LEASE = timedelta(seconds=15)
_RENEW_EVERY = 4.0  # seconds: two may fail before the lease ends
_LOOK_EVERY = 0.25


class Leases:
    """The leases of one run.

    Args:
        holder: the run.
        work: what it does.
    """

    def __init__(
        self,
        directory: TenantDirectory,
        store: FleetStore,
        holder: str,
        now: Callable[[], datetime],
        work: Work = "migration",
    ) -> None:
        self._directory = directory
        self._store = store
        self._holder = holder
        self._now = now
        self._work = work
        self._held: set[str] = set()

    @asynccontextmanager
    async def kept(self) -> AsyncIterator[None]:
        """Renew them during the block, and give up at its end those that are left."""
        renewing = asyncio.create_task(self._renew())
        try:
            yield
        finally:
            renewing.cancel()
            await asyncio.wait((renewing,))
            if self._held:
                await asyncio.shield(self.give_up(frozenset(self._held)))

    async def take(self, ids: Collection[str]) -> bool:
        """Take all of them, or none."""
        now = self._now()
        self._held.update(ids)  # first, so that they are given up in any case
        got = await self._directory.ask(self._store.claim(ids, self._work, self._holder, now, now + LEASE))
        if len(got) == len(ids):
            return True
        await self.give_up(ids)
        return False

    async def take_from_the_dead(self, ids: Collection[str]) -> bool:
        """Take all of them as soon as whoever has them is heard of no more; False as soon as that one is."""
        one = min(ids)
        seen = await self._until(one)
        deadline = self._now() + LEASE
        while not await self.take(ids):
            until = await self._until(one)
            if (until is not None and until != seen) or self._now() > deadline:
                return False
            await asyncio.sleep(_LOOK_EVERY)
        return True

    async def give_up(self, ids: Collection[str]) -> None:
        await self._directory.ask(self._store.release(ids, self._holder))
        self._held.difference_update(ids)

    def ended(self, ids: Collection[str]) -> None:
        """Renew them no more: the store has given them up with what came of them."""
        self._held.difference_update(ids)

    async def current(self, tenant_id: str) -> Tenant | None:
        """The tenant as it is now."""
        return await self._directory.ask(self._store.get(tenant_id))

    async def _until(self, tenant_id: str) -> datetime | None:
        tenant = await self.current(tenant_id)
        return None if tenant is None else tenant.work_until

    async def _renew(self) -> None:
        while True:
            await asyncio.sleep(_RENEW_EVERY)
            if self._held:
                with suppress(StoreUnavailableError):  # it is logged, and the next one may succeed
                    await self._directory.ask(
                        self._store.renew(frozenset(self._held), self._holder, self._now() + LEASE)
                    )
