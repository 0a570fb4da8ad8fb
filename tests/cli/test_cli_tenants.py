"""Tenants, domains, tokens and the audit trail from the command line."""

import sys
from typing import Any

import pytest
from cli.cli_support import Shop, Terminal

from fastapi_tenancy.__main__ import main
from fastapi_tenancy.cli.values import given_settings


def test_a_tenant_is_created(shop: Shop) -> None:
    acme = shop.json(
        *("tenants", "create", "acme", "--name", "Acme", "--set", "plan=pro", "--set", "seats=5"), "--manager", "basic"
    )
    assert (acme["identifier"], acme["name"], acme["status"]) == ("acme", "Acme", "active")
    assert (acme["settings"], acme["manager_type"]) == ({"plan": "pro", "seats": 5}, "basic")
    assert shop.json("tenants", "show", "acme") == acme


def test_people_read_a_line(shop: Shop) -> None:
    assert shop.lines("tenants", "create", "acme") == ["created acme"]
    assert shop.lines("tenants", "suspend", "acme") == ["suspended acme"]
    assert shop.lines("tenants", "list") == ["acme\tsuspended\t\tacme"]


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("a=5", {"a": 5}),
        ("a=true", {"a": True}),
        ("a=null", {"a": None}),
        ('a={"b":[1]}', {"a": {"b": [1]}}),
        ("a=five", {"a": "five"}),
        ("a=", {"a": ""}),
        ("a=b=c", {"a": "b=c"}),
        ("a=NaN", {"a": "NaN"}),
        ('a="-"', {"a": "-"}),
        ("a.b.c=1", {"a": {"b": {"c": 1}}}),
    ],
)
def test_a_setting_is_json_or_else_text(given: str, kept: object) -> None:
    assert given_settings([given]) == kept


def test_secrets_come_from_stdin_and_are_never_shown(shop: Shop) -> None:
    words = ("tenants", "create", "acme", "--database-url", "-", "--set", "smtp.password=-", "--set", "api_key=-")
    file = shop.folder / "own.db"
    acme = shop.json(*words, typed=f"sqlite:///{file}?cache=private\n12345\nhunter3\n")
    assert acme["settings"] == {"smtp": {"password": "***"}, "api_key": "***"}
    assert acme["database_url"] == f"sqlite:///{file}?cache=%2A%2A%2A"
    assert "hunter" not in "\n".join(shop.lines("tenants", "show", "acme"))
    shop.write("jobs", "async def work(profile): return profile.tenant.settings['smtp']['password'] == '12345'")
    assert shop.lines("tenants", "run", "acme", "--call", "jobs:work") == ["True"]


def test_update_merges_settings(shop: Shop) -> None:
    shop.call("tenants", "create", "acme", "--set", "plan=pro", "--set", "smtp.host=a", "--set", "smtp.port=25")
    words = ("--set", "seats=5", "--set", "smtp.host=b", "--unset", "plan", "--unset", "smtp.port", "--unset", "none.x")
    assert shop.json("tenants", "update", "acme", *words)["settings"] == {"seats": 5, "smtp": {"host": "b"}}


def test_update_keeps_what_asterisks_stand_for(shop: Shop) -> None:
    shop.call("tenants", "create", "acme", "--set", "api_key=hunter2")
    shop.lines("tenants", "update", "acme", "--set", "api_key=***")
    shop.write("jobs", "async def work(profile): return profile.tenant.settings['api_key'] == 'hunter2'")
    assert shop.lines("tenants", "run", "acme", "--call", "jobs:work") == ["True"]


def test_update_renames(shop: Shop) -> None:
    shop.call("tenants", "create", "acme", "--set", "plan=pro")
    renamed = shop.json("tenants", "update", "acme", "--identifier", "acme-inc", "--name", "Acme Inc")
    assert (renamed["identifier"], renamed["name"], renamed["settings"]) == ("acme-inc", "Acme Inc", {"plan": "pro"})
    assert "acme" in shop.failure("tenants", "show", "acme")


