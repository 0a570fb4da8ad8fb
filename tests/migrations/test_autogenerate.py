"""Alembic's own commands, in the folder that the library writes."""

import importlib
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from places import place_named
from servers import drop_database, new_database, plain_role, rows_of
from shops import Shop
from sqlalchemy import inspect

from fastapi_tenancy.errors import ConfigurationError
from fastapi_tenancy.migrations import revision_of, write_folder

NOTES = """
class Note(TenantScoped, Base):
    __tablename__ = "notes"
    id: Mapped[int] = mapped_column(primary_key=True)
    text: Mapped[str] = mapped_column(String(200))
    mood: Mapped[str] = mapped_column(Enum("good", "bad", name="mood"))
"""
SHARED = """
class Plan(Base):
    __tablename__ = "plans"
    __table_args__ = {"info": {"tenancy": "shared"}}
    id: Mapped[int] = mapped_column(primary_key=True)
"""
HEROES = """
class Hero(Base):
    __tablename__ = "heroes"
    name: Mapped[str] = mapped_column(AutoString, primary_key=True)
"""
MORE = """    done: Mapped[bool | None]
"""


@pytest.fixture(params=["sqlite-basic", "postgresql-basic", "postgresql-schema", "postgresql-row"])
def place(request: pytest.FixtureRequest) -> Iterator[dict[str, str]]:
    with place_named(request.param, request) as settings:
        yield settings


def places_on_the_server(place: dict[str, str]) -> set[str]:
    """The databases, and the schemas of the deployment's own."""
    url = place.get("database_url")
    if url is None:
        return set()
    found = rows_of(url, "SELECT datname FROM pg_database UNION SELECT nspname FROM pg_namespace")
    return {name for (name,) in found}


def test_a_generated_revision_makes_what_the_models_say(shop: Shop, place: dict[str, str]) -> None:
    before = places_on_the_server(place)
    shop.write(NOTES, **place)
    made = shop.autogenerate()
    assert "create_table('notes'" in made
    assert "tenancy_" not in made
    shop.alembic("check")
    assert places_on_the_server(place) == before


@pytest.mark.parametrize("manager", ["basic", "shared-profile"])
def test_a_generated_revision_is_for_mariadb_too(shop: Shop, mysql_url: str, manager: str) -> None:
    database = new_database(mysql_url)
    try:
        before = rows_of(mysql_url, "SHOW DATABASES")
        shop.write(NOTES, database_url=database, manager_type=manager)
        assert "create_table('notes'" in shop.autogenerate()
        shop.alembic("check")
        assert rows_of(mysql_url, "SHOW DATABASES") == before
    finally:
        drop_database(database)


def test_the_next_revision_is_what_changed_since(shop: Shop) -> None:
    shop.write(NOTES)
    shop.autogenerate()
    shop.write(NOTES + MORE)
    made = shop.autogenerate()
    assert "with op.batch_alter_table('notes'" in made
    assert "add_column(sa.Column('done'" in made
    assert "_table('" not in made.replace("batch_alter_table('", "")


@pytest.mark.parametrize(
    ("name", "is_in"), [("postgresql-schema", False), ("sqlite-basic", True), ("sqlite-row", True)]
)
def test_shared_tables_are_migrated_where_they_are_with_the_tenants_own(
    request: pytest.FixtureRequest, shop: Shop, name: str, is_in: bool
) -> None:
    with place_named(name, request) as place:
        shop.write(NOTES + SHARED, **place)
        assert ("create_table('plans'" in shop.autogenerate()) is is_in
        shop.alembic("check")


def test_a_type_of_the_applications_is_imported(shop: Shop) -> None:
    shop.write(HEROES)
    module = shop.folder / f"{shop.module}.py"
    module.write_text("from sqlmodel.sql.sqltypes import AutoString\n" + module.read_text())
    assert "import sqlmodel.sql.sqltypes" in shop.autogenerate()
    shop.alembic("check")


def test_the_applications_own_filter_is_asked_too(shop: Shop) -> None:
    env = shop.migrations / "env.py"
    shop.write(NOTES)
    env.write_text(env.read_text().replace("(tenancy)", "(tenancy, include_object=lambda item, *rest: False)"))
    assert "pass" in shop.autogenerate()


