"""Migrations, pending tenants, archives, moves and the doctor from the command line."""

import json
import sqlite3
import sys

import pytest
from cli.cli_support import Shop, Terminal
from support import Base

from fastapi_tenancy import HeaderResolver, Tenancy, TenancySettings
from fastapi_tenancy.__main__ import main

SHOP = """
    from pathlib import Path
    from support import make_tenancy

    migrations = Path(__file__).parent / "migrations"
    tenancy = make_tenancy(
        Path(__file__).parent, migrations=str(migrations) if migrations.exists() else None, shared_isolation="row"
    )
"""

FIRST = """
    import sqlalchemy as sa
    from alembic import op

    revision, down_revision = "0001", None

    def upgrade():
        op.create_table("extra", sa.Column("id", sa.Integer, primary_key=True))
"""


@pytest.fixture
def fleet(tenants: Shop) -> Shop:
    """The same application, whose settings know the migrations if there are some."""
    tenants.write("shop", SHOP)
    return tenants


@pytest.fixture
def behind(fleet: Shop, monkeypatch: pytest.MonkeyPatch) -> Shop:
    """Three tenants without a revision, and one migration, which fails for globex."""
    fleet.lines("migrations", "init", "migrations")
    monkeypatch.delitem(sys.modules, "shop", raising=False)
    fleet.write("migrations/versions/0001", FIRST)
    globex = fleet.json("tenants", "show", "globex")
    with sqlite3.connect(fleet.folder / "tenants" / f"{globex['id']}.db") as database:
        database.execute("CREATE TABLE extra (id integer)")
    database.close()
    return fleet


def test_init_writes_a_folder_that_knows_the_application(fleet: Shop) -> None:
    assert fleet.json("migrations", "init", "new/folder") == {"folder": "new/folder"}
    assert "from shop import tenancy" in (fleet.folder / "new" / "folder" / "env.py").read_text("utf-8")
    assert "not an empty folder" in fleet.failure("migrations", "init", "new/folder")


def test_init_does_not_need_an_application_that_can_be_loaded_already(fleet: Shop) -> None:
    fleet.lines("--app", "not_yet:tenancy", "migrations", "init", "other")
    assert "from not_yet import tenancy" in (fleet.folder / "other/env.py").read_text()


def test_migrate_answers_what_became_of_each(behind: Shop) -> None:
    before = behind.json("status")
    assert before == {"head": "0001", "current": 0, "behind": ["acme", "globex", "sleepy"], "failed": []}
    ended = behind.call("migrate", "--json", "--workers", "1")
    report = json.loads(ended.stdout)
    assert ended.exit_code == 1
    assert (sorted(report["migrated"]), report["skipped"]) == (["acme", "sleepy"], [])
    assert [each["tenant"] for each in report["failed"]] == ["globex"]
    assert ended.stderr == "fastapi-tenancy: 1 failed: globex; mend them and run the same command again\n"
    assert behind.json("status") == {"head": "0001", "current": 2, "behind": ["globex"], "failed": ["globex"]}
    assert behind.lines("status") == ["head: 0001", "current: 2", "behind: 1 globex", "failed: 1 globex"]


def test_migrate_refuses_a_revision_that_there_is_not(behind: Shop) -> None:
    assert "0002" in behind.failure("migrate", "--to", "0002")
    assert "nobody" in behind.failure("migrate", "--tenant", "nobody")


def test_pool_fill_makes_tenants_ready(fleet: Shop) -> None:
    assert fleet.lines("pool", "fill", "2") == ["1/2 made", "2/2 made", "made: 2, ready: 2"]
    assert fleet.json("pool", "fill", "2") == {"made": 0, "ready": 2}


