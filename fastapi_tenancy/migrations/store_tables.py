"""The history of the library's own tables, and the upgrade that replays what a database still lacks."""

import unicodedata
from collections.abc import Callable
from typing import Any
from uuid import uuid4

from sqlalchemy import (
    JSON,
    Boolean,
    Column,
    Connection,
    DateTime,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    bindparam,
    false,
    func,
    select,
)
from sqlalchemy.dialects import mysql
from sqlalchemy.schema import CreateColumn

from ..errors import ConfigurationError
from .exclusively import exclusively

_history = MetaData()
_revisions = Table("tenancy_revisions", _history, Column("revision", Integer, primary_key=True, autoincrement=False))


def _create_tenants(connection: Connection) -> None:
    # Frozen: a later change of store/models.py comes with a step of its own, so that old and new databases end alike.
    then = MetaData()
    moment = DateTime().with_variant(mysql.DATETIME(fsp=6), "mysql", "mariadb")
    Table(
        "tenancy_tenants",
        then,
        Column("id", String(32), primary_key=True),
        Column("identifier", String(63), unique=True),
        Column("name", String(200), nullable=False),
        Column("status", String(16), nullable=False),
        Column("settings", JSON, nullable=False),
        Column("manager_type", String(255)),
        Column("database_url", Text),
        Column("namespace", String(512), unique=True),
        Column("version", Integer, nullable=False),
        Column("created_at", moment, nullable=False),
        Column("updated_at", moment, nullable=False),
        Column("former_identifier", String(63)),
        Index("tenancy_tenants_of_status", "status", "identifier"),
        mysql_charset="utf8mb4",
        mariadb_charset="utf8mb4",
    )
    then.create_all(connection)


def _create_domains(connection: Connection) -> None:
    then = MetaData()
    moment = DateTime().with_variant(mysql.DATETIME(fsp=6), "mysql", "mariadb")
    Table("tenancy_tenants", then, Column("id", String(32), primary_key=True))  # there already; what is referred to
    Table(
        "tenancy_domains",
        then,
        Column("tenant_id", String(32), ForeignKey("tenancy_tenants.id", ondelete="CASCADE"), primary_key=True),
        Column("host", String(253), primary_key=True),
        Column("status", String(16), nullable=False),
        Column("token", String(64), nullable=False),
        Column("created_at", moment, nullable=False),
        Column("verified_at", moment),
        Column("verified_host", String(253), unique=True),
        Column("primary_of", String(32), unique=True),
        mysql_charset="utf8mb4",
        mariadb_charset="utf8mb4",
    )
    then.create_all(connection)


def _create_tokens(connection: Connection) -> None:
    then = MetaData()
    moment = DateTime().with_variant(mysql.DATETIME(fsp=6), "mysql", "mariadb")
    Table("tenancy_tenants", then, Column("id", String(32), primary_key=True))  # there already; what is referred to
    Table(
        "tenancy_tokens",
        then,
        Column("token_id", String(32), primary_key=True),
        Column("tenant_id", String(32), ForeignKey("tenancy_tenants.id", ondelete="CASCADE"), nullable=False),
        Column("name", String(200), nullable=False),
        Column("scopes", Text, nullable=False),
        Column("digest", String(64), nullable=False),
        Column("created_at", moment, nullable=False),
        Column("expires_at", moment),
        Column("last_used_at", moment),
        Index("tenancy_tokens_of_tenant", "tenant_id", "token_id"),
        mysql_charset="utf8mb4",
        mariadb_charset="utf8mb4",
    )
    then.create_all(connection)


def _add_administration(connection: Connection) -> None:
    moment = DateTime().with_variant(mysql.DATETIME(fsp=6), "mysql", "mariadb")
    exact_text = Text().with_variant(mysql.TEXT(charset="utf8mb4", collation="utf8mb4_bin"), "mysql", "mariadb")
    for table, column in (
        ("tenancy_tenants", Column("searched", exact_text)),
        ("tenancy_tenants", Column("key_management_mode", String(16), nullable=False, server_default="managed")),
        ("tenancy_tenants", Column("key_record", Text)),
        ("tenancy_tenants", Column("encrypted", Boolean, nullable=False, server_default=false())),
        ("tenancy_tokens", Column("impersonated_by", String(255))),
    ):
        definition = CreateColumn(column).compile(dialect=connection.dialect)
        connection.exec_driver_sql(f"ALTER TABLE {table} ADD COLUMN {definition}")
    then = MetaData()
    Table(
        "tenancy_audit",
        then,
        Column("id", Integer, primary_key=True),
        Column("at", moment, nullable=False),
        Column("actor", String(255)),
        Column("action", String(64), nullable=False),
        Column("tenant_id", String(32)),
        Column("identifier", String(63)),
        Column("details", JSON, nullable=False),
        Index("tenancy_audit_of_tenant", "tenant_id", "id"),
        Index("tenancy_audit_of_identifier", "identifier", "tenant_id"),
        mysql_charset="utf8mb4",
        mariadb_charset="utf8mb4",
    )
    Table(
        "tenancy_idempotency",
        then,
        Column("key_digest", String(64), primary_key=True),
        Column("request_digest", String(64), nullable=False),
        Column("created_at", moment, nullable=False),
        Column("status", Integer),
        Column("body", JSON),
        Index("tenancy_idempotency_age", "created_at"),
        mysql_charset="utf8mb4",
        mariadb_charset="utf8mb4",
    )
    then.create_all(connection)
    _fill_searched(connection)


