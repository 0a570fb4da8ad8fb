"""The library's own tables, as they are now; `migrations` brings a database here."""

from datetime import UTC, datetime
from typing import Any

from sqlalchemy import JSON, Boolean, Column, DateTime, ForeignKey, Index, Integer, MetaData, String, Table, Text
from sqlalchemy.dialects import mysql

store_metadata = MetaData()


def naive(moment: datetime) -> datetime:
    """As it is stored: UTC, without a zone."""
    return moment.astimezone(UTC).replace(tzinfo=None)


def aware(moment: datetime) -> datetime:
    """As it is read back: in UTC."""
    return moment.replace(tzinfo=UTC)


_moment = DateTime().with_variant(mysql.DATETIME(fsp=6), "mysql", "mariadb")  # UTC, without a zone

# MariaDB would find "café" by "cafe", which no other database does.
_exact_text = Text().with_variant(mysql.TEXT(charset="utf8mb4", collation="utf8mb4_bin"), "mysql", "mariadb")

# A server's own default may be an encoding that cannot hold every name.
_any_text: dict[str, Any] = {"mysql_charset": "utf8mb4", "mariadb_charset": "utf8mb4"}

tenants = Table(
    "tenancy_tenants",
    store_metadata,
    Column("id", String(32), primary_key=True),
    Column("identifier", String(63), unique=True),  # NULL: deleted, and its data was kept
    Column("name", String(200), nullable=False),
    Column("status", String(16), nullable=False),
    Column("settings", JSON, nullable=False),
    Column("manager_type", String(255)),
    Column("database_url", Text),
    Column("namespace", String(512), unique=True),
    Column("version", Integer, nullable=False),
    Column("created_at", _moment, nullable=False),
    Column("updated_at", _moment, nullable=False),
    Column("former_identifier", String(63)),
    Column("searched", _exact_text),  # identifier and name as `folded` has them
    Column("key_management_mode", String(16), nullable=False),
    Column("key_record", Text),
    Column("encrypted", Boolean, nullable=False),
    Column("revision", String(255)),
    Column("work", String(16)),
    Column("work_holder", String(32)),
    Column("work_until", _moment),
    Index("tenancy_tenants_of_status", "status", "identifier"),
    **_any_text,
)

migrations = Table(
    "tenancy_migrations",
    store_metadata,
    Column("id", Integer, primary_key=True),  # in the order of writing
    Column("run_id", String(32), nullable=False),
    Column("tenant_id", String(32), ForeignKey("tenancy_tenants.id", ondelete="CASCADE"), nullable=False),
    Column("from_revision", String(255)),
    Column("to_revision", String(255), nullable=False),
    Column("started_at", _moment, nullable=False),
    Column("finished_at", _moment),  # NULL: it goes on, or died
    Column("error", Text),
    Index("tenancy_migrations_of_tenant", "tenant_id", "id"),
    **_any_text,
)

pending = Table(
    "tenancy_pending",
    store_metadata,
    Column("id", String(32), primary_key=True),  # of the tenant that it is to become
    Column("namespace", String(512), nullable=False, unique=True),
    Column("manager_type", String(255)),
    Column("recipe", String(64), nullable=False),  # a digest of what decides how a new tenant is made
    Column("revision", String(255)),
    Column("is_ready", Boolean, nullable=False),
    Column("updated_at", _moment, nullable=False),
    Index("tenancy_pending_ready", "is_ready", "id"),
    **_any_text,
)

moves = Table(
    "tenancy_moves",
    store_metadata,
    Column("tenant_id", String(32), ForeignKey("tenancy_tenants.id", ondelete="CASCADE"), primary_key=True),
    Column("phase", String(16), nullable=False),
    # The other place: where the tenant is to go, and once it is there, where it was.
    Column("manager_type", String(255)),
    Column("database_url", Text),
    Column("namespace", String(512), nullable=False, unique=True),
    Column("encrypted", Boolean, nullable=False),
    Column("details", JSON, nullable=False),
    Column("started_at", _moment, nullable=False),
    Column("updated_at", _moment, nullable=False),
    **_any_text,
)

store = Table(
    "tenancy_store",
    store_metadata,
    Column("id", String(32), primary_key=True),  # of the one row, made with it
    **_any_text,
)

changes = Table(
    "tenancy_changes",
    store_metadata,
    Column("id", Integer, primary_key=True),  # in the order of the commits
    Column("message", Text, nullable=False),
    **_any_text,
)

tokens = Table(
    "tenancy_tokens",
    store_metadata,
    Column("token_id", String(32), primary_key=True),
    Column("tenant_id", String(32), ForeignKey("tenancy_tenants.id", ondelete="CASCADE"), nullable=False),
    Column("name", String(200), nullable=False),
    Column("scopes", Text, nullable=False),  # with spaces between them, as in RFC 6749
    Column("digest", String(64), nullable=False),
    Column("created_at", _moment, nullable=False),
    Column("expires_at", _moment),
    Column("last_used_at", _moment),
    Column("impersonated_by", String(255)),
    Index("tenancy_tokens_of_tenant", "tenant_id", "token_id"),
    **_any_text,
)

audit = Table(
    "tenancy_audit",
    store_metadata,
    Column("id", Integer, primary_key=True),  # in the order of writing
    Column("at", _moment, nullable=False),
    Column("actor", String(255)),  # NULL: nobody was named
    Column("action", String(64), nullable=False),
    Column("tenant_id", String(32)),  # no foreign key: what was done to a tenant outlives it
    Column("identifier", String(63)),
    Column("details", JSON, nullable=False),
    Index("tenancy_audit_of_tenant", "tenant_id", "id"),
    Index("tenancy_audit_of_identifier", "identifier", "tenant_id"),
    **_any_text,
)

idempotency = Table(
    "tenancy_idempotency",
    store_metadata,
    Column("key_digest", String(64), primary_key=True),
    Column("request_digest", String(64), nullable=False),
    Column("created_at", _moment, nullable=False),
    Column("status", Integer),  # NULL while the request is being carried out
    Column("body", JSON),
    Index("tenancy_idempotency_age", "created_at"),
    **_any_text,
)

domains = Table(
    "tenancy_domains",
    store_metadata,
    Column("tenant_id", String(32), ForeignKey("tenancy_tenants.id", ondelete="CASCADE"), primary_key=True),
    Column("host", String(253), primary_key=True),
    Column("status", String(16), nullable=False),
    Column("token", String(64), nullable=False),
    Column("created_at", _moment, nullable=False),
    Column("verified_at", _moment),
    Column("verified_host", String(253), unique=True),  # the host while it is verified, so for one tenant at a time
    Column("primary_of", String(32), unique=True),  # the tenant's id if this is its primary domain
    **_any_text,
)
