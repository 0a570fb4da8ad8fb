"""The moves of tenants, in a dict, for tests."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import replace

from ..audit import AuditEntry
from ..tenant import Tenant
from .base import namespace_taken
from .moves import MoveRecord, move_changed


class InMemoryMoves(ABC):
    """The part of a store in memory that is a `MoveStore`."""

    _tenants: dict[str, Tenant]

    def __init__(self) -> None:
        super().__init__()
        self._moves: dict[str, MoveRecord] = {}

    @abstractmethod
    def _write_entries(self, entries: Sequence[AuditEntry]) -> None: ...

    async def begin_move(self, move: MoveRecord) -> None:
        if move.tenant_id not in self._tenants or move.tenant_id in self._moves:
            raise move_changed(move.tenant_id)
        places = {each.namespace for each in self._tenants.values()} | {each.namespace for each in self._moves.values()}
        if move.namespace in places:
            raise namespace_taken()
        self._moves[move.tenant_id] = move

    async def get_move(self, tenant_id: str) -> MoveRecord | None:
        return self._moves.get(tenant_id) if tenant_id in self._tenants else None

    async def list_moves(self) -> Sequence[MoveRecord]:
        return [move for tenant_id, move in sorted(self._moves.items()) if tenant_id in self._tenants]

    async def note_move(self, move: MoveRecord) -> None:
        current = await self.get_move(move.tenant_id)
        if current is not None:
            self._moves[move.tenant_id] = replace(current, details=move.details, updated_at=move.updated_at)

    async def flip_move(self, tenant: Tenant, move: MoveRecord, *, audit: Sequence[AuditEntry] = ()) -> Tenant:
        current, going = self._tenants.get(tenant.id), await self.get_move(tenant.id)
        if current is None or going is None or not current.is_settled:
            raise move_changed(tenant.id)
        if (current.namespace, going.namespace) != (move.namespace, tenant.namespace):
            raise move_changed(tenant.id)
        self._tenants[tenant.id] = flipped = replace(
            current,
            manager_type=tenant.manager_type,
            database_url=tenant.database_url,
            namespace=tenant.namespace,
            version=current.version + 1,
            updated_at=tenant.updated_at,
        )
        self._moves[tenant.id] = move
        self._write_entries(audit)
        return flipped

    async def end_move(self, move: MoveRecord) -> bool:
        current = await self.get_move(move.tenant_id)
        if current is None or current.phase != move.phase:
            return False
        del self._moves[move.tenant_id]
        return True
