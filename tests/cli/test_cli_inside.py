"""Programs, functions and prompts inside a tenant."""

import sys

import pytest
from cli.cli_support import Shop, Terminal

from fastapi_tenancy.__main__ import main

JOBS = """
    from sqlalchemy import select
    from support import Note
    from fastapi_tenancy import current_tenant

    async def add(profile, *texts):
        async with profile.transaction() as session:
            session.add_all(Note(text=text) for text in texts)
        print("added in", current_tenant().identifier)
        return len(texts)

    def read(profile):
        with profile.sync_session() as session:
            return list(session.scalars(select(Note.text)))

    def report(profile):
        return profile.tenant.created_at.__class__, "two\\nlines"

    async def fail(profile):
        if profile.tenant.identifier == "globex":
            raise LookupError("nothing there")
"""


@pytest.fixture(autouse=True)
def jobs(tenants: Shop) -> None:
    tenants.write("jobs", JOBS)


class TestProgram:
    PRINT = ("sh", "-c", "echo $TENANCY_TENANT $TENANCY_APP $0", "-x")

    def test_it_finds_the_tenant_in_its_environment(self, tenants: Shop, capfd: pytest.CaptureFixture[str]) -> None:
        assert tenants.lines("tenants", "run", "acme", "--", *self.PRINT) == []
        assert capfd.readouterr().out == "acme shop:tenancy -x\n"

    def test_its_exit_status_is_passed_on(self, tenants: Shop) -> None:
        ended = tenants.call("tenants", "run", "acme", "--", "sh", "-c", "exit 7")
        assert (ended.exit_code, ended.stderr) == (7, "")
        assert tenants.call("tenants", "run", "acme", "--", "sh", "-c", "kill -9 $$").exit_code == 137

    def test_a_tenant_that_is_not_served_is_refused(self, tenants: Shop) -> None:
        for identifier in ("sleepy", "nobody"):
            assert identifier in tenants.failure("tenants", "run", identifier, "--", "true")
        tenants.lines("tenants", "run", "sleepy", "--allow-inactive", "--", "true")

    def test_one_that_is_not_there_is_a_failure(self, tenants: Shop) -> None:
        assert "no-program" in tenants.failure("tenants", "run", "acme", "--", "no-program")

    def test_all_active_tenants_have_an_outcome(self, tenants: Shop) -> None:
        ended = tenants.call("tenants", "run", "--all", "--", "sh", "-c", "test $TENANCY_TENANT != globex")
        assert (ended.exit_code, ended.stdout) == (1, "acme: done\nglobex: exit status 1\n")
        assert ended.stderr == "fastapi-tenancy: 1 of 2 failed: globex\n"

    def test_with_json_its_output_goes_to_stderr(self, tenants: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
        with (tenants.folder / "stderr").open("w+") as stderr:
            monkeypatch.setattr(sys, "stderr", stderr)
            stdout = Terminal()
            monkeypatch.setattr(sys, "stdout", stdout)
            assert main(["tenants", "run", "acme", "--app", "shop:tenancy", "--json", "--", *self.PRINT]) == 0
            stderr.seek(0)
            assert stderr.read() == "acme shop:tenancy -x\n"
        assert stdout.getvalue() == '[{"tenant": "acme", "value": null, "error": null}]\n'

    def test_ctrl_c_ends_it_and_what_would_follow(self, tenants: Shop) -> None:
        ended = tenants.call("tenants", "run", "--all", "--", "sh", "-c", "kill -2 $$; sleep 9")
        assert (ended.exit_code, ended.stderr) == (130, "fastapi-tenancy: interrupted\n")


class TestFunction:
    def test_it_is_called_with_the_profile_and_the_words(self, tenants: Shop) -> None:
        assert tenants.lines("tenants", "run", "acme", "--call", "jobs:add", "a", "b") == ["added in acme", "2"]
        assert tenants.json("tenants", "run", "acme", "--call", "jobs:read") == [
            {"tenant": "acme", "value": ["a", "b"], "error": None}
        ]
        assert tenants.lines("tenants", "run", "globex", "--call", "jobs:read") == ["[]"]

    def test_what_it_returns_need_not_be_json(self, tenants: Shop) -> None:
        (outcome,) = tenants.json("tenants", "run", "acme", "--call", "jobs:report")
        assert outcome["value"] == ["<class 'datetime.datetime'>", "two\nlines"]

    def test_a_failure_is_told(self, tenants: Shop) -> None:
        assert tenants.failure("tenants", "run", "globex", "--call", "jobs:fail") == "LookupError: nothing there"

    def test_all_active_tenants_have_an_outcome(self, tenants: Shop) -> None:
        ended = tenants.call("tenants", "run", "--all", "--call", "jobs:fail", "--json")
        assert (ended.exit_code, ended.stderr) == (1, "fastapi-tenancy: 1 of 2 failed: globex\n")
        assert ended.stdout == (
            '[{"tenant": "acme", "value": null, "error": null}, '
            '{"tenant": "globex", "value": null, "error": "LookupError: nothing there"}]\n'
        )


class TestShell:
    def test_what_is_piped_in_is_run_inside_the_tenant(self, tenants: Shop) -> None:
        program = """
for text in ("one", "two"):
    session.add(Note(text=text))
session.commit()

async def texts():
    async with profile.session() as session:
        return list(await session.scalars(select(Note.text).order_by(Note.id)))

await texts()
import fastapi_tenancy
print(fastapi_tenancy.current_tenant().identifier, tenant.name)
"""
        assert tenants.lines("tenants", "shell", "acme", typed=program) == ["['one', 'two']", "acme acme"]
        assert tenants.lines("tenants", "shell", "globex", typed="list(session.scalars(select(Note)))") == ["[]"]

    def test_what_is_not_committed_is_gone(self, tenants: Shop) -> None:
        tenants.lines("tenants", "shell", "acme", typed="session.add(Note(text='a')); session.flush()")
        assert tenants.lines("tenants", "shell", "acme", typed="list(session.scalars(select(Note)))") == ["[]"]

    def test_an_error_in_what_is_piped_in_is_a_failure(self, tenants: Shop) -> None:
        ended = tenants.call("tenants", "shell", "acme", typed="print(1)\nawait nobody()\nprint(2)")
        assert (ended.exit_code, ended.stdout) == (1, "1\n")
        assert ended.stderr == "fastapi-tenancy: NameError: name 'nobody' is not defined\n"
        assert tenants.call("tenants", "shell", "acme", typed="exit(3)").exit_code == 3

    def test_a_suspended_tenant_needs_a_word(self, tenants: Shop) -> None:
        assert "sleepy" in tenants.failure("tenants", "shell", "sleepy", typed="1")
        assert tenants.lines("tenants", "shell", "sleepy", "--allow-inactive", typed="tenant.name") == ["'sleepy'"]

    def test_at_a_terminal_it_is_a_prompt(
        self, tenants: Shop, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        typed = "async def one():\n  return 1\n\nawait one() + 1\n1 / 0\nraise KeyboardInterrupt\ntenant.name\n"
        monkeypatch.setattr(sys, "stdin", Terminal(typed))
        assert main(["tenants", "shell", "acme", "--app", "shop:tenancy"]) == 0
        said = capsys.readouterr()
        assert said.out.replace(">>> ", "").replace("... ", "").split() == ["2", "'acme'"]
        assert "Inside acme: tenant, profile" in said.err
        assert "ZeroDivisionError" in said.err

    def test_ctrl_c_ends_what_is_awaited(
        self, tenants: Shop, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        tenants.write(
            "jobs",
            """
            import asyncio, signal, threading

            cancelled = []

            async def wait():
                main = threading.main_thread().ident
                asyncio.get_running_loop().call_later(0.05, signal.pthread_kill, main, signal.SIGINT)
                try:
                    await asyncio.sleep(60)
                except asyncio.CancelledError:
                    cancelled.append(1)
                    raise
            """,
        )
        typed = "import asyncio, jobs\nawait jobs.wait()\nawait asyncio.sleep(0.01)\njobs.cancelled\n"
        monkeypatch.setattr(sys, "stdin", Terminal(typed))
        assert main(["tenants", "shell", "acme", "--app", "shop:tenancy"]) == 0
        said = capsys.readouterr()
        assert "KeyboardInterrupt" in said.err
        assert "[1]" in said.out
