"""What a store that keeps the audit trail must do."""

from collections.abc import Sequence
from datetime import datetime
from typing import Protocol, runtime_checkable

from ..audit import AuditEntry


@runtime_checkable
class AuditStore(Protocol):
    """The audit trail. Its entries come with the writes of what they tell of (`audit=`), and outlive their tenants.

    Both are written in one transaction: a write that fails leaves no entry, and one whose entry fails changes nothing.
    """

    async def list_audit(
        self, limit: int, after: int | None = None, *, tenant_id: str | None = None, identifier: str | None = None
    ) -> Sequence[AuditEntry]:
        """At most `limit` entries, the newest first, from the first one that is older than `after`.

        Args:
            limit: how many.
            after: the id of an entry.
            tenant_id: of this tenant only.
            identifier: of all tenants that have had this identifier in an entry.
        """

    async def prune_audit(self, before: datetime, audit: Sequence[AuditEntry] = ()) -> int:
        """Forget the entries that are older, record `audit`, and return how many they were."""
