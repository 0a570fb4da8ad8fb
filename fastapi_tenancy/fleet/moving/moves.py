"""Take a tenant to another place, so that it is served all the time, and a kill at any moment loses nothing."""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import datetime, timedelta
from threading import Event
from typing import Any
from uuid import uuid4

from sqlalchemy import URL
from sqlalchemy.exc import SQLAlchemyError

from ...acts import Acts
from ...directory import TenantDirectory
from ...errors import MoveError, TenancyError, TenantConflictError, TenantUnavailableError
from ...events import EventKind
from ...migrations import revision_of
from ...multitenant import BaseMultitenantManager, MultitenantManagerProvider
from ...multitenant.tables import TenantTables
from ...store import FleetStore, MoveRecord, MoveStore
from ...tenant import Tenant
from ..migrating.leases import Leases
from .copying import Copying
from .destination import destination
from .records import busy, finished, placed, reported
from .report import Moved, MoveProgress, OnProgress

logger = logging.getLogger(__name__)


class TenantMoves:
    """Moves tenants. Each step can be done again, so a move that was cut short goes on from its beginning, and fast.

    Args:
        directory: reads the tenants.
        store: keeps the moves.
        fleet: the same store, for its leases.
        provider: of the managers of the two places.
        now: the time of day in UTC.
        acts: asks and tells.
    """

    def __init__(
        self,
        directory: TenantDirectory,
        store: MoveStore,
        fleet: FleetStore,
        provider: MultitenantManagerProvider,
        now: Callable[[], datetime],
        acts: Acts,
    ) -> None:
        self._directory = directory
        self._store = store
        self._fleet = fleet
        self._provider = provider
        self._now = now
        self._acts = acts

    async def move(
        self, identifier: str, to: str, isolation: str | None, database_url: str | URL | None, tell: OnProgress | None
    ) -> Moved:
        """As `Tenancy.move_tenant`."""
        tenant = await self._settled(identifier)
        there = await destination(self._provider, tenant, to, isolation, database_url)
        async with self._leased(tenant) as leases:
            tenant = await self._settled(identifier)
            record = await self.find(tenant)
            if record is not None and record.phase == "moved":
                return finished(tenant, there, record)
            if record is None:
                record = await self._begin(tenant, there)
            elif record.namespace != there.namespace:
                raise MoveError(
                    f"{identifier!r} is being moved to {record.namespace}; go on with that, or undo it: abort_move"
                )
            try:
                return await self._carry_out(tenant, placed(tenant, record), record, leases, tell)
            except BaseException:
                # Also when cancelled. A kill is another matter: then the same call goes on.
                await asyncio.shield(self._undo_quietly(tenant, record, leases))
                raise

    async def abort(self, identifier: str) -> Tenant:
        """As `Tenancy.abort_move`."""
        tenant = await self._settled(identifier)
        async with self._leased(tenant):
            record = await self._required(tenant)
            if record.phase == "moved":
                raise MoveError(
                    f"{identifier!r} has been moved; drop what it left with confirm_move, and then move it back"
                )
            await self._undo(tenant, record)
        return await self._directory.read(identifier)

    async def confirm(self, identifier: str, *, at_once: bool) -> None:
        """As `Tenancy.confirm_move`."""
        tenant = await self._settled(identifier)
        async with self._leased(tenant):
            record = await self._required(tenant)
            if record.phase != "moved":
                raise MoveError(f"{identifier!r} is not moved yet; call move_tenant again, or abort_move")
            self._refuse_early(tenant, record, at_once)
            await self._drop(placed(tenant, record), of=tenant)
            await self._directory.ask(self._store.end_move(record))
        logger.info("move confirmed", extra={"tenant": tenant.id, "dropped": record.namespace})

    async def refuse_while_moving(self, tenant: Tenant) -> None:
        """Keep a tenant from being deleted whose data are in two places."""
        record = await self.find(tenant)
        if record is not None:
            way = "abort_move" if record.phase == "copying" else "confirm_move"
            raise MoveError(f"{tenant.identifier!r} has data in {record.namespace}, too; end its move first: {way}")

    async def find(self, tenant: Tenant) -> MoveRecord | None:
        return await self._directory.ask(self._store.get_move(tenant.id))

    async def _begin(self, tenant: Tenant, there: Tenant) -> MoveRecord:
        if tenant.namespace == there.namespace:
            raise MoveError(f"{tenant.identifier!r} is kept there already: {there.namespace}")
        self._provider.for_tenant(tenant).check_namespace(tenant)
        here, elsewhere = await self._tables(tenant), await self._tables(there)
        if (here.url, here.schema, here.rows_of) == (elsewhere.url, elsewhere.schema, elsewhere.rows_of):
            raise MoveError(f"{tenant.namespace} and {there.namespace} are the same tables")
        await self._refuse_behind(tenant, here)
        await self._acts.act({EventKind.MOVED: {"from": tenant.namespace, "to": there.namespace}}, tenant).ask()
        moment = self._now()
        record = MoveRecord(
            tenant_id=tenant.id,
            phase="copying",
            manager_type=there.manager_type,
            database_url=there.database_url,
            namespace=str(there.namespace),
            started_at=moment,
            updated_at=moment,
        )
        await self._directory.ask(self._store.begin_move(record))
        return record

    async def _carry_out(
        self, tenant: Tenant, there: Tenant, record: MoveRecord, leases: Leases, tell: OnProgress | None
    ) -> Moved:
        await self._provider.for_tenant(there).create_tenant(there)
        copying = await self._copying(tenant, there, tell)
        await _in_a_thread(copying, copying.check)
        record = await self._fence(copying, record)
        await _in_a_thread(copying, copying.copy)
        rows = await _in_a_thread(copying, copying.verify)
        if not await leases.take([tenant.id]):  # the store was away so long that somebody else has begun
            raise busy(tenant)
        return await self._flip(tenant, there, record, rows)

    async def _fence(self, copying: Copying, record: MoveRecord) -> MoveRecord:
        if "read_only_since" not in record.details:
            moment = self._now()
            record = replace(record, details={"read_only_since": moment.isoformat()}, updated_at=moment)
            await self._directory.ask(self._store.note_move(record))
        await _in_a_thread(copying, copying.fence)
        return record

    async def _flip(self, tenant: Tenant, there: Tenant, record: MoveRecord, rows: dict[str, int]) -> Moved:
        moment = self._now()
        since = datetime.fromisoformat(record.details["read_only_since"])
        details = {"rows": rows, "read_only_seconds": (moment - since).total_seconds()}
        left = MoveRecord(
            tenant_id=tenant.id,
            phase="moved",
            manager_type=tenant.manager_type,
            database_url=tenant.database_url,
            namespace=str(tenant.namespace),
            details=details,
            started_at=record.started_at,
            updated_at=moment,
        )
        there = replace(there, updated_at=moment)
        told = {"from": tenant.namespace, "to": there.namespace, "rows": sum(rows.values())}
        act = self._acts.act({EventKind.MOVED: told}, there, before=tenant)
        try:
            saved = await self._directory.ask(self._store.flip_move(there, left, audit=act.entries))
        finally:
            await self._directory.forget(tenant)
        for place in (tenant, saved):
            await self._provider.for_tenant(place).update_tenant(saved)
        logger.info("tenant moved", extra={"tenant": tenant.id, **details})
        await act.done(saved)
        return reported(saved, left)

    async def _undo_quietly(self, tenant: Tenant, record: MoveRecord, leases: Leases) -> None:
        """Leave it to the next call where this fails too, so that the caller hears of the first failure."""
        try:
            current = await self.find(tenant)  # whoever waits in vain has not learnt whether it was flipped
            if current is not None and current.phase == "copying" and await leases.take([tenant.id]):
                await self._undo(tenant, record)
        except (TenancyError, SQLAlchemyError, OSError) as error:
            logger.warning("failed move left behind", extra={"tenant": tenant.id}, exc_info=error)

    async def _undo(self, tenant: Tenant, record: MoveRecord) -> None:
        there = placed(tenant, record)
        copying = await self._copying(tenant, there, None)
        await asyncio.to_thread(copying.unfence)  # first, so that the tenant can be written again
        await self._drop(there, of=tenant)
        await self._directory.ask(self._store.end_move(record))
        logger.info("move undone", extra={"tenant": tenant.id, "dropped": record.namespace})

    async def _drop(self, place: Tenant, *, of: Tenant) -> None:
        """Drop a place in which the tenant is not."""
        manager, current = self._provider.for_tenant(place), self._provider.for_tenant(of)
        tables = await self._tables(place)
        if tables.rows_of is not None:
            nothing = Copying(tables, tables, self._metadata, place.id, lambda *_: None, Event())
            await asyncio.to_thread(nothing.unfence)  # else they could not be deleted
        if manager is current:  # it has the tenant open in its new place
            await manager.drop_tenant(place)
        else:
            await manager.remove_tenant(place, drop_data=True)

    async def _copying(self, tenant: Tenant, there: Tenant, tell: OnProgress | None) -> Copying:
        loop = asyncio.get_running_loop()

        def told(*progress: Any) -> None:
            if tell is not None:
                loop.call_soon_threadsafe(tell, MoveProgress(*progress))

        source, target = await self._tables(tenant), await self._tables(there)
        return Copying(source, target, self._metadata, tenant.id, told, Event())

    async def _refuse_behind(self, tenant: Tenant, here: TenantTables) -> None:
        scripts = self._provider.root_profile.scripts
        if scripts is None or scripts.head is None:
            return
        revision = await asyncio.to_thread(_revision, here)
        if revision != scripts.head:
            raise MoveError(
                f"the tables of {tenant.identifier!r} are at revision {revision}, and new ones at {scripts.head}; run: "
                f"fastapi-tenancy migrate --tenant {tenant.identifier}"
            )

    def _refuse_early(self, tenant: Tenant, record: MoveRecord, at_once: bool) -> None:
        settings = self._provider.root_profile.settings
        left = (record.updated_at + timedelta(seconds=settings.cache_ttl) - self._now()).total_seconds()
        if left > 0 and not at_once:
            raise TenantUnavailableError(
                f"other workers may read what {tenant.identifier!r} left for another {left:.0f} s (cache_ttl); confirm "
                "it then, or with at_once=True where there is no other worker",
                retry_after=int(left) + 1,
            )

    @asynccontextmanager
    async def _leased(self, tenant: Tenant) -> AsyncIterator[Leases]:
        """Work on the tenant as the only one; a mover that died is waited for until its lease has ended.

        Raises:
            TenantConflictError: somebody else works on it.
        """
        leases = Leases(self._directory, self._fleet, uuid4().hex, self._now, "move")
        async with leases.kept():
            if not await leases.take_from_the_dead([tenant.id]):
                raise busy(tenant)
            yield leases

    async def _settled(self, identifier: str) -> Tenant:
        tenant = await self._directory.read(identifier)
        if not tenant.is_settled:
            raise TenantConflictError(f"the tenant {identifier!r} is {tenant.status}; wait until that has ended")
        return tenant

    async def _required(self, tenant: Tenant) -> MoveRecord:
        record = await self.find(tenant)
        if record is None:
            raise MoveError(f"{tenant.identifier!r} is not being moved")
        return record

    async def _tables(self, tenant: Tenant) -> TenantTables:
        manager: BaseMultitenantManager = self._provider.for_tenant(tenant)
        return await manager.tables(tenant)

    @property
    def _metadata(self) -> Any:
        return self._provider.root_profile.metadata


def _revision(tables: TenantTables) -> str | None:
    with tables.connect() as connection:
        return revision_of(connection)


async def _in_a_thread(copying: Copying, step: Callable[[], Any]) -> Any:
    """A step; whoever is cancelled waits until it has stopped, since nobody may undo what is still being done."""
    work = asyncio.ensure_future(asyncio.to_thread(step))
    try:
        return await asyncio.shield(work)
    except asyncio.CancelledError:
        copying.stop.set()
        await asyncio.wait((work,))
        raise
