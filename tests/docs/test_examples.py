"""Every example in the documentation runs, in the order of its page, and answers what the page says.

A block of Python is executed in the page's namespace; one with a file name is that file (", continued" appends to it).
In a `console` block, `$` begins a command: `curl` is sent to the application that `uvicorn` named, and what is printed
under it has to be its answer. Each page has a folder of its own, and where it names a PostgreSQL server, as
postgresql://app:secret@localhost/app, a fresh database of the test server takes its place.
"""

import argparse
import ast
import asyncio
import contextlib
import importlib
import inspect
import io
import re
import shlex
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from types import ModuleType

import pytest
from alembic.config import main as alembic_command
from fastapi.testclient import TestClient
from servers import drop_database, new_database, plain_role, rows_of
from sqlalchemy import make_url
from sqlmodel import SQLModel

from fastapi_tenancy.__main__ import main as tenancy_command

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]

BLOCK = re.compile(
    r"^```(?P<language>\w*)(?: title=\"(?P<title>[^\"]+)\")?\n(?P<code>.*?)^```$", re.MULTILINE | re.DOTALL
)
NOT_RUN = {"ini", "mermaid", "nginx", "sql", "text"}  # pictures, and what is for other programs
OTHERS_COMMANDS = {"cd", "mkdir", "pip", "python3", "."}  # set-up of the reader's machine

PLACEHOLDER = re.compile(r"postgresql://app:secret@(?P<host>[\w.-]+)(?P<port>:\d+)?/(?P<database>[\w{}]+)")
SERVERS = {None: "postgresql_url", ":6432": "pgbouncer_url"}  # by the port that the page names


@dataclass(frozen=True)
class Block:
    language: str
    title: str | None
    code: str
    line: int


def blocks(page: Path) -> Iterator[Block]:
    text = page.read_text("utf-8")
    for found in BLOCK.finditer(text):
        line = text.count("\n", 0, found.start("code"))
        yield Block(found["language"], found["title"], found["code"], line)


class Databases:
    """The databases of one page: one for each host that it names, and of a role that is no superuser."""

    def __init__(self, request: pytest.FixtureRequest) -> None:
        self._request = request
        self._urls: dict[str, str] = {}
        self._server = ""

    def fill_in(self, code: str) -> str:
        return PLACEHOLDER.sub(self._real, code)

    def drop(self) -> None:
        for url in self._urls.values():
            role = make_url(url).username
            for (name,) in rows_of(self._server, OWNED.format(role=role)):
                drop_database(make_url(self._server).set(database=name).render_as_string(hide_password=False))

    def _real(self, found: re.Match[str]) -> str:
        host = f"{found['host']}{found['port']}"
        if host not in self._urls:
            self._server = self._request.getfixturevalue(SERVERS[found["port"]])
            self._urls[host] = plain_role(new_database(self._server), createdb=True, createrole=True)
        url = self._urls[host].replace("+psycopg", "")
        # The database of a tenant bears the name that the page gives it.
        return f"{url.rpartition('/')[0]}/{found['database']}" if "{" in found["database"] else url


OWNED = "SELECT datname FROM pg_database WHERE pg_get_userbyid(datdba) = '{role}'"


