"""Tenants as a fleet, in a SQL database."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import asdict
from datetime import datetime
from typing import Any, TypeVar

from sqlalchemy import Column, ColumnElement, Connection, RowMapping, Select, bindparam, func, insert, select, update

from ..audit import AuditEntry
from ..bus import Change
from ..tenant import Tenant, TenantStatus
from .fleet import MigrationRecord, Work
from .models import aware, migrations, naive, tenants
from .sqlalchemy_audit import write_entries

T = TypeVar("T")

_BATCH = 500  # ids in one statement; a server takes thousands, and a plan for each number of them

_FREE: dict[str, None] = {"work": None, "work_holder": None, "work_until": None}
_SETTLED = (TenantStatus.ACTIVE.value, TenantStatus.SUSPENDED.value)

_RECORD = (
    update(tenants)
    .where(tenants.c.id == bindparam("the_id"), tenants.c.version == bindparam("read_version"))
    .values(revision=bindparam("found"), version=tenants.c.version + 1)
)


class SQLAlchemyFleet(ABC):
    """The part of a SQL store that is a `FleetStore`: columns of `tenancy_tenants`, and `tenancy_migrations`."""

    @abstractmethod
    async def _write(self, work: Callable[[Connection], T]) -> T: ...

    @abstractmethod
    async def _rows(self, query: Select[Any]) -> Sequence[RowMapping]: ...

    @abstractmethod
    async def _tenants(self, query: Select[Any]) -> Sequence[Tenant]: ...

    @abstractmethod
    def _tell(self, connection: Connection, *changes: Change) -> None: ...

    async def fleet(self, limit: int, after: str | None = None) -> Sequence[Tenant]:
        query = select(tenants).where(tenants.c.identifier.is_not(None)).order_by(tenants.c.id).limit(limit)
        return await self._tenants(query if after is None else query.where(tenants.c.id > after))

    async def claim(
        self, ids: Collection[str], work: Work, holder: str, now: datetime, until: datetime
    ) -> Collection[str]:
        free = tenants.c.work.is_(None) | (tenants.c.work_until <= naive(now))
        claimable = free & tenants.c.identifier.is_not(None) & tenants.c.status.in_(_SETTLED)
        leased = {"work": work, "work_holder": holder, "work_until": naive(until)}

        def claimed(connection: Connection) -> set[str]:
            held = set[str]()
            for these in _batches(ids):
                connection.execute(update(tenants).where(these, claimable).values(leased))
                held |= set(connection.scalars(select(tenants.c.id).where(these, _is_held(holder))))
            self._tell(connection, *map(Change.of_tenant, held))
            return held

        return await self._write(claimed)

    async def renew(self, ids: Collection[str], holder: str, until: datetime) -> None:
        await self._write(lambda connection: _change_held(connection, ids, holder, {"work_until": naive(until)}))

    async def release(self, ids: Collection[str], holder: str) -> None:
        def work(connection: Connection) -> None:
            _change_held(connection, ids, holder, _FREE)
            self._tell(connection, *map(Change.of_tenant, ids))

        await self._write(work)

    async def record_revisions(self, revisions: Mapping[Tenant, str | None]) -> None:
        if revisions:
            rows = [
                {"the_id": tenant.id, "read_version": tenant.version, "found": revision}
                for tenant, revision in revisions.items()
            ]

            def work(connection: Connection) -> None:
                connection.execute(_RECORD, rows)
                self._tell(connection, *(Change.of_tenant(tenant.id) for tenant in revisions))

            await self._write(work)

    async def begin_migrations(self, records: Sequence[MigrationRecord]) -> None:
        rows = [_to_row(record) for record in records]
        await self._write(lambda connection: connection.execute(insert(migrations), rows))

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
        begun = update(migrations).where(migrations.c.run_id == holder, migrations.c.finished_at.is_(None))
        ended = begun.values(finished_at=naive(finished_at), error=error)
        migrated = {**_FREE, "revision": revision, "version": tenants.c.version + 1}

        def end(connection: Connection) -> None:
            for these in _batches(ids, migrations.c.tenant_id):
                connection.execute(ended.where(these))
            _change_held(connection, ids, holder, migrated)
            write_entries(connection, audit)
            self._tell(connection, *map(Change.of_tenant, ids))

        await self._write(end)

    async def last_migrations(self, tenant_id: str | None = None) -> Mapping[str, MigrationRecord]:
        last = select(func.max(migrations.c.id)).group_by(migrations.c.tenant_id)
        if tenant_id is not None:
            last = last.where(migrations.c.tenant_id == tenant_id)
        rows = await self._rows(select(migrations).where(migrations.c.id.in_(last)))
        return {row["tenant_id"]: _to_record(row) for row in rows}


def _change_held(connection: Connection, ids: Collection[str], holder: str, values: Mapping[str, Any]) -> None:
    for these in _batches(ids):
        connection.execute(update(tenants).where(these, _is_held(holder)).values(values))


def _batches(ids: Collection[str], column: Column[str] = tenants.c.id) -> Iterator[ColumnElement[bool]]:
    ids = sorted(ids)  # in one order, so that two who lock many rows do not wait for each other
    return (column.in_(ids[start : start + _BATCH]) for start in range(0, len(ids), _BATCH))


def _is_held(holder: str) -> ColumnElement[bool]:
    return tenants.c.work_holder == holder


def _to_row(record: MigrationRecord) -> dict[str, Any]:
    finished = None if record.finished_at is None else naive(record.finished_at)
    return {**asdict(record), "started_at": naive(record.started_at), "finished_at": finished}


def _to_record(row: RowMapping) -> MigrationRecord:
    finished = None if row["finished_at"] is None else aware(row["finished_at"])
    given = {name: value for name, value in row.items() if name != "id"}
    return MigrationRecord(**{**given, "started_at": aware(row["started_at"]), "finished_at": finished})