def _add_fleet(connection: Connection) -> None:
    moment = DateTime().with_variant(mysql.DATETIME(fsp=6), "mysql", "mariadb")
    for column in (
        Column("revision", String(255)),
        Column("work", String(16)),
        Column("work_holder", String(32)),
        Column("work_until", moment),
    ):
        definition = CreateColumn(column).compile(dialect=connection.dialect)
        connection.exec_driver_sql(f"ALTER TABLE tenancy_tenants ADD COLUMN {definition}")
    then = MetaData()
    any_text: dict[str, Any] = {"mysql_charset": "utf8mb4", "mariadb_charset": "utf8mb4"}
    Table("tenancy_tenants", then, Column("id", String(32), primary_key=True))  # there already; what is referred to
    Table(
        "tenancy_migrations",
        then,
        Column("id", Integer, primary_key=True),
        Column("run_id", String(32), nullable=False),
        Column("tenant_id", String(32), ForeignKey("tenancy_tenants.id", ondelete="CASCADE"), nullable=False),
        Column("from_revision", String(255)),
        Column("to_revision", String(255), nullable=False),
        Column("started_at", moment, nullable=False),
        Column("finished_at", moment),
        Column("error", Text),
        Index("tenancy_migrations_of_tenant", "tenant_id", "id"),
        **any_text,
    )
    Table(
        "tenancy_pending",
        then,
        Column("id", String(32), primary_key=True),
        Column("namespace", String(512), nullable=False, unique=True),
        Column("manager_type", String(255)),
        Column("recipe", String(64), nullable=False),
        Column("revision", String(255)),
        Column("is_ready", Boolean, nullable=False),
        Column("updated_at", moment, nullable=False),
        Index("tenancy_pending_ready", "is_ready", "id"),
        **any_text,
    )
    Table(
        "tenancy_moves",
        then,
        Column("tenant_id", String(32), ForeignKey("tenancy_tenants.id", ondelete="CASCADE"), primary_key=True),
        Column("phase", String(16), nullable=False),
        Column("manager_type", String(255)),
        Column("database_url", Text),
        Column("namespace", String(512), nullable=False, unique=True),
        Column("encrypted", Boolean, nullable=False),
        Column("details", JSON, nullable=False),
        Column("started_at", moment, nullable=False),
        Column("updated_at", moment, nullable=False),
        **any_text,
    )
    then.create_all(connection)


def _add_changes(connection: Connection) -> None:
    then = MetaData()
    any_text: dict[str, Any] = {"mysql_charset": "utf8mb4", "mariadb_charset": "utf8mb4"}
    store = Table("tenancy_store", then, Column("id", String(32), primary_key=True), **any_text)
    Table(
        "tenancy_changes",
        then,
        Column("id", Integer, primary_key=True),
        Column("message", Text, nullable=False),
        **any_text,
    )
    then.create_all(connection)
    connection.execute(store.insert().values(id=uuid4().hex))


def _fill_searched(connection: Connection) -> None:
    names = ("id", "identifier", "name", "searched")
    tenants = Table("tenancy_tenants", MetaData(), *(Column(name, Text) for name in names))
    rows = [
        {"the_id": row.id, "text": f"{row.identifier}\n" + folded.translate({0: "\ufffd", 10: " "})}
        for row in connection.execute(select(tenants))
        for folded in [unicodedata.normalize("NFC", row.name.casefold())]
    ]
    if rows:
        fill = tenants.update().where(tenants.c.id == bindparam("the_id")).values(searched=bindparam("text"))
        connection.execute(fill, rows)


_STEPS: tuple[Callable[[Connection], None], ...] = (
    _create_tenants,
    _create_domains,
    _create_tokens,
    _add_administration,
    _add_fleet,
    _add_changes,
)

HEAD = len(_STEPS)


def store_revision(connection: Connection) -> int:
    """How many of the steps the tables have seen."""
    return connection.scalar(select(func.max(_revisions.c.revision))) or 0


def upgrade_store_tables(connection: Connection) -> int:
    """Replay the missing steps, one process at a time, and return how many there were.

    Raises:
        ConfigurationError: the tables were made by a newer version of the library.
    """
    with exclusively(connection):
        _history.create_all(connection)
        current = store_revision(connection)
        if current > HEAD:
            raise ConfigurationError(
                f"the tenancy tables are at revision {current} and this version of fastapi-tenancy knows {HEAD}; "
                "upgrade the library, or restore the tables"
            )
        for revision, step in enumerate(_STEPS[current:], start=current + 1):
            step(connection)
            connection.execute(_revisions.insert().values(revision=revision))
    return HEAD - current