@pytest.mark.parametrize("words", [("upgrade", "head"), ("downgrade", "base"), ("stamp", "head"), ("current",)])
def test_what_is_about_one_place_is_refused_without_a_tenant(
    shop: Shop, capsys: pytest.CaptureFixture[str], words: tuple[str, ...]
) -> None:
    with pytest.raises(SystemExit):
        shop.alembic(*words)
    assert "fastapi-tenancy migrate" in "".join(capsys.readouterr())


async def test_a_tenant_is_migrated_and_compared_by_its_name(shop: Shop) -> None:
    shop.write(NOTES)
    shop.autogenerate()
    tenancy = importlib.import_module(shop.module).tenancy
    async with tenancy:
        await tenancy.create_tenant("acme")
    shop.alembic("-x", "tenant=acme", "stamp", "head")
    shop.write(NOTES + MORE)
    assert "add_column(sa.Column('done'" in shop.autogenerate("-x", "tenant=acme")
    shop.alembic("-x", "tenant=acme", "upgrade", "head")
    shop.alembic("-x", "tenant=acme", "check")
    with tenancy.reference("acme") as reference:
        assert revision_of(reference.connection) == shop.scripts.head
        assert {"notes", "tenancy_owner"} <= set(inspect(reference.connection).get_table_names())


def test_an_unknown_tenant_is_named(shop: Shop, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        shop.alembic("-x", "tenant=nobody", "upgrade", "head")
    assert "nobody" in "".join(capsys.readouterr())


@pytest.mark.parametrize("manager", [{}, {"manager_type": "shared-profile", "shared_isolation": "row"}])
def test_a_user_who_may_not_make_a_scratch_place_is_told(
    shop: Shop, postgresql_url: str, capsys: pytest.CaptureFixture[str], manager: dict[str, str]
) -> None:
    database = new_database(postgresql_url)
    try:
        shop.write(NOTES, database_url=plain_role(database), **manager)
        with pytest.raises(SystemExit):
            shop.alembic("check")
    finally:
        drop_database(database)
    assert "alembic -x tenant=acme" in "".join(capsys.readouterr())


def test_sql_is_printed_without_a_tenant(shop: Shop, capsys: pytest.CaptureFixture[str]) -> None:
    shop.write(NOTES)
    shop.autogenerate()
    shop.alembic("upgrade", "head", "--sql")
    assert "CREATE TABLE notes" in capsys.readouterr().out


def test_alembic_finds_the_application_from_any_folder(shop: Shop) -> None:
    words = [sys.executable, "-m", "alembic", "-c", str(shop.migrations / "alembic.ini")]
    ran = subprocess.run([*words, "revision", "--autogenerate", "-m", "notes"], cwd="/", capture_output=True, text=True)
    assert (ran.returncode, "Detected added table 'notes'" in ran.stderr) == (0, True), ran.stderr
    assert shop.scripts.head is not None


def test_a_folder_names_no_place_of_the_machine(shop: Shop) -> None:
    texts = [file.read_text() for file in shop.migrations.iterdir() if file.is_file()]
    assert len(texts) == 3
    assert not any(str(shop.folder) in text for text in texts)


def test_the_tenancy_may_be_an_attribute_of_something(shop: Shop) -> None:
    write_folder("deep/er", "shop.main:state.tenancy")
    env = (shop.folder / "deep" / "er" / "env.py").read_text()
    assert "from shop.main import state\n" in env
    assert "run_tenant_migrations(state.tenancy)" in env
    assert "%(here)s/../..\n" in (shop.folder / "deep" / "er" / "alembic.ini").read_text()


def test_a_folder_elsewhere_has_the_working_directory_found_at_run_time(
    shop: Shop, tmp_path_factory: pytest.TempPathFactory
) -> None:
    elsewhere = tmp_path_factory.mktemp("elsewhere") / "migrations"
    write_folder(elsewhere, "shop:tenancy")
    assert "prepend_sys_path = .\n" in (elsewhere / "alembic.ini").read_text()


@pytest.mark.parametrize("reference", ["shop", "shop:", ":tenancy", "shop.py:tenancy()", "shop:tenancy; evil"])
def test_a_reference_that_names_no_tenancy_is_refused(shop: Shop, reference: str) -> None:
    with pytest.raises(ConfigurationError, match="module:attribute"):
        write_folder("other", reference)
    assert not Path("other").exists()


def test_a_folder_that_has_something_is_refused(shop: Shop) -> None:
    with pytest.raises(ConfigurationError, match="not an empty folder"):
        write_folder("migrations", "shop:tenancy")
