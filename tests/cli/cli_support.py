"""An application in a folder, and the command line called in that folder."""

import io
import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from textwrap import dedent
from typing import Any

from typer.testing import CliRunner

from fastapi_tenancy.__main__ import main

APPLICATION = """
    from pathlib import Path

    from support import make_tenancy

    class holder:
        tenancy = make_tenancy(
            Path(__file__).parent,
            encryption_keys=["MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY="],
            secret_settings=["api_key", "smtp.password"],
            token_secrets=["0123456789abcdef0123456789abcdef"],
        )

    tenancy = holder.tenancy
    word = "no tenancy"
"""


@dataclass
class Ended:
    """A call that has ended."""

    exit_code: int
    stdout: str
    stderr: str


@dataclass
class Shop:
    """The application `shop:tenancy`, and its command line."""

    folder: Path

    def write(self, name: str, source: str) -> None:
        (self.folder / f"{name}.py").write_text(dedent(source), "utf-8")

    def call(self, *words: str, typed: str = "", app: str | None = "shop:tenancy") -> "Ended":
        """Call the command in this process."""
        with CliRunner(env={"TENANCY_APP": app}).isolation(typed) as (out, err, _):
            try:
                code = main(words)
            except SystemExit as ended:
                code = int(ended.code or 0)
            sys.stdout.flush()
            sys.stderr.flush()
            return Ended(code, out.getvalue().decode(), err.getvalue().decode())

    def lines(self, *words: str, typed: str = "") -> Sequence[str]:
        """What a call that succeeds prints."""
        ended = self.call(*words, typed=typed)
        assert ended.exit_code == 0, ended
        return ended.stdout.splitlines()

    def json(self, *words: str, typed: str = "") -> Any:
        """What a call with --json answers; there is nothing else on stdout."""
        (line,) = self.lines(*words, "--json", typed=typed)
        return json.loads(line)

    def failure(self, *words: str, typed: str = "") -> str:
        """The one line of a call that fails."""
        ended = self.call(*words, typed=typed)
        assert ended.exit_code == 1, ended
        assert ended.stderr.count("\n") == 1, ended
        return ended.stderr.removeprefix("fastapi-tenancy: ").rstrip()

    def wrong(self, *words: str, typed: str = "", app: str | None = "shop:tenancy") -> str:
        """What is said to a wrong call."""
        ended = self.call(*words, typed=typed, app=app)
        assert (ended.exit_code, ended.stdout) == (2, ""), ended
        return ended.stderr


class Terminal(io.StringIO):
    """A terminal at which these lines are typed, or on which something is shown."""

    def isatty(self) -> bool:
        return True