class Reader:
    """Somebody who follows one page, in the folder that is the current one."""

    def __init__(self, page: Path, databases: Databases, monkeypatch: pytest.MonkeyPatch) -> None:
        self.page = page
        self._databases = databases
        self.namespace = ModuleType("page_of_the_documentation")
        self.app = ""
        self._monkeypatch = monkeypatch

    def follow(self, block: Block) -> None:
        block = replace(block, code=self._databases.fill_in(block.code))
        {"python": self.python, "console": self.console}[block.language](block)

    def python(self, block: Block) -> None:
        if block.title is not None:
            name, _, continued = block.title.partition(", ")
            before = Path(name).read_text("utf-8") + "\n\n" if continued else ""
            Path(name).write_text(before + block.code, "utf-8")
            return
        # Blank lines before the code, so that a traceback shows the page's own line.
        code = compile(
            "\n" * block.line + block.code,
            str(self.page),
            "exec",
            flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT,
            dont_inherit=True,
        )
        if code.co_flags & inspect.CO_COROUTINE:
            asyncio.run(eval(code, vars(self.namespace)))  # noqa: S307 - our own documentation
        else:
            exec(code, vars(self.namespace))  # noqa: S102 - as above

    def console(self, block: Block) -> None:
        for command in re.split(r"^\$ ", block.code, flags=re.MULTILINE)[1:]:
            line, _, printed = command.partition("\n")
            words = shlex.split(line)
            if words[0] not in OTHERS_COMMANDS:
                COMMANDS[words[0]](self, words[1:], printed.strip())

    def export(self, words: list[str], _: str) -> None:
        name, _, value = words[0].partition("=")
        self._monkeypatch.setenv(name, value)

    def uvicorn(self, words: list[str], _: str) -> None:
        self.app = words[0]
        fresh(words[0].partition(":")[0])

    def curl(self, words: list[str], printed: str) -> None:
        module, _, name = self.app.partition(":")
        with TestClient(getattr(sys.modules[module], name)) as client:
            given = CURL.parse_args(words)
            headers = dict(re.split(": *", header, maxsplit=1) for header in given.header)
            method = given.method or ("GET" if given.data is None else "POST")
            assert client.request(method, given.url, content=given.data, headers=headers).text == printed

    def pytest(self, words: list[str], _: str) -> None:
        # Of all the plugins that are installed here, the pages need one, and each takes time to import.
        plugins = ["--disable-plugin-autoload", "-p", "anyio.pytest_plugin", "-p", "no:cacheprovider"]
        command = [sys.executable, "-m", "pytest", "-q", "-W", "error", *plugins, *words]
        ended = subprocess.run(command, capture_output=True, text=True, check=False)
        assert ended.returncode == 0, ended.stdout

    def program(self, words: list[str], printed: str) -> None:
        assert words[:2] == ["-m", "fastapi_tenancy"]
        with contextlib.redirect_stdout(io.StringIO()) as output:
            assert tenancy_command(words[2:]) == 0
        assert output.getvalue().strip() == printed

    def alembic(self, words: list[str], _: str) -> None:
        sys.modules.pop("main", None)  # a new process would import what the page has changed
        importlib.invalidate_caches()
        alembic_command(words)

    def make(self, words: list[str], _: str) -> None:
        assert words[0] in make_targets()


COMMANDS: dict[str, Callable[[Reader, list[str], str], None]] = {
    "alembic": Reader.alembic,
    "curl": Reader.curl,
    "export": Reader.export,
    "fastapi-tenancy": lambda reader, words, printed: reader.program(["-m", "fastapi_tenancy", *words], printed),
    "make": Reader.make,
    "pytest": Reader.pytest,
    "python": Reader.program,
    "uvicorn": Reader.uvicorn,
}

CURL = argparse.ArgumentParser("curl")
CURL.add_argument("-H", dest="header", action="append", default=[])
CURL.add_argument("-X", dest="method")
CURL.add_argument("-d", dest="data")
CURL.add_argument("url")


def fresh(name: str) -> ModuleType:
    """A module as a new process would import it: what it opens is relative to the current folder."""
    sys.modules.pop(name, None)
    return importlib.import_module(name)


def make_targets() -> set[str]:
    return set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE))


@pytest.fixture
def reader_of(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> Iterator[Callable[[Path], Reader]]:
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    modules, tables = set(sys.modules), set(SQLModel.metadata.tables)
    databases = Databases(request)

    def reader_of(page: Path) -> Reader:
        reader = Reader(page, databases, monkeypatch)
        monkeypatch.setitem(sys.modules, reader.namespace.__name__, reader.namespace)
        return reader

    yield reader_of
    databases.drop()
    for name in set(sys.modules) - modules:
        if str(getattr(sys.modules[name], "__file__", None)).startswith(str(tmp_path)):
            del sys.modules[name]
    for name in set(SQLModel.metadata.tables) - tables:
        SQLModel.metadata.remove(SQLModel.metadata.tables[name])


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_the_examples_of_a_page_run(page: Path, reader_of: Callable[[Path], Reader]) -> None:
    reader = reader_of(page)
    for block in blocks(page):
        if block.language not in NOT_RUN:
            reader.follow(block)


def test_the_tutorials_program_is_the_file_beside_it(reader_of: Callable[[Path], Reader]) -> None:
    page = ROOT / "docs/tutorial/first-application.md"
    reader = reader_of(page)
    for block in blocks(page):
        if block.title is not None:
            reader.follow(block)
    assert Path("main.py").read_text("utf-8") == (page.parent / "main.py").read_text("utf-8")


def test_the_readmes_program_is_the_quickstart() -> None:
    program = next(block.code for block in blocks(ROOT / "README.md") if block.language == "python")
    assert program == (ROOT / "examples/quickstart.py").read_text("utf-8")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_make_targets_that_are_named_exist(page: Path) -> None:
    named = set(re.findall(r"`make ([a-z]+)", page.read_text("utf-8")))
    assert named <= make_targets()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_no_fence_escapes(page: Path) -> None:
    fences = sum(line.lstrip().startswith("```") for line in page.read_text("utf-8").splitlines())
    assert fences == 2 * len(list(blocks(page)))
