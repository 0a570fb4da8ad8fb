"""Let SQLite's tables be rebuilt, as Alembic's batch operations do, without a loss in the tables that refer to them."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from sqlalchemy import Connection

from ..errors import ConfigurationError
from .revisions import revision_of


@contextmanager
def unenforced(connection: Connection) -> Iterator[None]:
    """Switch off SQLite's foreign keys, since a table that is dropped, to be replaced, takes along what refers to it.

    <https://www.sqlite.org/lang_altertable.html#making_other_kinds_of_table_schema_changes>

    Raises:
        ConfigurationError: a transaction has begun, in which they cannot be switched off, and there are rows to lose.
    """
    if connection.dialect.name != "sqlite":
        yield
        return
    begun = connection.in_transaction()
    enforced = bool(connection.exec_driver_sql("PRAGMA foreign_keys").scalar())
    if begun and enforced and revision_of(connection) is not None:
        raise ConfigurationError(
            "a SQLite file is migrated by a connection that is in no transaction; call upgrade() before it begins one"
        )
    if begun:
        yield
        return
    _enforce(connection, on=False)
    try:
        yield
    finally:
        _enforce(connection, on=enforced)


def _enforce(connection: Connection, *, on: bool) -> None:
    connection.rollback()  # the setting is not part of a transaction, and ignored inside one
    connection.exec_driver_sql(f"PRAGMA foreign_keys={'ON' if on else 'OFF'}")
    connection.rollback()


def check(ctx: Any, step: Any, **_: object) -> None:
    """Refuse what a revision leaves behind, at its end; for `on_version_apply`.

    Raises:
        ConfigurationError: rows refer to nothing.
    """
    broken = {row[0] for row in ctx.connection.exec_driver_sql("PRAGMA foreign_key_check")}
    if broken:
        raise ConfigurationError(
            f"revision {step.up_revision_id} would leave rows in {', '.join(sorted(broken))} that refer to nothing; "
            "delete or mend them in it"
        )
