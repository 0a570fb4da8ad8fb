"""Seal the secrets in a SQL database again, with the newest key."""

import logging
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, TypeVar

from sqlalchemy import Connection, RowMapping, Select, select, update

from ..audit import AuditEntry
from ..errors import SealError
from .base import Resealed
from .models import moves, tenants
from .sealed import SealedRows
from .sqlalchemy_audit import write_entries

logger = logging.getLogger(__name__)

T = TypeVar("T")

_PAGE = 100  # rows that are looked at at once; each that is stale gets a transaction of its own


class SQLAlchemySealing(ABC):
    """The part of a SQL store that is a `SealingStore`, in the table `tenancy_tenants`."""

    _sealed: SealedRows

    @abstractmethod
    async def _write(self, work: Callable[[Connection], T]) -> T: ...

    @abstractmethod
    async def _read(self, work: Callable[[Connection], T]) -> T: ...

    @abstractmethod
    async def _rows(self, query: Select[Any]) -> Sequence[RowMapping]: ...

    @property
    def is_sealing(self) -> bool:
        return self._sealed.is_sealing

    async def reseal(self, audit: Sequence[AuditEntry] = ()) -> Resealed:
        await self._write(lambda connection: write_entries(connection, audit))
        resealed, left, last = 0, list[str](), ""
        query = select(tenants).order_by(tenants.c.id).limit(_PAGE)
        while rows := await self._rows(query.where(tenants.c.id > last)):
            last = rows[-1]["id"]
            for row in filter(self._sealed.is_stale, rows):
                try:
                    resealed += await self._reseal(row["id"])
                except SealError as error:
                    logger.warning("tenant not resealed", extra={"tenant": row["id"]}, exc_info=error)
                    left.append(row["identifier"] or row["former_identifier"])
        await self._reseal_moves()
        await self._read(_overwrite_deleted)
        return Resealed(resealed, left)

    async def _reseal_moves(self) -> None:
        """The other places of tenants that are being moved."""
        for row in await self._rows(select(moves.c.tenant_id)):
            await self._write(partial(_reseal_move, self._sealed, row["tenant_id"]))

    async def _reseal(self, tenant_id: str) -> bool:
        this = tenants.c.id == tenant_id

        def work(connection: Connection) -> bool:
            # The lock holds off every other change, so that none is overwritten.
            row = connection.execute(select(tenants).where(this).with_for_update()).mappings().first()
            if row is None or not self._sealed.is_stale(row):
                return False  # deleted, or written, since it was found
            connection.execute(update(tenants).where(this).values(self._sealed.renewed(row)))
            return True

        return await self._write(work)


def _reseal_move(sealed: SealedRows, tenant_id: str, connection: Connection) -> None:
    this = moves.c.tenant_id == tenant_id
    url = connection.scalar(select(moves.c.database_url).where(this).with_for_update())
    if sealed.is_stale_url(url):
        renewed = sealed.closed_url(tenant_id, sealed.opened_url(tenant_id, url))
        connection.execute(update(moves).where(this).values(database_url=renewed))


def _overwrite_deleted(connection: Connection) -> None:
    # SQLite leaves what it replaced in free pages and in the -wal file, and so what was once stored in plain.
    if connection.dialect.name == "sqlite":
        connection.exec_driver_sql("VACUUM")
        connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)")
