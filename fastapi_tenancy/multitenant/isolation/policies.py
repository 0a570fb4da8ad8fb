"""The policies by which PostgreSQL itself keeps tenants' rows apart, as SQL."""

from collections.abc import Iterator
from typing import NamedTuple

from sqlalchemy import MetaData, Table
from sqlalchemy.dialects import postgresql

from .scoped import check_metadata, is_shared

SETTING = "tenancy.tenant_id"  # holds the tenant's id for one transaction; absent or "" where there is no tenant

# Of a style of parameters that leaves a percent sign in a name alone.
_preparer = postgresql.dialect(paramstyle="named").identifier_preparer  # type: ignore[no-untyped-call] # half typed


class Policy(NamedTuple):
    name: str
    command: str
    condition: str

    def create_on(self, table: str) -> str:
        check = "" if self.command == "SELECT" else f" WITH CHECK ({self.condition})"
        return f"CREATE POLICY {self.name} ON {table} FOR {self.command} USING ({self.condition}){check}"


TENANT_POLICIES = (Policy("tenancy_isolation", "ALL", f"tenant_id = current_setting('{SETTING}')"),)
SHARED_POLICIES = (
    Policy("tenancy_reading", "SELECT", "true"),
    Policy("tenancy_writing", "ALL", f"coalesce(current_setting('{SETTING}', true), '') = ''"),
)


def policies_of(*, shared: bool) -> tuple[Policy, ...]:
    return SHARED_POLICIES if shared else TENANT_POLICIES


def enable_on(table: str) -> str:
    return f"ALTER TABLE {table} ENABLE ROW LEVEL SECURITY"


def force_on(table: str) -> str:
    """Without it, whoever owns the table reads all of it."""
    return f"ALTER TABLE {table} FORCE ROW LEVEL SECURITY"


def drop_from(table: str, policy: str) -> str:
    return f"DROP POLICY {_preparer.quote_identifier(policy)} ON {table}"


def name_of(table: Table) -> str:
    return _preparer.format_table(table)


def row_security(metadata: MetaData) -> list[str]:
    """The statements that put the tables of `metadata` under row-level security, for a migration or a DBA to run.

    They can be run again, as when a table was added; partitions need theirs as well. In a migration of Alembic:
    `for statement in row_security(Base.metadata): op.execute(statement)`.

    Raises:
        ConfigurationError: a table has no usable `tenant_id` and is not marked as shared; all of them are named.
    """
    check_metadata(metadata)
    return [statement for table in metadata.sorted_tables for statement in _secure(table)]


def _secure(table: Table) -> Iterator[str]:
    name = name_of(table)
    yield enable_on(name)
    yield force_on(name)
    for policy in policies_of(shared=is_shared(table)):
        yield f"DROP POLICY IF EXISTS {policy.name} ON {name}"
        yield policy.create_on(name)
