"""Look in PostgreSQL's catalogue for whatever would let a tenant past row-level security."""

import re
from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import Any, NamedTuple

from sqlalchemy import Connection, MetaData, Row, text

from .policies import Policy, drop_from, enable_on, force_on, name_of, policies_of
from .scoped import is_shared

_COMMANDS = {"*": "ALL", "r": "SELECT", "a": "INSERT", "w": "UPDATE", "d": "DELETE"}

# PostgreSQL gives a condition back with casts and parentheses of its own.
_DECORATION = re.compile(r"::(?:text|character varying|bpchar)\b|[()\s]")


class Fault(NamedTuple):
    what: str
    remedy: str
    is_missing: bool = False  # the remedy only adds, and the role may do it


def faults(connection: Connection, metadata: MetaData, *, expect_all: bool = True) -> list[Fault]:
    """Everything that stands between the tables and safe use by tenants; three queries for any number of tables.

    Args:
        connection: of the role that serves tenants.
        metadata: the tables.
        expect_all: whether it is a fault if one of them is not there.
    """
    tables = _table_faults(connection, metadata, expect_all=expect_all)
    return [*_role_faults(connection), *tables, *_view_faults(connection, metadata)]


def has_all_tables(connection: Connection, metadata: MetaData) -> bool:
    return not connection.scalar(_IS_TABLE_MISSING, _names(metadata))


_IS_TABLE_MISSING = text(
    "SELECT coalesce(bool_or(to_regclass(name) IS NULL), false) FROM unnest(CAST(:names AS text[])) AS name"
)

# A role that ours can become by SET ROLE counts like our own.
_ROLES = text("""
    WITH RECURSIVE held (oid, through) AS (
        SELECT oid, oid FROM pg_roles WHERE rolname IN (current_user, session_user)
        UNION
        SELECT roleid, member FROM pg_auth_members JOIN held ON member = held.oid
    )
    SELECT quote_ident(r.rolname) AS name, quote_ident(m.rolname) AS member, held.oid = held.through AS is_own
    FROM held JOIN pg_roles r ON r.oid = held.oid JOIN pg_roles m ON m.oid = held.through
    WHERE r.rolsuper OR r.rolbypassrls
    ORDER BY 1, 2
""")

# The tables with their partitions and children, which are read past the parent's policies when they are named; one row
# for each policy that holds for our role, or for one that it can become.
_TABLES = text("""
    WITH RECURSIVE kept (oid, given, shared) AS (
        SELECT to_regclass(given)::oid, given, shared
        FROM unnest(CAST(:names AS text[]), CAST(:shared AS boolean[])) AS of_metadata (given, shared)
        UNION
        SELECT inhrelid, given, shared FROM kept JOIN pg_inherits ON inhparent = kept.oid
    )
    SELECT
        coalesce(c.oid::regclass::text, given) AS name, shared,
        relrowsecurity AS enabled, relforcerowsecurity AS forced,
        pg_has_role(relowner, 'USAGE') AS owned, polname, polpermissive, polcmd::text,
        pg_get_expr(polqual, c.oid) AS using, pg_get_expr(coalesce(polwithcheck, polqual), c.oid) AS checking
    FROM kept LEFT JOIN pg_class c USING (oid) LEFT JOIN pg_policy ON polrelid = c.oid AND EXISTS (
        SELECT FROM unnest(polroles) AS role
        WHERE role = 0 OR pg_has_role(role, 'MEMBER') OR pg_has_role(session_user, role, 'MEMBER')
    )
    ORDER BY name, shared, polname
""")

