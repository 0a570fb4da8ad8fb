"""What is kept of a request that a client may repeat, and what a store of these must do."""

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Protocol, runtime_checkable


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestRecord:
    """One request with an idempotency key, which is kept as a digest only.

    Attributes:
        key_digest: SHA-256 of the key and of whose it is, in hexadecimal.
        request_digest: SHA-256 of the key and of what was asked for, in hexadecimal.
        created_at: when it was begun, UTC; while it is being carried out, when it was heard of last.
        status: of its answer; None while it is being carried out.
        body: the answer, JSON; while it is being carried out, what whoever has to go on with it must know.
    """

    key_digest: str
    request_digest: str
    created_at: datetime
    status: int | None = None
    body: Any = field(default=None, repr=False)


@runtime_checkable
class IdempotencyStore(Protocol):
    """The requests that may be repeated. A record is told from what it was before by its moment and its status."""

    async def begin_request(self, record: RequestRecord) -> RequestRecord | None:
        """Record a request, unless there is one of that key: then return that one, and change nothing."""

    async def change_request(self, before: RequestRecord, after: RequestRecord) -> bool:
        """Write `after` over `before`, which has the same key; False if it is not as it was."""

    async def forget_request(self, record: RequestRecord) -> bool:
        """Forget a request; False if it is not as it was."""

    async def forget_requests(self, before: datetime, limit: int) -> int:
        """Forget at most `limit` requests that were begun before a moment, and return how many those were."""
