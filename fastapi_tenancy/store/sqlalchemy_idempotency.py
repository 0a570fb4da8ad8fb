"""The requests that may be repeated, in a SQL database."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any, TypeVar

from sqlalchemy import ColumnElement, Connection, RowMapping, Select, delete, insert, select, update
from sqlalchemy.exc import IntegrityError

from .idempotency import RequestRecord
from .models import aware, idempotency, naive

T = TypeVar("T")


class SQLAlchemyIdempotency(ABC):
    """The part of a SQL store that is an `IdempotencyStore`, in the table `tenancy_idempotency`."""

    @abstractmethod
    async def _write(self, work: Callable[[Connection], T]) -> T: ...

    @abstractmethod
    async def _rows(self, query: Select[Any]) -> Sequence[RowMapping]: ...

    async def begin_request(self, record: RequestRecord) -> RequestRecord | None:
        of_this_key = select(idempotency).where(idempotency.c.key_digest == record.key_digest)
        while True:
            try:
                await self._write(lambda connection: connection.execute(insert(idempotency).values(_to_row(record))))
            except IntegrityError:
                if rows := await self._rows(of_this_key):
                    return _to_record(rows[0])
            else:
                return None

    async def change_request(self, before: RequestRecord, after: RequestRecord) -> bool:
        change = update(idempotency).where(_is(before)).values(_to_row(after))
        return await self._write(lambda connection: connection.execute(change).rowcount) == 1

    async def forget_request(self, record: RequestRecord) -> bool:
        this = delete(idempotency).where(_is(record))
        return await self._write(lambda connection: connection.execute(this).rowcount) == 1

    async def forget_requests(self, before: datetime, limit: int) -> int:
        old = select(idempotency.c.key_digest).where(idempotency.c.created_at < naive(before)).limit(limit)

        def work(connection: Connection) -> int:
            # By their keys: MariaDB locks the gaps of a range, and a new request would wait for this.
            keys = connection.scalars(old).all()
            if keys:
                connection.execute(delete(idempotency).where(idempotency.c.key_digest.in_(keys)))
            return len(keys)

        return await self._write(work)


def _is(record: RequestRecord) -> ColumnElement[bool]:
    """The row, if it is still as `record` was read."""
    return (
        (idempotency.c.key_digest == record.key_digest)
        & (idempotency.c.created_at == naive(record.created_at))
        & (idempotency.c.status == record.status)
    )


def _to_row(record: RequestRecord) -> dict[str, Any]:
    return {
        "key_digest": record.key_digest,
        "request_digest": record.request_digest,
        "created_at": naive(record.created_at),
        "status": record.status,
        "body": record.body,
    }


def _to_record(row: RowMapping) -> RequestRecord:
    return RequestRecord(**{**row, "created_at": aware(row["created_at"])})