# A view is held to the policies as its owner, and a materialised one is held to none. Each that stands directly on a
# tenant's table is followed up to the views on it, since it may be read by way of those.
_VIEWS = text("""
    WITH RECURSIVE kept (oid) AS (
        SELECT to_regclass(name)::oid
        FROM unnest(CAST(:names AS text[]), CAST(:shared AS boolean[])) AS given (name, shared)
        WHERE NOT shared
        UNION
        SELECT inhrelid FROM kept JOIN pg_inherits ON inhparent = kept.oid
    ), reading (source, oid) AS (
        SELECT DISTINCT refobjid, ev_class FROM pg_depend JOIN pg_rewrite r ON r.oid = objid
        WHERE classid = 'pg_rewrite'::regclass AND refclassid = 'pg_class'::regclass AND refobjid <> ev_class
    ), above (view, oid) AS (
        SELECT r.oid, r.oid FROM reading r JOIN kept ON kept.oid = source
        UNION
        SELECT view, r.oid FROM above JOIN reading r ON r.source = above.oid
    )
    SELECT c.oid::regclass::text AS name, relkind = 'm' AS is_materialised
    FROM pg_class c JOIN pg_roles owner ON owner.oid = relowner
    WHERE (
        relkind = 'm' OR relkind = 'v' AND (rolsuper OR rolbypassrls) AND NOT EXISTS (
            SELECT FROM pg_options_to_table(reloptions)
            WHERE option_name = 'security_invoker' AND option_value::boolean
        )
    ) AND EXISTS (
        SELECT FROM above WHERE view = c.oid AND (
            has_any_column_privilege(above.oid, 'SELECT, INSERT, UPDATE') OR has_table_privilege(above.oid, 'DELETE')
        )
    )
    ORDER BY 1
""")


def _names(metadata: MetaData) -> dict[str, list[Any]]:
    tables = metadata.sorted_tables
    return {"names": [name_of(table) for table in tables], "shared": [is_shared(table) for table in tables]}


def _role_faults(connection: Connection) -> Iterator[Fault]:
    for role in connection.execute(_ROLES):
        what = f"row-level security does not hold for the role {role.name}, a superuser or BYPASSRLS"
        if role.is_own:
            yield Fault(
                f"{what}, which database_url names",
                "CREATE ROLE application LOGIN PASSWORD '…' NOSUPERUSER NOBYPASSRLS; and name that one in database_url",
            )
        else:
            yield Fault(f"{what}, and {role.member} can become it", f"REVOKE {role.name} FROM {role.member}")


def _table_faults(connection: Connection, metadata: MetaData, *, expect_all: bool) -> Iterator[Fault]:
    rows = connection.execute(_TABLES, _names(metadata))
    for _, found in groupby(rows, key=lambda row: (row.name, row.shared)):
        of_table = list(found)
        if expect_all or of_table[0].enabled is not None:
            yield from _faults_of_table(of_table)


def _faults_of_table(rows: Sequence[Row[Any]]) -> Iterator[Fault]:
    """`rows` say the same of the table, and each something of another policy."""
    table = rows[0]
    if not table.enabled:
        yield Fault(f"{table.name} has no row-level security", enable_on(table.name), table.owned)
    if not table.forced:
        yield Fault(f"{table.name} does not hold its owner to its policies", force_on(table.name), table.owned)
    found = {row.polname: row for row in rows if row.polname is not None}
    for policy in policies_of(shared=table.shared):
        there, create = found.pop(policy.name, None), policy.create_on(table.name)
        if there is None:
            yield Fault(f"{table.name} lacks the policy {policy.name}", create, table.owned)
        elif not _says(there, policy):
            what = f"the policy {policy.name} on {table.name} is not what the library wrote"
            yield Fault(what, f"{drop_from(table.name, policy.name)}; {create}")
    for name, row in found.items():
        if row.polpermissive:
            yield Fault(f"the policy {name} on {table.name} lets in more rows", drop_from(table.name, name))


def _says(row: Row[Any], policy: Policy) -> bool:
    condition = _plain(policy.condition)
    return (
        row.polpermissive
        and _COMMANDS[row.polcmd] == policy.command
        and (_plain(row.using), _plain(row.checking)) == (condition, condition)
    )


def _plain(condition: str | None) -> str:
    return _DECORATION.sub("", condition or "").lower()


def _view_faults(connection: Connection, metadata: MetaData) -> Iterator[Fault]:
    for view in connection.execute(_VIEWS, _names(metadata)):
        if view.is_materialised:
            yield Fault(
                f"{view.name} keeps tenants' rows without their policies", f"DROP MATERIALIZED VIEW {view.name}"
            )
        else:
            yield Fault(
                f"{view.name} reads tenants' rows as its owner, for whom row-level security does not hold",
                f"ALTER VIEW {view.name} SET (security_invoker = true)",
            )