def test_the_status_changes(tenants: Shop) -> None:
    assert tenants.json("tenants", "suspend", "acme")["status"] == "suspended"
    assert tenants.json("tenants", "activate", "acme")["status"] == "active"


def test_list_goes_through_all_pages(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fastapi_tenancy.cli.tenants._PAGE", 2)
    for number in range(5):
        shop.call("tenants", "create", f"t{number}")
    shop.call("tenants", "suspend", "t3")

    def listed(*words: str) -> list[str]:
        return [each["identifier"] for each in shop.json("tenants", "list", *words)]

    assert listed() == ["t0", "t1", "t2", "t3", "t4"]
    assert listed("--limit", "3") == ["t0", "t1", "t2"]
    assert listed("--status", "suspended") == ["t3"]
    assert listed("--q", "4") == ["t4"]


def test_a_name_cannot_command_a_terminal(shop: Shop) -> None:
    shop.call("tenants", "create", "acme", "--name", "\x1b[2Jno\tname")
    assert shop.lines("tenants", "list") == ["acme\tactive\t\t\\x1b[2Jno\\tname"]


class TestDelete:
    def test_it_needs_a_yes_where_nobody_can_be_asked(self, shop: Shop) -> None:
        shop.call("tenants", "create", "acme")
        assert "--yes" in shop.wrong("tenants", "delete", "acme")
        assert shop.json("tenants", "delete", "acme", "--yes")["identifier"] == "acme"
        assert shop.json("tenants", "list") == []

    def test_data_are_kept_unless_told(self, shop: Shop) -> None:
        for identifier, words in {"acme": ["--drop-data"], "globex": []}.items():
            file = shop.folder / "tenants" / f"{shop.json('tenants', 'create', identifier)['id']}.db"
            assert file.exists()
            shop.lines("tenants", "delete", identifier, "--yes", *words)
            assert file.exists() == (not words)

    @pytest.mark.parametrize(("answer", "left"), [("y\n", []), ("n\n", ["acme"])])
    def test_it_asks_at_a_terminal(
        self,
        shop: Shop,
        monkeypatch: pytest.MonkeyPatch,
        capsys: pytest.CaptureFixture[str],
        answer: str,
        left: list[str],
    ) -> None:
        shop.call("tenants", "create", "acme")
        monkeypatch.setattr(sys, "stdin", Terminal(answer))
        assert main(["--app", "shop:tenancy", "tenants", "delete", "acme", "--drop-data"]) == len(left)
        said = capsys.readouterr()
        assert "destroy its data?" in said.err
        assert said.out == ("" if left else "deleted acme\n")
        assert [each["identifier"] for each in shop.json("tenants", "list")] == left

    def test_ctrl_c_is_no_answer(
        self, tenants: Shop, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        monkeypatch.setattr(sys, "stdin", PressedTerminal())
        assert main(["--app", "shop:tenancy", "tenants", "delete", "acme"]) == 130
        assert capsys.readouterr().err.endswith("fastapi-tenancy: interrupted\n")
        assert tenants.json("tenants", "show", "acme")["status"] == "active"


class PressedTerminal(Terminal):
    """A terminal at which Ctrl-C is pressed."""

    def readline(self, *_: Any) -> str:
        raise KeyboardInterrupt


def test_ctrl_c_gives_no_secret(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(sys, "stdin", PressedTerminal())
    monkeypatch.setattr("fastapi_tenancy.cli.values.getpass", lambda *_, **__: sys.stdin.readline())
    assert main(["tenants", "create", "acme", "--set", "api_key=-"]) == 130
    assert capsys.readouterr().err == "fastapi-tenancy: interrupted\n"


def test_a_terminal_gets_a_table(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    shop.call("tenants", "create", "acme", "--name", "[bold]Acme")
    terminal = Terminal()
    monkeypatch.setattr(sys, "stdout", terminal)
    assert main(["--app", "shop:tenancy", "tenants", "list"]) == 0
    assert "identifier" in terminal.getvalue()
    assert "[bold]Acme" in terminal.getvalue()


def test_domains_are_claimed_and_removed(tenants: Shop) -> None:
    claim = tenants.json("domains", "add", "acme", "app.acme.com")
    assert (claim["host"], claim["status"]) == ("app.acme.com", "pending")
    assert any(claim["record_value"] in line for line in tenants.lines("domains", "add", "acme", "app.acme.com"))
    assert tenants.json("domains", "list", "acme") == [claim]
    assert "verify it first" in tenants.failure("domains", "primary", "acme", "app.acme.com")
    assert tenants.json("domains", "revoke", "acme", "app.acme.com")["status"] == "revoked"
    assert tenants.json("domains", "remove", "acme", "app.acme.com") == {"host": "app.acme.com"}
    assert tenants.lines("domains", "list", "acme") == []


def test_a_domain_is_verified(tenants: Shop) -> None:
    tenants.write(
        "jobs",
        """
        from pathlib import Path
        from fastapi_tenancy import HeaderResolver, Tenancy, TenancySettings
        from support import Base

        class Proven:
            async def check(self, host, token):
                return host == "app.acme.com"

        tenancy = Tenancy(
            TenancySettings(database_url=f"sqlite:///{Path(__file__).parent}/tenancy.db"),
            resolvers=[HeaderResolver("X-Tenant-ID")],
            metadata=Base.metadata,
            domain_checker=Proven(),
        )
        """,
    )
    for host in ("app.acme.com", "www.acme.com"):
        tenants.call("domains", "add", "acme", host)
    assert tenants.json("--app", "jobs:tenancy", "domains", "verify", "acme", "app.acme.com")["status"] == "verified"
    assert tenants.json("domains", "primary", "acme", "app.acme.com")["is_primary"] is True
    assert "no proof" in tenants.failure("--app", "jobs:tenancy", "domains", "verify", "acme", "www.acme.com")


def test_a_token_is_shown_once(tenants: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fastapi_tenancy.cli.tokens._PAGE", 1)
    words = ("--name", "Ada's laptop", "--scope", "notes:read", "--scope", "notes:write", "--expires-in", "60")
    first = tenants.json("tokens", "create", "acme", *words)
    assert set(first) == {"token_id", "token"}
    assert tenants.lines("tokens", "create", "acme", "--opaque")[1].startswith("token: ")
    listed = tenants.json("tokens", "list", "acme")
    assert [each["name"] for each in listed] == ["Ada's laptop", "auth token"]
    assert listed[0]["scopes"] == ["notes:read", "notes:write"]
    assert first["token"] not in str(listed)
    assert tenants.json("tokens", "revoke", "acme", first["token_id"]) == {"token_id": first["token_id"]}
    assert "no token" in tenants.failure("tokens", "revoke", "acme", first["token_id"])


def test_an_unmanaged_tenant_is_made_and_opened_with_its_key(shop: Shop) -> None:
    key = "QUJDREVGR0hJSktMTU5PUFFSU1RVVldYWVphYmNkZWY="
    shop.lines("tenants", "create", "acme", "--unmanaged", "--key", "-", typed=f"{key}\n")
    shop.write("jobs", "def work(profile): return profile.tenant.identifier")
    work = ("tenants", "run", "acme", "--call", "jobs:work")
    assert "key" in shop.failure(*work)
    assert shop.lines(*work, "--key", "-", typed=f"{key}\n") == ["acme"]
    assert shop.json("tokens", "create", "acme", "--key", key)["token"]


def test_the_trail_is_listed_and_pruned(shop: Shop) -> None:
    for identifier in ("acme", "globex"):
        shop.call("tenants", "create", identifier)
    assert {each["identifier"] for each in shop.json("audit", "list", "acme")} == {"acme"}
    assert [each["identifier"] for each in shop.json("audit", "list", "--limit", "1")] == ["globex"]
    assert shop.json("audit", "prune", "--older-than", "1") == {"pruned": 0}
