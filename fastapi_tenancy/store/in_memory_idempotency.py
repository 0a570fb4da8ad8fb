"""The requests that may be repeated, in a dict, for tests."""

from datetime import datetime

from .idempotency import RequestRecord


class InMemoryIdempotency:
    """The part of a store in memory that is an `IdempotencyStore`."""

    def __init__(self) -> None:
        super().__init__()
        self._requests: dict[str, RequestRecord] = {}

    async def begin_request(self, record: RequestRecord) -> RequestRecord | None:
        earlier = self._requests.get(record.key_digest)
        if earlier is None:
            self._requests[record.key_digest] = record
        return earlier

    async def change_request(self, before: RequestRecord, after: RequestRecord) -> bool:
        if not self._is_there(before):
            return False
        self._requests[before.key_digest] = after
        return True

    async def forget_request(self, record: RequestRecord) -> bool:
        if not self._is_there(record):
            return False
        del self._requests[record.key_digest]
        return True

    async def forget_requests(self, before: datetime, limit: int) -> int:
        old = [key for key, record in self._requests.items() if record.created_at < before][:limit]
        for key in old:
            del self._requests[key]
        return len(old)

    def _is_there(self, record: RequestRecord) -> bool:
        current = self._requests.get(record.key_digest)
        return current is not None and (current.created_at, current.status) == (record.created_at, record.status)
