"""How the command is called, and how it tells what went wrong."""

import runpy
import sys
from collections.abc import Iterator, Sequence
from typing import Any

import pytest
from cli.cli_support import Shop
from typer.main import get_command

from fastapi_tenancy.__main__ import main
from fastapi_tenancy.cli.program import program


def test_options_of_all_commands_stand_on_either_side(shop: Shop) -> None:
    for words in (
        ["--app", "shop:tenancy", "--json", "tenants", "list"],
        ["tenants", "--app", "shop:tenancy", "--json", "list"],
        ["tenants", "list", "--app", "shop:tenancy", "--json"],
    ):
        ended = shop.call(*words, app=None)
        assert (ended.exit_code, ended.stdout) == (0, "[]\n"), ended


def test_the_option_goes_before_the_environment(shop: Shop) -> None:
    assert shop.call("tenants", "list", "--app", "shop:holder.tenancy", app="nowhere:tenancy").exit_code == 0


@pytest.mark.parametrize(
    ("where", "said"),
    [
        (None, "TENANCY_APP"),
        ("shop", "MODULE:ATTRIBUTE"),
        ("nowhere:tenancy", "nowhere"),
        ("nowhere.inner:tenancy", "nowhere"),
        ("shop:nothing", "nothing"),
        ("shop:holder.nothing", "nothing"),
        ("shop:word", "Tenancy"),
    ],
)
def test_an_application_that_is_not_there_is_a_wrong_call(shop: Shop, where: str | None, said: str) -> None:
    assert said in shop.wrong("tenants", "list", app=where)


@pytest.mark.parametrize(
    "words",
    [
        [],
        ["tenants"],
        ["no-command"],
        ["tenants", "show"],
        ["tenants", "list", "--no-option"],
        ["tenants", "list", "--status", "asleep"],
        ["tenants", "update", "acme"],
        ["tenants", "create", "acme", "--set", "plan"],
        ["tenants", "create", "acme", "--set", "smtp..port=1"],
        ["tenants", "create", "acme", "--manager", "no-manager"],
        ["tenants", "create", "acme", "--manager", "shop.Manager"],
        ["tenants", "create", "acme", "--set", "api_key=-"],
        ["tenants", "delete", "acme"],
        ["tenants", "run"],
        ["tenants", "run", "acme"],
        ["tenants", "run", "--all", "--key", "x", "--", "true"],
        ["tenants", "run", "acme", "--call", "shop:word"],
        ["tenants", "run", "acme", "--call", "shop:nothing"],
        ["migrate", "--key", "acme"],
        ["migrate", "--workers", "0"],
        ["audit", "prune"],
    ],
)
def test_a_wrong_call_exits_with_2(shop: Shop, words: list[str]) -> None:
    assert shop.call(*words).exit_code == 2


def test_a_module_that_fails_tells_its_own_error(shop: Shop) -> None:
    shop.write("broken", "raise RuntimeError('no database\\nat all')")
    ended = shop.call("tenants", "list", app="broken:tenancy")
    assert (ended.exit_code, ended.stderr) == (1, "fastapi-tenancy: RuntimeError: no database at all\n")


def test_a_module_that_misses_another_one_tells_which(shop: Shop) -> None:
    shop.write("broken", "import nowhere")
    ended = shop.call("tenants", "list", app="broken:tenancy")
    assert (ended.exit_code, ended.stderr) == (1, "fastapi-tenancy: ModuleNotFoundError: No module named 'nowhere'\n")


def test_with_traceback_the_whole_error_is_shown(shop: Shop) -> None:
    shop.write("broken", "raise RuntimeError('no database')")
    ended = shop.call("tenants", "list", "--traceback", app="broken:tenancy")
    assert "broken.py" in ended.stderr
    assert ended.stderr.endswith("fastapi-tenancy: RuntimeError: no database\n")


def test_a_failure_never_shows_the_parameters_of_a_statement(tenants: Shop) -> None:
    tenants.write(
        "jobs",
        """
        from sqlalchemy import text

        async def work(profile):
            async with profile.session() as session:
                await session.execute(text("SELECT * FROM nowhere WHERE a = :a"), {"a": "hunter2"})
        """,
    )
    line = tenants.failure("tenants", "run", "acme", "--call", "jobs:work")
    assert "no such table: nowhere" in line
    assert "hunter2" not in line


def test_ctrl_c_is_one_line_and_130(tenants: Shop) -> None:
    tenants.write(
        "jobs",
        """
        import asyncio, signal

        async def wait(profile):
            signal.raise_signal(signal.SIGINT)
            await asyncio.sleep(60)
        """,
    )
    ended = tenants.call("tenants", "run", "acme", "--call", "jobs:wait")
    assert (ended.exit_code, ended.stderr) == (130, "fastapi-tenancy: interrupted\n")


def test_the_actor_is_recorded(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    shop.call("tenants", "create", "acme", "--actor", "ada")
    monkeypatch.setenv("TENANCY_ACTOR", "grace")
    shop.call("tenants", "suspend", "acme")
    assert [each["actor"] for each in shop.json("audit", "list")][::2] == ["grace", "ada"]


def _commands(group: Any, *words: str) -> Iterator[tuple[str, ...]]:
    for name, command in group.commands.items():
        yield from _commands(command, *words, name) if hasattr(command, "commands") else [(*words, name)]


@pytest.mark.parametrize("words", list(_commands(get_command(program))), ids=" ".join)
def test_a_command_has_help_with_examples(words: Sequence[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*words, "--help"]) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert f"fastapi-tenancy {' '.join(words)} " in said.partition("Examples:")[2]


def test_every_command_of_the_contract_is_there() -> None:
    groups = {
        "tenants": ("list", "show", "create", "update", "suspend", "activate", "delete", "run", "shell"),
        "domains": ("list", "add", "verify", "primary", "revoke", "remove"),
        "tokens": ("list", "create", "revoke"),
        "audit": ("list", "prune"),
        "migrations": ("init",),
        "pool": ("fill",),
    }
    alone = ("migrate", "status", "export", "import", "move", "doctor", "reseal")
    assert sorted(_commands(get_command(program))) == sorted(
        [(group, name) for group, names in groups.items() for name in names] + [(name,) for name in alone]
    )


def test_a_shell_is_offered_identifiers(
    shop: Shop, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for identifier in ("acme", "acme-2", "globex", "an-acme"):
        shop.call("tenants", "create", identifier)

    def offered(line: str) -> list[str]:
        words = line.split(" ")
        monkeypatch.setenv("_FASTAPI_TENANCY_COMPLETE", "complete_bash")
        monkeypatch.setenv("COMP_WORDS", line)
        monkeypatch.setenv("COMP_CWORD", str(len(words) - 1))
        assert main([]) == 0
        return capsys.readouterr().out.split()

    app = "fastapi-tenancy --app shop:tenancy"
    assert offered(f"{app} tenants show acme") == ["acme", "acme-2"]
    assert offered(f"{app} tenants show acme-") == ["acme-2"]
    assert offered("fastapi-tenancy tenants show --app shop:tenancy g") == ["globex"]
    assert offered("fastapi-tenancy --app nowhere:tenancy tenants show a") == []
    assert offered("fastapi-tenancy tenants sus") == ["suspend"]


def test_without_its_extra_it_says_which_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "typer", None)
    for name in [name for name in sys.modules if name.startswith(("fastapi_tenancy.cli", "fastapi_tenancy.__main__"))]:
        monkeypatch.delitem(sys.modules, name)
    with pytest.raises(SystemExit, match=r"pip install '\.\[cli\]'"):
        runpy.run_module("fastapi_tenancy", run_name="__main__")
