"""What is kept of a tenant that is taken to another place, and what a store of these must do."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal, Protocol, runtime_checkable

from ..audit import AuditEntry
from ..errors import TenantConflictError
from ..tenant import Tenant


@dataclass(frozen=True, slots=True, kw_only=True)
class MoveRecord:
    """A tenant's move, from its beginning until what it leaves behind is dropped.

    Attributes:
        tenant_id: whose.
        phase: "copying" until the tenant is in the new place, then "moved".
        manager_type: of the other place: while it is copied, the one that it goes to; afterwards, the one it was in.
        database_url: of the other place.
        namespace: of the other place; no two moves have the same.
        details: what else whoever goes on with it has to know, JSON.
        started_at: UTC.
        updated_at: when its phase or details changed last, UTC.
    """

    tenant_id: str
    phase: Literal["copying", "moved"]
    manager_type: str | None
    database_url: str | None = field(repr=False)  # it may hold a password
    namespace: str
    details: Mapping[str, Any] = field(default_factory=dict)
    started_at: datetime
    updated_at: datetime


@runtime_checkable
class MoveStore(Protocol):
    """The tenants that are being moved, and those of which the place that they left is still kept."""

    async def begin_move(self, move: MoveRecord) -> None:
        """Record a move.

        Raises:
            TenantConflictError: there is one of that tenant.
            NamespaceExistsError: its namespace is a tenant's, or another move's.
        """

    async def get_move(self, tenant_id: str) -> MoveRecord | None: ...

    async def list_moves(self) -> Sequence[MoveRecord]:
        """All of them, in the order of their tenants' ids."""

    async def note_move(self, move: MoveRecord) -> None:
        """Write the details and the moment of a move that is there."""

    async def flip_move(self, tenant: Tenant, move: MoveRecord, *, audit: Sequence[AuditEntry] = ()) -> Tenant:
        """Exchange the tenant's place and that of its move, and record what `move` says now, at once.

        Args:
            tenant: with its new place.
            move: with the tenant's former place.
            audit: entries, only where the store is an `AuditStore`.

        Returns:
            The tenant as it is then, with the next version number and whatever else was changed since it was read.

        Raises:
            TenantConflictError: the tenant or the move is not where they were, or the tenant is being deleted.
        """

    async def end_move(self, move: MoveRecord) -> bool:
        """Forget a move; False if it is gone, or in another phase."""


def move_changed(tenant_id: str) -> TenantConflictError:
    return TenantConflictError(f"somebody else moves the tenant {tenant_id}, or deletes it; look where it is now")
