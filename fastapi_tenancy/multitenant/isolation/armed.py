"""Set what the server is to know of the tenant, anew at the beginning of every transaction."""

# ruff: noqa: SLF001 - SQLAlchemy tells autocommit, and takes in a driver's error, by private methods only

from collections.abc import Callable, Mapping
from typing import Any

from sqlalchemy import Connection, Engine, event

from .text import refuse

_PLACEHOLDERS: Mapping[str, Callable[[int], str]] = {
    "pyformat": lambda _: "%s",
    "format": lambda _: "%s",
    "numeric_dollar": lambda position: f"${position}",
}


def arm(engine: Engine, settings_of: Callable[[Connection], Mapping[str, str]]) -> None:
    """Begin each transaction of `engine`, on PostgreSQL, with `settings_of(connection)`, in one statement.

    They end with the transaction. Where there is none, under AUTOCOMMIT, nothing could be set, so that is refused; and
    so are two-phase transactions, whose beginning belongs to the driver.
    """
    placeholder = _PLACEHOLDERS[engine.dialect.paramstyle]

    def set_settings(connection: Connection) -> None:
        try:
            if connection._is_autocommit_isolation():
                refuse("AUTOCOMMIT has no transaction to set the tenant in; leave isolation_level out")
            if settings := settings_of(connection):
                _set(connection, settings, placeholder)
        except BaseException:
            # SQLAlchemy would take the connection's next statement for a part of this beginning, and run it unarmed.
            connection.close()
            raise

    event.listen(engine, "begin", set_settings)
    event.listen(engine, "begin_twophase", _refuse_two_phases)


def _set(connection: Connection, settings: Mapping[str, str], placeholder: Callable[[int], str]) -> None:
    """Past SQLAlchemy's execution, which takes longer, and past what guards the tenants' statements."""
    pairs = ((placeholder(at), placeholder(at + 1)) for at in range(1, 2 * len(settings), 2))
    statement = f"SELECT {', '.join(f'set_config({name}, {value}, true)' for name, value in pairs)}"
    parameters: Any = tuple(part for setting in settings.items() for part in setting)
    try:
        cursor = connection.connection.cursor()
        try:
            cursor.execute(statement, parameters)
        finally:
            cursor.close()
    except connection.dialect.loaded_dbapi.Error as error:
        connection._handle_dbapi_exception(error, statement, parameters, None, None)


def _refuse_two_phases(connection: Connection, _xid: object) -> None:
    connection.close()
    refuse("a two-phase transaction has no beginning to set the tenant in; use an ordinary one")
