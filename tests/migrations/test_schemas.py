"""Migrate a schema of a PostgreSQL database, and read the revisions of many."""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from servers import drop_database, new_database, rows_of
from shops import Shop
from sqlalchemy import Connection, event, inspect, make_url, text
from sqlalchemy.exc import ProgrammingError

from fastapi_tenancy.errors import ConfigurationError
from fastapi_tenancy.migrations import revision_of, revisions_in
from fastapi_tenancy.multitenant.tables import TenantTables

NOTES = """
op.create_table("notes", sa.Column("id", sa.Integer, primary_key=True), sa.Column("text", sa.String(50)),
    sa.Column("mood", sa.Enum("good", "bad", name="mood")))
op.create_index("notes_by_text", "notes", ["text"])
"""
RAW = """
op.execute("CREATE TABLE tags (id serial PRIMARY KEY, share text DEFAULT '5 %')")
op.execute("INSERT INTO tags (share) VALUES ('100 %')")
op.bulk_insert(sa.table("notes", sa.column("text", sa.String)), [{"text": "it's 5 % \\\\ more"}])
"""
BATCH = """
with op.batch_alter_table("notes") as batch:
    batch.alter_column("text", nullable=False)
    batch.create_unique_constraint("notes_once", ["text"])
"""
AUTOCOMMIT = """
with op.get_context().autocommit_block():
    op.execute("ALTER TYPE mood ADD VALUE 'so so'")
    op.execute("CREATE INDEX CONCURRENTLY notes_by_mood ON notes (mood)")
op.create_table("later", sa.Column("id", sa.Integer))
"""


@pytest.fixture(scope="module")
def database(postgresql_url: str) -> Iterator[str]:
    url = new_database(postgresql_url)
    yield url
    drop_database(url)


@pytest.fixture
def schemas(database: str) -> Iterator[list[str]]:
    """Two empty ones."""
    names = ["t_one", "t_two"]
    rows_of(database, "; ".join(f"CREATE SCHEMA {name}" for name in names))
    yield names
    rows_of(database, "; ".join(f"DROP SCHEMA {name} CASCADE" for name in names))


@contextmanager
def connected(database: str, schema: str) -> Iterator[Connection]:
    """As the tenant's tables are reached for migrations."""
    with TenantTables(make_url(database), schema=schema, search_path=f'"{schema}"').connect() as connection:
        yield connection


def everything_in(database: str, schema: str) -> set[str]:
    """Tables, indexes, sequences and types."""
    named = "SELECT relname FROM pg_class WHERE relnamespace = '{0}'::regnamespace UNION "
    named += "SELECT typname FROM pg_type WHERE typtype = 'e' AND typnamespace = '{0}'::regnamespace"
    return {name for (name,) in rows_of(database, named.format(schema))}


def test_migrations_with_bare_names_land_in_the_schema(shop: Shop, database: str, schemas: list[str]) -> None:
    for number, upgrade in enumerate((NOTES, RAW, BATCH, AUTOCOMMIT)):
        shop.revision(f"rev_{number}", f"rev_{number - 1}" if number else None, upgrade)
    for schema in schemas:
        with connected(database, schema) as connection:
            assert shop.scripts.upgrade(connection) == "rev_3"
            assert connection.scalar(text("SELECT share FROM tags")) == "100 %"
        made = {"notes", "notes_by_text", "notes_once", "notes_by_mood", "mood", "tags", "later", "alembic_version"}
        assert made <= everything_in(database, schema)
    assert everything_in(database, "public") == set()


def test_the_sql_makes_in_one_round_trip_what_the_migrations_make(
    shop: Shop, database: str, schemas: list[str]
) -> None:
    for number, upgrade in enumerate((NOTES, RAW, BATCH)):
        shop.revision(f"rev_{number}", f"rev_{number - 1}" if number else None, upgrade)
    scripts, (one, two) = shop.scripts, schemas
    with connected(database, one) as connection:
        scripts.upgrade(connection)
        statements = scripts.sql(connection.dialect)
    assert statements is not None
    with connected(database, two) as connection:
        connection.execute(text("SELECT 1"))
        connection.connection.driver_connection.execute(";\n".join(statements))
        connection.commit()
        assert revision_of(connection) == "rev_2"
        assert [*connection.scalars(text("SELECT share FROM tags"))] == ["100 %"]
        assert [*connection.scalars(text("SELECT text FROM notes"))] == ["it's 5 % \\ more"]
    assert everything_in(database, one) == everything_in(database, two)
    assert everything_in(database, "public") == set()


def test_a_failed_migration_leaves_the_schema_as_it_was(shop: Shop, database: str, schemas: list[str]) -> None:
    shop.revision("aaaa1", None, NOTES)
    shop.revision("bbbb2", "aaaa1", f"{RAW}\nop.execute('SELECT nothing FROM nowhere')")
    with connected(database, schemas[0]) as connection:
        shop.scripts.upgrade(connection, "aaaa1")
        before = everything_in(database, schemas[0])
        with pytest.raises(ProgrammingError):
            shop.scripts.upgrade(connection)
        assert revision_of(connection) == "aaaa1"
    assert everything_in(database, schemas[0]) == before


def test_behind_a_pooler_an_autocommit_block_is_refused(shop: Shop, database: str, schemas: list[str]) -> None:
    shop.write(pooler="transaction")
    shop.revision("aaaa1", None, NOTES)
    shop.revision("bbbb2", "aaaa1", AUTOCOMMIT)
    with connected(database, schemas[0]) as connection:
        with pytest.raises(ConfigurationError, match="pooler"):
            shop.scripts.upgrade(connection)
        assert connection.get_isolation_level() != "AUTOCOMMIT"


def test_the_revisions_of_many_schemas_are_read_by_one_query(shop: Shop, database: str, schemas: list[str]) -> None:
    shop.revision("aaaa1", None)
    shop.revision("a<b&'\"é", "aaaa1")
    with connected(database, schemas[0]) as connection:
        shop.scripts.stamp(connection, "a<b&'\"é")
        asked: list[str] = []
        connection.begin()
        event.listen(connection, "before_cursor_execute", lambda *given: asked.append(given[2]))
        expected = {schemas[0]: "a<b&'\"é", schemas[1]: None, 't_"x': None}
        assert revisions_in(connection, list(expected)) == expected
        assert len(asked) == 1


def test_a_version_table_without_a_row_is_no_revision(database: str, schemas: list[str]) -> None:
    with connected(database, schemas[0]) as connection:
        connection.execute(text("CREATE TABLE alembic_version (version_num text)"))
        assert revision_of(connection) is None
        assert inspect(connection).get_table_names() == ["alembic_version"]
        assert revisions_in(connection, schemas) == dict.fromkeys(schemas)