def test_at_a_terminal_progress_is_a_bar_on_stderr(fleet: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setenv("TERM", "xterm")
    assert main(["--app", "shop:tenancy", "pool", "fill", "2", "--json"]) == 0
    assert "making tenants" in terminal.getvalue()
    assert "2/2" in terminal.getvalue()


def test_a_tenant_is_exported_and_imported(fleet: Shop) -> None:
    fleet.lines("tenants", "shell", "acme", typed="session.add(Note(text='a')); session.commit()")
    exported = fleet.json("export", "acme", "acme.archive")
    assert (exported["tenant"], exported["rows"], exported["file"]) == ("acme", 1, "acme.archive")
    copy = fleet.json("import", "acme.archive", "--as", "copy", "--manager", "shared-profile")
    assert (copy["identifier"], copy["manager_type"]) == ("copy", "shared-profile")
    assert fleet.lines("tenants", "shell", "copy", typed="session.scalars(select(Note.text)).all()") == ["['a']"]
    assert "acme" in fleet.failure("import", "acme.archive")
    assert "no-file" in fleet.failure("import", "no-file")
    assert "no-manager" in fleet.wrong("import", "acme.archive", "--manager", "no-manager")


def test_a_tenant_is_moved_and_confirmed(fleet: Shop) -> None:
    fleet.lines("tenants", "shell", "acme", typed="session.add(Note(text='a')); session.commit()")
    moved = fleet.json("move", "acme", "--to", "shared-profile", "--isolation", "row")
    assert (moved["tenant"], moved["rows"], moved["tables"]["notes"]) == ("acme", 1, 1)
    assert moved["read_only_seconds"] > 0
    assert fleet.lines("tenants", "shell", "acme", typed="session.scalars(select(Note.text)).all()") == ["['a']"]
    assert "confirm" in fleet.failure("move", "acme", "--abort")
    assert fleet.json("move", "acme", "--confirm", "--at-once") == {"tenant": "acme", "confirmed": True}
    assert fleet.lines("move", "acme", "--to", "basic")[-1].endswith("fastapi-tenancy move acme --confirm")


@pytest.mark.parametrize(
    "words",
    [
        [],
        ["--to", "no-manager"],
        ["--to", "shared-profile", "--isolation", "no-isolation"],
        ["--to", "basic", "--confirm"],
        ["--confirm", "--abort"],
    ],
)
def test_a_move_that_cannot_be_is_a_wrong_call(fleet: Shop, words: list[str]) -> None:
    fleet.wrong("move", "acme", *words)


def test_doctor_tells_what_is_wrong_and_what_mends_it(fleet: Shop) -> None:
    acme = fleet.json("tenants", "show", "acme")
    (fleet.folder / "tenants" / f"{acme['id']}.db").unlink()
    ended = fleet.call("doctor", "--json")
    found = [each for each in json.loads(ended.stdout)["findings"] if each["severity"] == "error"]
    assert (ended.exit_code, ended.stderr) == (1, "fastapi-tenancy: 1 error was found\n")
    assert [set(each) for each in found] == [{"check", "severity", "tenant", "message", "remedy"}]
    assert found[0]["tenant"] == "acme"
    assert any(line == f"  mend it: {found[0]['remedy']}" for line in fleet.call("doctor").stdout.splitlines())


def test_doctor_of_a_healthy_deployment_succeeds(fleet: Shop) -> None:
    assert all(each["severity"] != "error" for each in fleet.json("doctor")["findings"])


def test_doctor_needs_no_database_to_speak(fleet: Shop) -> None:
    fleet.write(
        "jobs", "from support import *\ntenancy = make_tenancy(Path('.'), database_url='sqlite:////no/where.db')"
    )
    ended = fleet.call("doctor", app="jobs:tenancy")
    assert ended.exit_code == 1
    assert "error" in ended.stdout


def test_a_command_does_not_begin_the_upkeep(fleet: Shop) -> None:
    settings = TenancySettings(database_url=f"sqlite:///{fleet.folder}/tenancy.db", pending_tenants=5)
    assert Tenancy(settings, resolvers=[HeaderResolver("X-Tenant")], metadata=Base.metadata).upkeep
    fleet.write("jobs", "from support import *\ntenancy = make_tenancy(Path(__file__).parent, pending_tenants=5)")
    fleet.lines("--app", "jobs:tenancy", "tenants", "list")
    assert fleet.json("pool", "fill", "0") == {"made": 0, "ready": 0}
