"""What an Alembic folder says of revisions."""

from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from shops import Shop
from sqlalchemy.dialects import postgresql
from support import make_tenancy

from fastapi_tenancy.errors import ConfigurationError
from fastapi_tenancy.migrations import MigrationScripts

VERSION_TABLE = (
    "CREATE TABLE alembic_version ( version_num VARCHAR(32) NOT NULL, CONSTRAINT alembic_version_pkc PRIMARY KEY "
    "(version_num) )"
)


@pytest.fixture
def line(shop: Shop) -> MigrationScripts:
    """Of three revisions, each after the other."""
    shop.revision("aaaa1", None)
    shop.revision("bbbb2", "aaaa1", label="tags")
    shop.revision("cccc3", "bbbb2")
    return shop.scripts


def test_the_head_is_the_newest_revision(line: MigrationScripts) -> None:
    assert line.head == "cccc3"


def test_without_revisions_nothing_is_behind(shop: Shop) -> None:
    assert shop.scripts.head is None
    assert not shop.scripts.is_behind(None)


def test_a_new_revision_counts_when_the_folder_is_read_again(shop: Shop, line: MigrationScripts) -> None:
    shop.revision("dddd4", "cccc3")
    assert not line.is_behind("cccc3")
    line.refresh()
    assert line.head == "dddd4"
    assert line.is_behind("cccc3")


@pytest.mark.parametrize(("to", "revision"), [("head", "cccc3"), ("bbbb2", "bbbb2"), ("bbbb", "bbbb2")])
def test_a_revision_is_named_in_full_or_by_its_beginning(line: MigrationScripts, to: str, revision: str) -> None:
    assert line.resolve(to) == revision


def test_a_revision_is_named_by_its_branch(line: MigrationScripts) -> None:
    assert line.resolve("tags") == "bbbb2"


@pytest.mark.parametrize("to", ["zzzz9", "base", "", "aaaa1+9", "no@zzzz9"])
def test_what_names_no_revision_is_refused(line: MigrationScripts, to: str) -> None:
    with pytest.raises(ConfigurationError, match="migrations"):
        line.resolve(to)


def test_what_was_never_migrated_is_behind(line: MigrationScripts) -> None:
    assert line.is_behind(None)
    assert line.is_behind(None, "aaaa1")


def test_a_revision_of_newer_code_is_not_behind(line: MigrationScripts) -> None:
    assert not line.is_behind("zzzz9")
    assert not line.is_behind("zzzz9", "aaaa1")


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5)), min_size=1, max_size=6))
@settings(max_examples=25, deadline=None)
def test_behind_is_what_leads_to_another(drawn: list[tuple[int, int]]) -> None:
    with TemporaryDirectory() as folder:
        (Path(folder) / "migrations" / "versions").mkdir(parents=True)
        (Path(folder) / "migrations" / "env.py").touch()
        shop, below = Shop(Path(folder), ""), {"rev_0": set[str]()}
        shop.revision("rev_0", None)
        for number, parents in enumerate(drawn, start=1):
            after = sorted({f"rev_{parent % number}" for parent in parents})
            after = [name for name in after if not any(name in below[other] for other in after)]
            below[f"rev_{number}"] = set(after).union(*(below[name] for name in after))
            shop.revision(f"rev_{number}", tuple(after))
        heads = sorted(set(below).difference(*below.values()))
        below["rev_x"] = set(below)
        shop.revision("rev_x", tuple(heads))
        scripts = shop.scripts
        assert {to: {name for name in below if scripts.is_behind(name, to)} for to in below} == below


def test_several_heads_are_refused(shop: Shop, line: MigrationScripts) -> None:
    shop.revision("dddd4", "bbbb2")
    with pytest.raises(
        ConfigurationError, match=r"2 heads \(cccc3, dddd4\); join them with: alembic -c .* merge heads"
    ):
        line.refresh()
    assert line.head == "cccc3"


