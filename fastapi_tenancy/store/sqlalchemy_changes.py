"""Tell of changes in a SQL database, in the transactions that make them."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Literal, TypeVar

from sqlalchemy import URL, Connection, bindparam, delete, func, insert, select

from ..bus import Change, Write
from ..urls import is_sqlite, sqlite_file
from .models import changes as log
from .models import store as this_store

T = TypeVar("T")

_KEPT = 1000  # entries of the log, at the least; whoever has not seen one that is gone forgets everything
_PRUNED_EVERY = 100  # entries

_NOTIFY = select(func.pg_notify(bindparam("channel"), bindparam("message")))
_TAKE_TURN = select(this_store.c.id).with_for_update()
_LOG = insert(log)
_PRUNE = delete(log).where(log.c.id <= bindparam("last"))
_FROM = select(log.c.id, log.c.message).where(log.c.id >= bindparam("first")).order_by(log.c.id)


class SQLAlchemyChanges(ABC):
    """The part of a SQL store that is a `ChangeStore`, in the tables `tenancy_store` and `tenancy_changes`."""

    url: URL
    store_id = ""
    _write_message: Write | None = None
    _send: Callable[[Connection, str], None]

    @abstractmethod
    async def _read(self, work: Callable[[Connection], T]) -> T: ...

    @abstractmethod
    async def _has_changed(self) -> bool: ...

    @property
    def channel(self) -> str:
        return f"tenancy_{self.store_id}"

    @property
    def buses(self) -> Sequence[Literal["postgresql", "poll"]]:
        if self.url.get_backend_name() == "postgresql":
            return ("postgresql", "poll")
        return () if is_sqlite(self.url) and sqlite_file(self.url) is None else ("poll",)

    def notify_changes(self, write: Write | None) -> None:
        self._write_message, self._send = write, self._notify

    def log_changes(self, write: Write | None) -> None:
        self._write_message, self._send = write, _write_entry

    async def last_change(self) -> int:
        return await self._read(lambda connection: connection.scalar(select(func.max(log.c.id))) or 0)

    async def changes_from(self, number: int) -> Sequence[tuple[int, str]] | None:
        if not await self._has_changed():
            return None
        return await self._read(lambda connection: [*map(tuple, connection.execute(_FROM, {"first": number}))])

    def _tell(self, connection: Connection, *changes: Change) -> None:
        """Tell others, if the transaction is committed; the last statement of a transaction, or nearly so."""
        if self._write_message is not None:
            for message in self._write_message(changes):
                self._send(connection, message)

    def _notify(self, connection: Connection, message: str) -> None:
        connection.execute(_NOTIFY, {"channel": self.channel, "message": message})


def _write_entry(connection: Connection, message: str) -> None:
    if connection.dialect.name != "sqlite":  # which has one writer at a time
        # One after the other until the commit, or an entry could become visible after one with a higher number.
        connection.execute(_TAKE_TURN).all()
    (number,) = connection.execute(_LOG, {"message": message}).inserted_primary_key or (0,)
    if number % _PRUNED_EVERY == 0:
        connection.execute(_PRUNE, {"last": number - _KEPT})
