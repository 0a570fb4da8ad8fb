"""Bring a SQLite file to a revision."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest
from shops import Shop
from sqlalchemy import URL, Connection, NullPool, inspect, text
from sqlalchemy.exc import OperationalError

from fastapi_tenancy.engines import open_sync_engine
from fastapi_tenancy.errors import ConfigurationError
from fastapi_tenancy.migrations import revision_of

NOTES = 'op.create_table("notes", sa.Column("id", sa.Integer, primary_key=True), sa.Column("text", sa.String(50)))'
TAGS = 'op.create_table("tags", sa.Column("id", sa.Integer, sa.ForeignKey("notes.id", ondelete="CASCADE")))'
FAILS = f"{TAGS}\nop.execute('INSERT INTO notes VALUES (1)')"
REBUILD = """
with op.batch_alter_table("notes") as batch:
    batch.alter_column("text", nullable=False)
"""


@contextmanager
def connected(file: Path) -> Iterator[Connection]:
    """As the tenants' files are connected to."""
    engine = open_sync_engine(URL.create("sqlite+pysqlite", database=str(file)), poolclass=NullPool)
    with engine.connect() as connection:
        yield connection
    engine.dispose()


def state_of(file: Path) -> tuple[str | None, set[str]]:
    with connected(file) as connection:
        return revision_of(connection), set(inspect(connection).get_table_names()) - {"alembic_version"}


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "acme.db"


def test_an_empty_file_is_brought_to_the_head(shop: Shop, file: Path) -> None:
    shop.revision("aaaa1", None, NOTES)
    shop.revision("bbbb2", "aaaa1", TAGS)
    with connected(file) as connection:
        assert shop.scripts.upgrade(connection) == "bbbb2"
        assert not connection.in_transaction()
    assert state_of(file) == ("bbbb2", {"notes", "tags"})


def test_a_file_is_brought_to_the_revision_that_is_named_and_on(shop: Shop, file: Path) -> None:
    shop.revision("aaaa1", None, NOTES)
    shop.revision("bbbb2", "aaaa1", TAGS)
    with connected(file) as connection:
        assert shop.scripts.upgrade(connection, "aaaa1") == "aaaa1"
        assert state_of(file) == ("aaaa1", {"notes"})
        assert shop.scripts.upgrade(connection) == "bbbb2"


def test_tables_beyond_a_revision_stay(shop: Shop, file: Path) -> None:
    shop.revision("aaaa1", None, NOTES)
    shop.revision("bbbb2", "aaaa1", TAGS, downgrade='op.drop_table("tags")')
    with connected(file) as connection:
        shop.scripts.upgrade(connection)
        assert shop.scripts.upgrade(connection, "aaaa1") == "bbbb2"
    assert state_of(file) == ("bbbb2", {"notes", "tags"})


def test_tables_of_newer_code_are_refused_and_stay(shop: Shop, file: Path) -> None:
    shop.revision("aaaa1", None, NOTES)
    with connected(file) as connection:
        shop.scripts.upgrade(connection)
        connection.execute(text("UPDATE alembic_version SET version_num = 'zzzz9'"))
        connection.commit()
        with pytest.raises(ConfigurationError, match="zzzz9"):
            shop.scripts.upgrade(connection)


def test_nothing_to_do_does_not_run_env(shop: Shop, file: Path) -> None:
    shop.revision("aaaa1", None, NOTES)
    scripts = shop.scripts
    with connected(file) as connection:
        scripts.upgrade(connection)
        (shop.migrations / "env.py").write_text("raise AssertionError")
        assert scripts.upgrade(connection) == "aaaa1"


def test_a_folder_without_revisions_does_nothing(shop: Shop, file: Path) -> None:
    with connected(file) as connection:
        assert shop.scripts.upgrade(connection) is None
    assert state_of(file) == (None, set())


def test_a_migration_that_fails_half_way_leaves_nothing(shop: Shop, file: Path) -> None:
    shop.revision("aaaa1", None, NOTES)
    shop.revision("bbbb2", "aaaa1", FAILS)
    with connected(file) as connection, pytest.raises(OperationalError):
        shop.scripts.upgrade(connection)
    assert state_of(file) == (None, set())


