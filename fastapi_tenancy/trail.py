"""Read the audit trail, and forget what is old of it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from .audit import AuditEntry, current_actor
from .directory import TenantDirectory
from .errors import TenantNotFoundError
from .store import AuditStore


@dataclass(frozen=True, slots=True)
class AuditPage:
    """Some entries, the newest first.

    Attributes:
        items: the entries.
        next: what `after` takes to give the next page, of older ones; None on the last.
    """

    items: Sequence[AuditEntry]
    next: int | None


class AuditTrail:
    """What the store has recorded of administrative acts."""

    def __init__(self, store: AuditStore, directory: TenantDirectory, now: Callable[[], datetime]) -> None:
        self._store = store
        self._directory = directory
        self._now = now

    async def page(self, identifier: str | None, limit: int, after: int | None) -> AuditPage:
        if not 1 <= limit <= 1000:
            raise ValueError(f"limit is {limit}; give 1 to 1000")
        found = await self._find(identifier, limit + 1, after)
        items = found[:limit]
        return AuditPage(items, items[-1].id if len(found) > limit else None)

    async def prune(self, before: datetime) -> int:
        if before.tzinfo is None:
            raise ValueError("before has no time zone; give one, such as datetime.now(UTC) - timedelta(days=365)")
        entry = self.entry("audit_pruned", before=before.isoformat())
        return await self._directory.ask(self._store.prune_audit(before, [entry]))

    def entry(self, action: str, **details: Any) -> AuditEntry:
        """What is done now, to no tenant in particular."""
        return AuditEntry(
            action=action, at=self._now(), actor=current_actor(), tenant_id=None, identifier=None, details=details
        )

    async def _find(self, identifier: str | None, limit: int, after: int | None) -> Sequence[AuditEntry]:
        if identifier is None:
            return await self._directory.ask(self._store.list_audit(limit, after))
        try:
            tenant = await self._directory.read(identifier)
        except TenantNotFoundError:  # what was done to tenants that are gone can still be read
            found = await self._directory.ask(self._store.list_audit(limit, after, identifier=identifier))
            if not found and after is None:
                raise
            return found
        return await self._directory.ask(self._store.list_audit(limit, after, tenant_id=tenant.id))
