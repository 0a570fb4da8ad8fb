"""Triggers that refuse to write a tenant's rows: they hold for every worker at once, and outlive a kill."""

import time
from abc import ABC, abstractmethod
from collections.abc import Collection, Iterator, Mapping
from types import MappingProxyType

from sqlalchemy import Connection, Table, text
from sqlalchemy.exc import DBAPIError

from ...connections import codes_of
from ...errors import TenantUnavailableError
from ...multitenant.read_only import READ_ONLY
from ..rows import TenantRows
from ..rows.target import filled_column

_WRITES = ("INSERT", "UPDATE", "DELETE")

# Seconds: a write that is under way is waited for, but those that come after it wait for us meanwhile.
_PATIENCE, _DEADLINE = 2, 30.0

# Not got within our patience: PostgreSQL's SQLSTATE for that and for a deadlock, and MySQL's numbers for the same.
_BUSY = frozenset({"55P03", "40P01", 1205, 1213})


class Fence(ABC):
    """The triggers of one tenant.

    Args:
        rows: where they are to be; in no transaction.

    Attributes:
        patience: the statement that keeps us from waiting longer than `_PATIENCE` for a lock; "" where it is known how
            long that takes.
    """

    patience: str = ""

    def __init__(self, rows: TenantRows) -> None:
        self._rows = rows
        self._connection: Connection = rows.connection
        self._name = f"tenancy_fence_{rows.tenant_id}"

    def put(self) -> None:
        """Refuse writes from now on; when this returns, none is under way. Calling it again ends the work.

        Raises:
            TenantUnavailableError: somebody wrote all the time.
        """
        there = self._there()
        for number, table in enumerate(self._rows.tables):
            # A transaction each, so that no two tables are locked at once, and no deadlock is made.
            self._patiently(
                [each for name, each in self._triggers(table, f"{self._name}_{number}") if name not in there]
            )

    def take_away(self) -> None:
        """Let them be written again; nothing if they can be."""
        self._patiently([f"DROP TRIGGER {self._quote(name)}" for name in self._there()])

    @abstractmethod
    def _there(self) -> Collection[str]:
        """The names of the triggers that are there."""

    @abstractmethod
    def _triggers(self, table: Table, name: str) -> Iterator[tuple[str, str]]:
        """The name of each trigger, which begins with `name`, and what creates it."""

    def _condition(self, table: Table, *rows: str) -> str:
        """Whether one of `rows`, OLD or NEW, is the tenant's; "" where all are."""
        column = filled_column(table)
        if self._rows.rows_of is None or column is None:
            return ""
        return " OR ".join(f"{row}.{self._quote(column.name)} = '{self._rows.rows_of}'" for row in rows)

    def _patiently(self, statements: Collection[str]) -> None:
        deadline = time.monotonic() + _DEADLINE
        while statements:
            self._connection.rollback()  # what was looked at was in a transaction, too
            try:
                with self._connection.begin():
                    for statement in (self.patience, *statements):
                        if statement:
                            self._connection.exec_driver_sql(statement)
            except DBAPIError as error:
                if _BUSY.isdisjoint(codes_of(error.orig)):
                    raise
                if time.monotonic() > deadline:
                    raise TenantUnavailableError("the tenant's tables are written all the time; try again") from error
            else:
                return

    def _quote(self, name: str) -> str:
        return self._connection.dialect.identifier_preparer.quote_identifier(name)

    def _table(self, table: Table) -> str:
        return self._connection.dialect.identifier_preparer.format_table(table)


_TOUCHED = {"INSERT": ("NEW",), "UPDATE": ("OLD", "NEW"), "DELETE": ("OLD",)}


class SQLiteFence(Fence):
    """All triggers are of the file."""

    def _there(self) -> Collection[str]:
        found = text("SELECT name FROM sqlite_master WHERE type = 'trigger' AND name GLOB :pattern")
        return list(self._connection.scalars(found, {"pattern": f"{self._name}_*"}))

    def _triggers(self, table: Table, name: str) -> Iterator[tuple[str, str]]:
        for write in _WRITES:
            trigger, condition = f"{name}_{write.lower()}", self._condition(table, *_TOUCHED[write])
            when = f"WHEN {condition}" if condition else ""
            create = f"CREATE TRIGGER {self._quote(trigger)} BEFORE {write} ON {self._table(table)} {when}"
            yield trigger, f"{create} BEGIN SELECT RAISE(ABORT, '{READ_ONLY}'); END"


class PostgreSQLFence(Fence):
    """All triggers call one function, which is the tenant's, and go with it."""

    patience = f"SET LOCAL lock_timeout = '{_PATIENCE}s'"

    def put(self) -> None:
        body = f"BEGIN RAISE EXCEPTION USING MESSAGE = '{READ_ONLY}', ERRCODE = 'read_only_sql_transaction'; END"
        self._patiently([f"CREATE OR REPLACE FUNCTION {self._name}() RETURNS trigger LANGUAGE plpgsql AS $${body}$$"])
        super().put()

    def take_away(self) -> None:
        self._patiently([f"DROP FUNCTION IF EXISTS {self._name}() CASCADE"])

    def _there(self) -> Collection[str]:
        found = text("SELECT tgname FROM pg_trigger WHERE tgfoid = to_regproc(:function)")
        return list(self._connection.scalars(found, {"function": self._name}))

    def _triggers(self, table: Table, name: str) -> Iterator[tuple[str, str]]:
        call = f"EXECUTE FUNCTION {self._name}()"
        if not self._condition(table, "NEW"):
            events = " OR ".join((*_WRITES, "TRUNCATE"))
            yield name, f"CREATE TRIGGER {name} BEFORE {events} ON {self._table(table)} FOR EACH STATEMENT {call}"
            return
        for write in _WRITES:
            condition = self._condition(table, *_TOUCHED[write])
            create = f"CREATE TRIGGER {name}_{write.lower()} BEFORE {write} ON {self._table(table)}"
            yield f"{name}_{write.lower()}", f"{create} FOR EACH ROW WHEN ({condition}) {call}"


class MySQLFence(Fence):
    """Triggers have no condition of their own, and names of at most 64 characters."""

    patience = f"SET SESSION lock_wait_timeout = {_PATIENCE}"

    def _there(self) -> Collection[str]:
        found = text(
            "SELECT trigger_name FROM information_schema.triggers "
            "WHERE trigger_schema = DATABASE() AND trigger_name LIKE :pattern"
        )
        return list(self._connection.scalars(found, {"pattern": f"{self._name}\\_%"}))

    def _triggers(self, table: Table, name: str) -> Iterator[tuple[str, str]]:
        refuse = f"SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = '{READ_ONLY}'"
        for write in _WRITES:
            trigger, condition = f"{name}_{write[0].lower()}", self._condition(table, *_TOUCHED[write])
            body = f"IF {condition} THEN {refuse}; END IF" if condition else refuse
            yield trigger, f"CREATE TRIGGER {trigger} BEFORE {write} ON {self._table(table)} FOR EACH ROW {body}"


FENCES: Mapping[str, type[Fence]] = MappingProxyType(
    {"sqlite": SQLiteFence, "postgresql": PostgreSQLFence, "mysql": MySQLFence, "mariadb": MySQLFence}
)


def fence_around(rows: TenantRows) -> Fence:
    return FENCES[rows.connection.dialect.name](rows)
