"""The moves of tenants, in a SQL database."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from sqlalchemy import Connection, RowMapping, Select, delete, insert, select, update
from sqlalchemy.exc import IntegrityError

from ..audit import AuditEntry
from ..bus import Change
from ..tenant import Tenant, TenantStatus, plain
from .base import namespace_taken
from .models import aware, moves, naive, tenants
from .moves import MoveRecord, move_changed
from .sealed import SealedRows
from .sqlalchemy_audit import write_entries

T = TypeVar("T")

_SETTLED = (TenantStatus.ACTIVE.value, TenantStatus.SUSPENDED.value)


class SQLAlchemyMoves(ABC):
    """The part of a SQL store that is a `MoveStore`, in the table `tenancy_moves`."""

    _sealed: SealedRows

    @abstractmethod
    async def _write(self, work: Callable[[Connection], T]) -> T: ...

    @abstractmethod
    async def _rows(self, query: Select[Any]) -> Sequence[RowMapping]: ...

    @abstractmethod
    def _tell(self, connection: Connection, *changes: Change) -> None: ...

    @abstractmethod
    async def get(self, tenant_id: str) -> Tenant | None: ...

    async def begin_move(self, move: MoveRecord) -> None:
        taken = select(tenants.c.id).where(tenants.c.namespace == move.namespace)

        def work(connection: Connection) -> None:
            if connection.scalar(taken) is not None:
                raise namespace_taken()
            connection.execute(insert(moves).values(self._move_row(move)))

        try:
            await self._write(work)
        except IntegrityError as error:
            if await self.get_move(move.tenant_id) is not None:
                raise move_changed(move.tenant_id) from error
            raise namespace_taken() from error

    async def get_move(self, tenant_id: str) -> MoveRecord | None:
        rows = await self._rows(select(moves).where(moves.c.tenant_id == tenant_id))
        return self._to_move(rows[0]) if rows else None

    async def list_moves(self) -> Sequence[MoveRecord]:
        return [self._to_move(row) for row in await self._rows(select(moves).order_by(moves.c.tenant_id))]

    async def note_move(self, move: MoveRecord) -> None:
        noted = {"details": plain(move.details), "updated_at": naive(move.updated_at)}
        change = update(moves).where(moves.c.tenant_id == move.tenant_id).values(noted)
        await self._write(lambda connection: connection.execute(change))

    async def flip_move(self, tenant: Tenant, move: MoveRecord, *, audit: Sequence[AuditEntry] = ()) -> Tenant:
        where_it_was = (
            tenants.c.id == tenant.id,
            tenants.c.namespace == move.namespace,
            tenants.c.status.in_(_SETTLED),
        )
        moved = {
            "manager_type": tenant.manager_type,
            "database_url": self._sealed.closed_url(tenant.id, tenant.database_url),
            "namespace": tenant.namespace,
            "version": tenants.c.version + 1,
            "updated_at": naive(tenant.updated_at),
        }
        kept = self._move_row(move)

        def work(connection: Connection) -> None:
            flipped = connection.execute(update(tenants).where(*where_it_was).values(moved)).rowcount
            this_move = (moves.c.tenant_id == tenant.id, moves.c.namespace == tenant.namespace)
            if flipped != 1 or connection.execute(update(moves).where(*this_move).values(kept)).rowcount != 1:
                raise move_changed(tenant.id)
            write_entries(connection, audit)
            self._tell(connection, Change.of_tenant(tenant.id))

        await self._write(work)
        found = await self.get(tenant.id)
        if found is None:
            raise move_changed(tenant.id)
        return found

    async def end_move(self, move: MoveRecord) -> bool:
        this = delete(moves).where(moves.c.tenant_id == move.tenant_id, moves.c.phase == move.phase)
        return await self._write(lambda connection: connection.execute(this).rowcount) == 1

    def _move_row(self, move: MoveRecord) -> dict[str, Any]:
        return {
            "tenant_id": move.tenant_id,
            "phase": move.phase,
            "manager_type": move.manager_type,
            "database_url": self._sealed.closed_url(move.tenant_id, move.database_url),
            "namespace": move.namespace,
            "encrypted": False,
            "details": plain(move.details),
            "started_at": naive(move.started_at),
            "updated_at": naive(move.updated_at),
        }

    def _to_move(self, row: RowMapping) -> MoveRecord:
        return MoveRecord(
            tenant_id=row["tenant_id"],
            phase=row["phase"],
            manager_type=row["manager_type"],
            database_url=self._sealed.opened_url(row["tenant_id"], row["database_url"]),
            namespace=row["namespace"],
            details=row["details"],
            started_at=aware(row["started_at"]),
            updated_at=aware(row["updated_at"]),
        )
