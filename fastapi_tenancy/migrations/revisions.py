"""The revision that tables are at, read without Alembic: from Alembic's own table, which stands beside them."""

from collections.abc import Mapping, Sequence

from sqlalchemy import Column, Connection, MetaData, PrimaryKeyConstraint, String, Table, inspect, select, text

# As Alembic makes it.
_version = Table(
    "alembic_version",
    MetaData(),
    Column("version_num", String(32), nullable=False),
    PrimaryKeyConstraint("version_num", name="alembic_version_pkc"),
)

# Of what PostgreSQL has in every build, `ts_stat` alone runs a query whose tables were only just found. It is meant for
# counting words: <https://www.postgresql.org/docs/current/textsearch-features.html#TEXTSEARCH-STATISTICS>
_OF_SCHEMAS = text("""
SELECT namespace.nspname, min(revision.word)
FROM pg_catalog.pg_class AS found JOIN pg_catalog.pg_namespace AS namespace ON namespace.oid = found.relnamespace,
LATERAL ts_stat(format('SELECT array_to_tsvector(ARRAY[CAST(version_num AS text)]) FROM %I.alembic_version',
    namespace.nspname)) AS revision
WHERE found.relname = 'alembic_version' AND found.relkind = 'r' AND namespace.nspname = ANY(:schemas)
GROUP BY namespace.nspname
""")


def revision_of(connection: Connection) -> str | None:
    """The revision of the tables that bare names lead to; None where Alembic has done nothing there.

    Where a merge of branches was cut short, so that there are several, it is one of them.
    """
    if not inspect(connection).has_table(_version.name):
        return None
    revisions = connection.scalars(select(_version.c.version_num).order_by(_version.c.version_num))
    return next(iter(revisions), None)


def revisions_in(connection: Connection, schemas: Sequence[str]) -> Mapping[str, str | None]:
    """The same for many schemas of a PostgreSQL database, in one query however many they are."""
    found: dict[str, str | None] = dict.fromkeys(schemas)
    found.update((schema, revision) for schema, revision in connection.execute(_OF_SCHEMAS, {"schemas": list(schemas)}))
    return found


def write_revision(connection: Connection, revision: str) -> None:
    """Note that the tables are at `revision`, whatever was noted before."""
    _version.create(connection, checkfirst=True)
    connection.execute(_version.delete())
    connection.execute(_version.insert().values(version_num=revision))