def test_alembic_joins_heads_although_the_application_is_refused(shop: Shop, line: MigrationScripts) -> None:
    shop.write(migrations="migrations")
    shop.revision("dddd4", "bbbb2")
    shop.alembic("merge", "heads", "--rev-id", "eeee5")
    line.refresh()
    assert line.head == "eeee5"


@pytest.mark.filterwarnings("ignore:Revision aaaa1 referenced")
def test_a_revision_that_was_deleted_is_named(shop: Shop, line: MigrationScripts) -> None:
    (shop.migrations / "versions" / "aaaa1.py").unlink()
    with pytest.raises(ConfigurationError, match="comes after 'aaaa1', which is not there"):
        line.refresh()


def test_a_folder_that_is_not_there_is_refused_with_what_writes_it(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="fastapi-tenancy migrations init"):
        MigrationScripts(tmp_path / "nowhere")


def test_revisions_may_be_elsewhere_as_alembic_ini_says(shop: Shop, line: MigrationScripts) -> None:
    (shop.migrations / "versions").rename(shop.folder / "elsewhere")
    ini = shop.migrations / "alembic.ini"
    ini.write_text(ini.read_text() + "version_locations = %(here)s/../elsewhere\n")
    assert shop.scripts.head == "cccc3"


def test_the_sql_has_one_statement_in_each_element(shop: Shop) -> None:
    shop.revision("aaaa1", None, 'op.create_table("notes", sa.Column("id", sa.Integer))\nop.execute("SELECT 1 -- one")')
    shop.revision("bbbb2", "aaaa1", 'op.execute("INSERT INTO notes VALUES (7 % 5)")')
    made = shop.scripts.sql(postgresql.dialect())
    assert made is not None
    assert [" ".join(statement.split()) for statement in made] == [
        VERSION_TABLE,
        "CREATE TABLE notes ( id INTEGER )",
        "SELECT 1 -- one",
        "INSERT INTO alembic_version (version_num) VALUES ('aaaa1') RETURNING alembic_version.version_num",
        "INSERT INTO notes VALUES (7 % 5)",
        "UPDATE alembic_version SET version_num='bbbb2' WHERE alembic_version.version_num = 'aaaa1'",
    ]
    assert made[2].endswith("\n")  # or the comment would swallow what follows


@pytest.mark.parametrize(
    "upgrade",
    [
        "op.get_bind().execute(sa.text('SELECT 1')).scalar_one()",
        "sa.inspect(op.get_bind())",
        "with op.get_context().autocommit_block(): op.execute('SELECT 1')",
        "op.get_bind().execute(sa.text('UPDATE notes SET id = :one'), {'one': 1})",
        "op.get_bind().execute(sa.select(1))",
    ],
)
def test_scripts_that_need_a_connection_have_no_sql(shop: Shop, upgrade: str) -> None:
    shop.revision("aaaa1", None, upgrade)
    assert shop.scripts.sql(postgresql.dialect()) is None


def test_the_sql_is_whole_whatever_env_says_of_transactions(shop: Shop) -> None:
    shop.run_with(transaction_per_migration=True)
    shop.revision("aaaa1", None, 'op.execute("SELECT 1")')
    made = shop.scripts.sql(postgresql.dialect())
    assert made is not None
    assert made[1] == "SELECT 1"


def test_options_that_are_the_librarys_are_refused(shop: Shop) -> None:
    shop.run_with(version_table="mine")
    with pytest.raises(ConfigurationError, match="version_table itself"):
        shop.alembic("check")


async def test_the_start_of_the_application_reads_the_folder_again(shop: Shop, line: MigrationScripts) -> None:
    tenancy = make_tenancy(shop.folder, migrations="migrations")
    shop.revision("dddd4", "cccc3")
    async with tenancy:
        scripts = tenancy.provider.root_profile.scripts
        assert scripts is not None
        assert scripts.head == "dddd4"
