"""The audit trail in a SQL database."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any, TypeVar

from sqlalchemy import Connection, RowMapping, Select, delete, insert, select

from ..audit import AuditEntry
from ..tenant import plain
from .models import audit as trail
from .models import aware, naive

T = TypeVar("T")

_WRITE = insert(trail)


def write_entries(connection: Connection, entries: Sequence[AuditEntry]) -> None:
    """Write entries in the transaction of what they tell of."""
    if entries:
        connection.execute(_WRITE, [_to_row(entry) for entry in entries])


class SQLAlchemyAudit(ABC):
    """The part of a SQL store that is an `AuditStore`, in the table `tenancy_audit`."""

    @abstractmethod
    async def _write(self, work: Callable[[Connection], T]) -> T: ...

    @abstractmethod
    async def _rows(self, query: Select[Any]) -> Sequence[RowMapping]: ...

    async def list_audit(
        self, limit: int, after: int | None = None, *, tenant_id: str | None = None, identifier: str | None = None
    ) -> Sequence[AuditEntry]:
        query = select(trail).order_by(trail.c.id.desc()).limit(limit)
        if after is not None:
            query = query.where(trail.c.id < after)
        if tenant_id is not None:
            query = query.where(trail.c.tenant_id == tenant_id)
        if identifier is not None:
            bearers = select(trail.c.tenant_id).where(trail.c.identifier == identifier)
            query = query.where(trail.c.tenant_id.in_(bearers))
        return [_to_entry(row) for row in await self._rows(query)]

    async def prune_audit(self, before: datetime, audit: Sequence[AuditEntry] = ()) -> int:
        old = delete(trail).where(trail.c.at < naive(before))

        def work(connection: Connection) -> int:
            pruned = connection.execute(old).rowcount
            write_entries(connection, audit)
            return pruned

        return await self._write(work)


def _to_row(entry: AuditEntry) -> dict[str, Any]:
    return {
        "at": naive(entry.at),
        "actor": entry.actor,
        "action": entry.action,
        "tenant_id": entry.tenant_id,
        "identifier": entry.identifier,
        "details": plain(entry.details),
    }


def _to_entry(row: RowMapping) -> AuditEntry:
    return AuditEntry(**{**row, "at": aware(row["at"])})
