"""What is kept of tenants that were made ahead, and what a store of these must do."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol, runtime_checkable

from ..audit import AuditEntry
from ..tenant import Tenant


@dataclass(frozen=True, slots=True, kw_only=True)
class PendingTenant:
    """A place with tables in it that waits for its tenant.

    Attributes:
        id: of the tenant that it is to become.
        namespace: where it is; what the tenant's is to be.
        manager_type: the manager that keeps it.
        recipe: what decided how it was made: a tenant is given only what would be made the same way now.
        revision: of its tables, as Alembic names it.
        is_ready: whether it is whole, and waits.
        updated_at: when it became ready, UTC; while it is being made or dropped, when that was heard of last.
    """

    id: str
    namespace: str
    manager_type: str | None
    recipe: str
    revision: str | None = None
    is_ready: bool = False
    updated_at: datetime


@runtime_checkable
class PendingStore(Protocol):
    """The tenants that were made ahead. One is told from what it was before by its moment and whether it is ready."""

    async def add_pending(self, pending: PendingTenant, at_most: int) -> bool:
        """Record one that is about to be made; False if there are `at_most` of its recipe, or more.

        Of calls at the same time, none brings them above that; it may be that none succeeds.
        """

    async def change_pending(self, before: PendingTenant, after: PendingTenant) -> bool:
        """Write `after` over `before`, which has the same id; False if it is not as it was."""

    async def remove_pending(self, pending: PendingTenant) -> bool:
        """Forget one; False if it is not as it was."""

    async def list_pending(self) -> Sequence[PendingTenant]:
        """All of them, ready or not, in the order of their ids."""

    async def claim_pending(self, tenant: Tenant, recipe: str, *, audit: Sequence[AuditEntry] = ()) -> Tenant | None:
        """Record a new tenant in the place, and under the id, of one that is ready and of that recipe.

        All in one transaction, together with the entries, which get that id. No two calls are given the same.

        Returns:
            The tenant as it was recorded; None, and nothing is recorded, if none is ready.

        Raises:
            TenantExistsError: the tenant's identifier is taken; the place goes on waiting.
        """
