"""The tenants that were made ahead, in a dict, for tests."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import replace

from ..audit import AuditEntry
from ..tenant import Tenant
from .pending import PendingTenant


class InMemoryPending(ABC):
    """The part of a store in memory that is a `PendingStore`."""

    def __init__(self) -> None:
        super().__init__()
        self._pending: dict[str, PendingTenant] = {}

    @abstractmethod
    async def add(self, tenant: Tenant) -> None: ...

    @abstractmethod
    def _write_entries(self, entries: Sequence[AuditEntry]) -> None: ...

    async def add_pending(self, pending: PendingTenant, at_most: int) -> bool:
        if sum(each.recipe == pending.recipe for each in self._pending.values()) >= at_most:
            return False
        self._pending[pending.id] = pending
        return True

    async def change_pending(self, before: PendingTenant, after: PendingTenant) -> bool:
        if not self._is_as(before):
            return False
        self._pending[before.id] = after
        return True

    async def remove_pending(self, pending: PendingTenant) -> bool:
        if not self._is_as(pending):
            return False
        del self._pending[pending.id]
        return True

    async def list_pending(self) -> Sequence[PendingTenant]:
        return sorted(self._pending.values(), key=lambda each: each.id)

    async def claim_pending(self, tenant: Tenant, recipe: str, *, audit: Sequence[AuditEntry] = ()) -> Tenant | None:
        found = next((each for each in await self.list_pending() if each.is_ready and each.recipe == recipe), None)
        if found is None:
            return None
        made = replace(tenant, id=found.id, namespace=found.namespace, revision=found.revision)
        await self.add(made)
        del self._pending[found.id]
        self._write_entries([replace(entry, tenant_id=made.id) for entry in audit])
        return made

    def _is_as(self, pending: PendingTenant) -> bool:
        current = self._pending.get(pending.id)
        return current is not None and (current.updated_at, current.is_ready) == (pending.updated_at, pending.is_ready)
