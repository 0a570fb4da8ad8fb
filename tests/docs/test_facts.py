"""What the documentation says in tables and links is true of the code and of the tree."""

import inspect
import re
import subprocess
import sys
from collections.abc import Iterator
from importlib.util import find_spec
from os import environ
from pathlib import Path

import pytest
from fastapi import Depends
from support import make_tenancy

from fastapi_tenancy import MultitenantManagerProvider, RequestError, TenancyError, TenancySettings, errors
from fastapi_tenancy.multitenant.admin import admin_router

ROOT = Path(__file__).parents[2]
PAGES = [*ROOT.glob("*.md"), *sorted((ROOT / "docs").rglob("*.md"))]
CODE = re.compile(r"^```.*?^```$|`[^`\n]+`", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\[[^\]]*\]\((?!https?:)([^)#]*)(#[^)]*)?\)")


def text_of(page: str) -> str:
    return (ROOT / "docs" / page).read_text("utf-8")


def rows(page: str, first_cell: str) -> Iterator[list[str]]:
    """The rows of a page's tables whose first cell matches, without the marks of code."""
    for line in text_of(page).splitlines():
        cells = [cell.strip().replace("`", "") for cell in line.strip("|").split("|")]
        if line.startswith("|") and re.fullmatch(first_cell, cells[0]):
            yield cells


def test_the_table_of_settings_is_complete_with_its_defaults() -> None:
    written = {name: default for name, default, _ in rows("reference/settings.md", "TENANCY_.*")}
    real = {
        f"TENANCY_{name.upper()}": "" if field.is_required() else str(field.get_default(call_default_factory=True))
        for name, field in TenancySettings.model_fields.items()
    }
    assert written == real


def test_the_tables_of_errors_are_complete_with_statuses_and_texts() -> None:
    classes = {name: each for name, each in vars(errors).items() if inspect.isclass(each)}
    bases = {TenancyError, RequestError}
    real = {
        name: [str(each.status), each.public] if issubclass(each, RequestError) else [str(each.status)]
        for name, each in classes.items()
        if issubclass(each, TenancyError) and each not in bases
    }
    written = {name: cells[:-1] for name, *cells in rows("reference/errors.md", r"\w+Error")}
    assert written == real


def test_the_table_of_managers_is_complete() -> None:
    written = {name: path for name, path, _ in rows("reference/managers.md", "[a-z][a-z-]+")}
    assert written == dict(MultitenantManagerProvider.MANAGER_TYPES)


def test_the_table_of_admin_routes_is_complete(tmp_path: Path) -> None:
    router = admin_router(make_tenancy(tmp_path), dependencies=[Depends(lambda: None)])
    real = {(method, route.path) for route in router.routes for method in route.methods}
    written = {(method, path) for method, path, *_ in rows("how-to/admin-api.md", "[A-Z]+")}
    assert written == real


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_relative_links_lead_somewhere(page: Path) -> None:
    links = LINK.findall(CODE.sub("code", page.read_text("utf-8")))
    targets = [(page.parent / path if path else page, anchor) for path, anchor in links]
    assert [str(target) for target, _ in targets if not target.is_file()] == []
    assert [anchor for target, anchor in targets if anchor and anchor[1:] not in set(anchors(target))] == []


def anchors(page: Path) -> Iterator[str]:
    text = page.read_text("utf-8")
    for heading in re.findall(r"^#+ (.*)$", text, re.MULTILINE):
        yield re.sub(r"[^\w -]", "", heading).strip().lower().replace(" ", "-")
    yield from re.findall(r"^::: (\S+)$", text, re.MULTILINE)


def test_every_page_is_in_the_navigation() -> None:
    navigation = set(re.findall(r"[\w/-]+\.md", (ROOT / "mkdocs.yml").read_text("utf-8")))
    assert navigation == {page.relative_to(ROOT / "docs").as_posix() for page in (ROOT / "docs").rglob("*.md")}


def test_nobody_is_told_to_take_the_package_from_an_index() -> None:
    wrong = re.compile(
        r"(?:pip3? install|uv add|poetry add|pip3? download)[^\n`]*?[ \"'](?<!/)fastapi[-_]tenancy", re.IGNORECASE
    )
    own = Path(__file__)
    places = ("*.md", "Makefile", "*.toml", "docs/**/*", "fastapi_tenancy/**/*.py", "examples/**/*.*", "tests/**/*.py")
    files = {file for place in places for file in ROOT.glob(place) if file.is_file() and file != own}
    assert [str(file) for file in files if wrong.search(file.read_text("utf-8", errors="replace"))] == []
    assert wrong.search("pip install --upgrade fastapi-tenancy")
    assert wrong.search("pip install 'fastapi_tenancy[all]'")
    assert not wrong.search("pip install ../fastapi-tenancy uvicorn")


@pytest.mark.skipif(find_spec("mkdocs") is None, reason="needs mkdocs: pip install --group docs")
def test_the_site_builds_without_a_warning_and_fetches_nothing_from_other_hosts(tmp_path: Path) -> None:
    site = ROOT / "site"
    if not is_up_to_date(site / "sitemap.xml"):  # else `make docs` has just shown the first half of it
        site = tmp_path
        # Without --quiet, which keeps --strict from counting the warnings.
        command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(site)]
        # The theme prints news of itself otherwise.
        quiet = {**environ, "NO_MKDOCS_2_WARNING": "1"}
        built = subprocess.run(command, cwd=ROOT, env=quiet, capture_output=True, text=True, check=False)
        assert built.returncode == 0, built.stderr
        assert [line for line in built.stderr.splitlines() if not line.startswith("INFO")] == []
    fetched = re.compile(r"<(?:script|link|img)[^>]+(?:src|href)=[\"']?(?:https?:)?//[^>]*>")
    assert [found for page in site.rglob("*.html") for found in fetched.findall(page.read_text("utf-8"))] == []


def is_up_to_date(built: Path) -> bool:
    made_from = (*(ROOT / "docs").rglob("*.*"), *(ROOT / "fastapi_tenancy").rglob("*.py"), ROOT / "mkdocs.yml")
    return built.exists() and built.stat().st_mtime > max(file.stat().st_mtime for file in made_from)