def test_with_a_transaction_each_the_earlier_revisions_stay(shop: Shop, file: Path) -> None:
    shop.run_with(transaction_per_migration=True)
    shop.revision("aaaa1", None, NOTES)
    shop.revision("bbbb2", "aaaa1", FAILS)
    with connected(file) as connection, pytest.raises(OperationalError):
        shop.scripts.upgrade(connection)
    assert state_of(file) == ("aaaa1", {"notes"})


def test_the_callers_transaction_is_left_to_it(shop: Shop, file: Path) -> None:
    shop.revision("aaaa1", None, NOTES)
    with connected(file) as connection:
        connection.execute(text("CREATE TABLE own (id INTEGER)"))
        shop.scripts.upgrade(connection)
        connection.rollback()
    assert state_of(file) == (None, set())


def test_a_table_is_rebuilt_without_loss_in_those_that_refer_to_it(shop: Shop, file: Path) -> None:
    shop.revision("aaaa1", None, NOTES)
    shop.revision("bbbb2", "aaaa1", TAGS)
    with connected(file) as connection:
        shop.scripts.upgrade(connection)
        connection.execute(text("INSERT INTO notes VALUES (1, 'milk')"))
        connection.execute(text("INSERT INTO tags VALUES (1)"))
        connection.commit()
        shop.revision("cccc3", "bbbb2", REBUILD)
        shop.scripts.upgrade(connection)
        assert connection.scalar(text("SELECT count(*) FROM tags")) == 1
        assert connection.scalar(text("PRAGMA foreign_keys")) == 1


def test_a_rebuild_inside_the_callers_transaction_is_refused(shop: Shop, file: Path) -> None:
    shop.revision("aaaa1", None, NOTES)
    with connected(file) as connection:
        shop.scripts.upgrade(connection)
        shop.revision("bbbb2", "aaaa1", REBUILD)
        with connection.begin(), pytest.raises(ConfigurationError, match="in no transaction"):
            shop.scripts.upgrade(connection)


def test_a_migration_that_leaves_rows_that_refer_to_nothing_is_undone(shop: Shop, file: Path) -> None:
    shop.revision("aaaa1", None, NOTES)
    shop.revision("bbbb2", "aaaa1", f"{TAGS}\nop.execute('INSERT INTO tags VALUES (7)')")
    with connected(file) as connection, pytest.raises(ConfigurationError, match="bbbb2 would leave rows in tags"):
        shop.scripts.upgrade(connection)
    assert state_of(file) == (None, set())


def test_a_stamp_touches_no_table(shop: Shop, file: Path) -> None:
    shop.revision("aaaa1", None, NOTES)
    with connected(file) as connection:
        shop.scripts.stamp(connection, "head")
        shop.scripts.stamp(connection, "aaaa1")
    assert state_of(file) == ("aaaa1", set())


def test_a_stamp_replaces_an_unknown_revision(shop: Shop, file: Path) -> None:
    shop.revision("aaaa1", None, NOTES)
    shop.revision("zzzz9", "aaaa1", TAGS)
    with connected(file) as connection:
        shop.scripts.upgrade(connection)
        (shop.migrations / "versions" / "zzzz9.py").unlink()
        shop.scripts.stamp(connection, "aaaa1")
        assert shop.scripts.upgrade(connection) == "aaaa1"


def test_threads_migrate_their_own_places_only(shop: Shop, tmp_path: Path) -> None:
    shop.revision("aaaa1", None, NOTES)
    shop.revision("bbbb2", "aaaa1", TAGS)
    scripts, files = shop.scripts, [tmp_path / f"{number}.db" for number in range(12)]

    def migrate(file: Path) -> None:
        with connected(file) as connection:
            scripts.upgrade(connection)

    with ThreadPoolExecutor(6) as threads:
        list(threads.map(migrate, files))
    assert [state_of(file) for file in files] == [("bbbb2", {"notes", "tags"})] * 12


def test_an_application_whose_tenancy_reads_the_folder_is_imported_by_env(shop: Shop, file: Path) -> None:
    shop.write(migrations="migrations")
    shop.revision("aaaa1", None, NOTES)
    with connected(file) as connection:
        assert shop.scripts.upgrade(connection) == "aaaa1"
