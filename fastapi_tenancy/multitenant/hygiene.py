"""Leave nothing of a session on a connection that goes back to its pool: no setting, role, lock or temporary table."""

# What the ORM and Core compile leaves nothing, so a connection is only marked by what might: SQL text, DDL, unknown
# functions. Only a marked one is cleaned (see docs/explanation/decisions/clean-connections.md).

import re
from inspect import isawaitable
from typing import Any

from sqlalchemy import Connection, Engine, event, util
from sqlalchemy.pool import ConnectionPoolEntry, PoolProxiedConnection, PoolResetState

_MARK = "tenancy_traces"

# What DISCARD ALL does, but for the driver's own prepared statements, which it would go on to use.
# <https://www.postgresql.org/docs/current/sql-discard.html>
_CLEAN_POSTGRESQL = """
RESET SESSION AUTHORIZATION; RESET ROLE; RESET ALL; CLOSE ALL; UNLISTEN *; SELECT pg_advisory_unlock_all();
DISCARD TEMP; DISCARD SEQUENCES;
DO $$ DECLARE statement name; BEGIN
    FOR statement IN SELECT name FROM pg_catalog.pg_prepared_statements WHERE from_sql LOOP
        EXECUTE pg_catalog.format('DEALLOCATE %I', statement);
    END LOOP;
END $$
"""

# In SQLite nothing else outlives a transaction.
_STAYS_IN_SQLITE = re.compile(r"\b(?:TEMP|TEMPORARY|ATTACH|PRAGMA)\b", re.IGNORECASE)


def mark_traces(connection: Connection, statement: str) -> None:
    """Note that the statement, which SQLAlchemy did not compose on its own, may leave something on the connection."""
    if connection.dialect.name != "sqlite" or _STAYS_IN_SQLITE.search(statement):
        connection.info[_MARK] = True


def leave_nothing(engine: Engine) -> None:
    """Clean each connection of a tenants' engine on its way back to the pool, if it was marked."""
    if engine.dialect.name == "postgresql":
        event.listen(engine, "reset", _clean)
    else:
        event.listen(engine, "checkin", _close)  # neither SQLite nor MySQL has a statement that clears a session


def _clean(connection: PoolProxiedConnection, entry: ConnectionPoolEntry, state: PoolResetState) -> None:
    if _MARK not in entry.info or state.terminate_only or not state.asyncio_safe:
        return
    connection.rollback()
    driver: Any = entry.driver_connection
    cleaned = driver.execute(_CLEAN_POSTGRESQL)
    if isawaitable(cleaned):
        util.await_only(cleaned)
    connection.commit()
    del entry.info[_MARK]


def _close(_connection: object, entry: ConnectionPoolEntry) -> None:
    if _MARK in entry.info:
        entry.invalidate()
