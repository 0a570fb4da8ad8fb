"""Jotter, the demo: what a company may do there, and what it may not see."""

import asyncio
import re
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from itertools import takewhile
from pathlib import Path

import httpx2
import pytest
from starlette.testclient import TestClient

from examples.notes import plans
from examples.notes.app import create_app
from examples.notes.seed import COMPANIES

ROOT = Path(__file__).parents[2]
PROGRAM = "from examples.notes.__main__ import main; main()"
SLUGS = [company["slug"] for company in COMPANIES]

# The three ways to one tenant: how to make a URL, and what to send.
WAYS: dict[str, Callable[[str], tuple[str, dict[str, str]]]] = {
    "subdomain": lambda slug: (f"http://{slug}.localhost", {}),
    "path": lambda slug: (f"http://localhost/t/{slug}", {}),
    "header": lambda slug: ("http://localhost", {"X-Tenant-ID": slug}),
}


@contextmanager
def serving(data: Path) -> Iterator[TestClient]:
    with TestClient(create_app(data), base_url="http://localhost") as client:
        yield client


@pytest.fixture(scope="module")
def seeded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder: Path = tmp_path_factory.mktemp("seeded")
    with serving(folder):
        return folder


@pytest.fixture(scope="module")
def reader(seeded: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    """For tests that change nothing."""
    with serving(shutil.copytree(seeded, tmp_path_factory.mktemp("reader"), dirs_exist_ok=True)) as client:
        yield client


@pytest.fixture
def client(seeded: Path, tmp_path: Path) -> Iterator[TestClient]:
    shutil.copytree(seeded, tmp_path, dirs_exist_ok=True)  # seeding anew would take most of the time
    with serving(tmp_path) as client:
        yield client


def titles(client: TestClient, slug: str, **query: str) -> set[str]:
    found = client.get(f"http://{slug}.localhost/api/notes", params={"limit": 100, **query})
    return {note["title"] for note in found.json()}


def sign_up(client: TestClient, **fields: str) -> httpx2.Response:
    return client.post("/sign-up", data={"name": "Hooli", "slug": "hooli", "plan": "team"} | fields)


def write(client: TestClient, slug: str, **fields: str) -> httpx2.Response:
    return client.post(f"http://{slug}.localhost/notes", data={"title": "A note", "notebook": "General"} | fields)


@pytest.mark.parametrize("plan", ["team", "business"])
@pytest.mark.parametrize("way", WAYS)
def test_a_company_that_signed_up_is_usable_at_once_by_every_way(client, plan, way):
    assert sign_up(client, plan=plan).status_code == 200

    base, headers = WAYS[way]("hooli")
    written = client.post(f"{base}/api/notes", json={"title": "First"}, headers=headers)
    listed = client.get(f"{base}/notes", headers=headers)

    assert written.status_code == 201
    assert listed.status_code == 200
    assert "First" in listed.text


def test_the_plan_decides_whether_a_company_gets_a_database_of_its_own(client, tmp_path):
    before = set(tmp_path.rglob("*.db"))
    sign_up(client, slug="small", plan="team")
    assert set(tmp_path.rglob("*.db")) == before
    sign_up(client, slug="large", plan="business")
    assert len(set(tmp_path.rglob("*.db")) - before) == 1


@pytest.mark.parametrize(
    ("fields", "status", "message"),
    [
        ({"slug": "acme"}, 409, "This address is taken"),
        ({"slug": "Bad Slug!"}, 400, "no hyphen at either end"),
        ({"slug": ""}, 400, "no hyphen at either end"),
        ({"slug": "www"}, 400, "is not “www”"),
        ({"name": "  "}, 422, "Give the company a name"),
        ({"name": "x" * 201}, 422, "Give the company a name"),
    ],
)
def test_a_sign_up_that_cannot_be_says_why_and_creates_nothing(client, tmp_path, fields, status, message):
    tenancy_files = set(tmp_path.rglob("*.db"))
    answer = sign_up(client, plan="business", **fields)

    assert answer.status_code == status
    assert message in answer.text
    assert 'aria-invalid="true"' in answer.text
    assert set(tmp_path.rglob("*.db")) == tenancy_files
    assert client.get("http://hooli.localhost/api/notes").status_code == 404


def test_a_refused_sign_up_keeps_what_was_typed(client):
    assert 'value="Acme &amp; Sons"' in sign_up(client, name="Acme & Sons", slug="acme").text


def test_a_plan_that_is_not_on_the_list_is_the_smallest_one(client):
    sign_up(client, plan="unlimited")
    assert "of 20 notes" in client.get("http://hooli.localhost/notes").text


@pytest.mark.parametrize("owner", SLUGS)
def test_no_note_of_one_company_is_listed_for_another(reader, owner):
    mine = titles(reader, owner)
    others = set.union(*(titles(reader, slug) for slug in SLUGS if slug != owner))
    assert len(mine) >= 8
    assert not mine & others


def test_search_does_not_look_into_another_company(reader):
    assert titles(reader, "acme", q="rucksacks")
    assert not titles(reader, "globex", q="rucksacks")
    assert not titles(reader, "initech", q="rucksacks")


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/notes/{}"),
        ("GET", "/notes/{}/edit"),
        ("POST", "/notes/{}"),
        ("POST", "/notes/{}/pin"),
        ("POST", "/notes/{}/delete"),
    ],
)
def test_a_guessed_id_of_another_company_is_not_found(client, method, path):
    secret = client.get("http://initech.localhost/api/notes").json()[0]
    form = {"title": "Stolen", "notebook": "General", "pinned": "true"} if method == "POST" else None

    answer = client.request(method, "http://acme.localhost" + path.format(secret["id"]), data=form)

    assert answer.status_code == 404
    assert secret in client.get("http://initech.localhost/api/notes").json()


def test_a_guessed_notebook_of_another_company_is_not_found(reader):
    page = reader.get("http://initech.localhost/notes").text
    notebook = re.search(r"/notebooks/(\d+)", page)
    assert notebook is not None
    assert reader.get(f"http://initech.localhost/notebooks/{notebook[1]}").status_code == 200
    assert reader.get(f"http://acme.localhost/notebooks/{notebook[1]}").status_code == 404


def test_a_note_can_be_written_read_changed_pinned_and_deleted(client):
    created = write(client, "acme", title="Sails", text="red", new_notebook="Boats", tags="Sea, sea , wind")
    address = str(created.url).partition("?")[0]
    assert "The note is saved." in created.text
    assert (client.get("http://acme.localhost/api/notes", params={"q": "sails"}).json()[0]["tags"]) == ["sea", "wind"]

    changed = client.post(
        address, data={"title": "Sails", "text": "blue", "notebook": "Boats", "tags": "sea", "pinned": "on"}
    )
    assert "Your changes are saved." in changed.text
    note = client.get("http://acme.localhost/api/notes", params={"q": "sails"}).json()[0]
    assert (note["text"], note["tags"], note["notebook"], note["pinned"]) == ("blue", ["sea"], "Boats", True)

    client.post(f"{address}/pin", data={"pinned": "false"})
    assert not client.get("http://acme.localhost/api/notes", params={"q": "sails"}).json()[0]["pinned"]

    assert "The note is deleted." in client.post(f"{address}/delete").text
    assert client.get(address).status_code == 404


def test_notes_are_listed_by_notebook_and_by_tag(reader):
    page = reader.get("http://acme.localhost/notes").text
    notebook = re.search(r'href="([^"]+/notebooks/\d+)">People', page)
    assert notebook is not None
    shown = reader.get(notebook[1]).text
    assert "Open day" in shown
    assert "Spring catalogue" not in shown
    assert titles(reader, "acme", tag="catalogue") == {"Spring catalogue: order of pages"}


@pytest.mark.parametrize("words", ["übersicht", "ÜBERSICHT", "Panel; ü"])
def test_search_ignores_letter_case_in_every_script(reader, words):
    assert titles(reader, "globex", q=words) == {"Time allocation: letters go out on Monday"}


@pytest.mark.parametrize("words", ["%", "_", "t%t", "nothing like this"])
def test_search_takes_no_wildcards(reader, words):
    assert titles(reader, "acme", q=words) == set()


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"title": "  "}, "Give the note a title"),
        ({"title": "x" * 201}, "Give the note a title"),
        ({"text": "x" * 20_001}, "A note holds up to"),
        ({"new_notebook": "x" * 61}, "Choose a notebook"),
        ({"tags": ",".join(f"tag{number}" for number in range(11))}, "Use up to 10 tags"),
    ],
)
def test_a_note_that_breaks_a_rule_comes_back_with_the_reason(reader, fields, message):
    before = titles(reader, "acme")
    answer = write(reader, "acme", **fields)
    assert answer.status_code == 422
    assert message in answer.text
    assert titles(reader, "acme") == before


def test_at_the_limit_of_the_plan_the_page_says_so_and_keeps_the_text(client):
    sign_up(client)
    for number in range(20):
        assert write(client, "hooli", title=f"Note {number}").status_code == 200

    refused = write(client, "hooli", title="One more", text="not lost")

    assert refused.status_code == 403
    assert "holds 20 notes" in refused.text
    assert "not lost" in refused.text
    assert len(titles(client, "hooli")) == 20
    assert "holds 20 notes" in client.get("http://hooli.localhost/notes/new").text
    by_program = client.post("http://hooli.localhost/api/notes", json={"title": "One more"})
    assert by_program.status_code == 403


@pytest.mark.parametrize("plan", ["team", "business"])
async def test_concurrent_posts_never_exceed_the_limit(tmp_path, monkeypatch, plan):
    small = {name: replace(each, note_limit=20) for name, each in plans.PLANS.items()}
    monkeypatch.setattr(plans, "PLANS", small)
    app = create_app(tmp_path)
    transport = httpx2.ASGITransport(app)
    async with app.router.lifespan_context(app), httpx2.AsyncClient(transport=transport) as client:
        await client.post("http://localhost/sign-up", data={"name": "Hooli", "slug": "hooli", "plan": plan})
        url = "http://hooli.localhost/api/notes"
        answers = await asyncio.gather(*(client.post(url, json={"title": f"{number}"}) for number in range(30)))
        kept = (await client.get(url, params={"limit": 100})).json()

    assert sorted(answer.status_code for answer in answers) == [201] * 20 + [403] * 10
    assert len(kept) == 20


def test_seeding_twice_changes_nothing(tmp_path):
    with serving(tmp_path) as client:
        before = {slug: client.get(f"http://{slug}.localhost/api/notes").json() for slug in SLUGS}
    files = set(tmp_path.rglob("*.db"))
    with serving(tmp_path) as client:
        after = {slug: client.get(f"http://{slug}.localhost/api/notes").json() for slug in SLUGS}
    assert after == before
    assert set(tmp_path.rglob("*.db")) == files


def test_a_note_that_was_deleted_does_not_come_back_with_the_next_start(tmp_path):
    with serving(tmp_path) as client:
        for note in client.get("http://acme.localhost/api/notes").json():
            client.post(f"http://acme.localhost/notes/{note['id']}/delete")
    with serving(tmp_path) as client:
        assert titles(client, "acme") == set()


@pytest.mark.parametrize("company", COMPANIES, ids=SLUGS)
def test_the_landing_page_names_every_company_with_its_three_ways(reader, company):
    page = reader.get("http://localhost:8000/").text
    slug = company["slug"]
    assert company["name"] in page
    assert f'href="http://{slug}.localhost:8000/"' in page
    assert f'href="http://localhost:8000/t/{slug}/"' in page
    assert f"curl -H &#39;X-Tenant-ID: {slug}&#39; http://localhost:8000/api/notes" in page


@pytest.mark.parametrize("slug", SLUGS)
def test_links_keep_the_path_they_were_reached_by(reader, slug):
    page = reader.get(f"http://localhost:8000/t/{slug}/")
    links = set(re.findall(r'(?:href|action)="([^"]+)"', page.text)) - {"#main", "http://localhost:8000/"}
    assert page.status_code == 200
    assert len(links) > 10
    assert all(link.startswith(f"http://localhost:8000/t/{slug}/") for link in links)


def test_links_keep_the_subdomain_they_were_reached_by(reader):
    page = reader.get("http://acme.localhost:8000/")
    links = set(re.findall(r'(?:href|action)="([^"]+)"', page.text)) - {"#main", "http://localhost:8000/"}
    assert all(link.startswith("http://acme.localhost:8000/") for link in links)


@pytest.mark.parametrize("base", ["http://localhost", "http://acme.localhost", "http://localhost/t/globex"])
def test_the_style_sheet_is_served_wherever_a_page_is(reader, base):
    page = reader.get(f"{base}/", headers={"Accept": "text/html"})
    sheet = re.search(r'rel="stylesheet" href="([^"]+)"', page.text)
    assert sheet is not None
    assert reader.get(sheet[1]).headers["content-type"].startswith("text/css")


def test_pages_load_nothing_from_elsewhere(reader):
    for url in ("http://localhost/", "http://acme.localhost/notes", "http://acme.localhost/notes/new"):
        assert not re.findall(r"<script|https://|@import", reader.get(url).text)


@pytest.mark.parametrize("field", ["title", "text", "new_notebook", "tags"])
def test_what_people_write_is_never_markup(client, field):
    attack = "<script>alert(1)</script>"
    created = write(client, "acme", **{field: attack})
    pages = [created, client.get("http://acme.localhost/notes"), client.get(str(created.url).replace("?", "/edit?"))]
    for page in pages:
        assert page.status_code == 200
        assert "<script" not in page.text
        assert "&lt;script&gt;" in page.text


def test_a_company_name_is_never_markup(client):
    answer = sign_up(client, name="<script>alert(1)</script>")
    assert answer.status_code == 200
    assert "<script" not in answer.text


def test_settings_change_name_and_colour_and_keep_the_plan(client):
    client.post("http://globex.localhost/settings", data={"name": "Globex Domes", "accent": "plum"})
    page = client.get("http://globex.localhost/notes").text
    assert "Globex Domes" in page
    assert 'data-accent="plum"' in page
    assert "of 1,000 notes" in page


def test_settings_take_no_colour_that_is_not_on_the_list(client):
    client.post("http://globex.localhost/settings", data={"name": "Globex", "accent": 'x" onload="'})
    assert 'data-accent="indigo"' in client.get("http://globex.localhost/notes").text


def test_a_long_list_has_pages(client):
    for number in range(30):
        client.post("http://globex.localhost/api/notes", json={"title": f"Extra {number:02}"})
    first = client.get("http://localhost/t/globex/notes", params={"q": "extra"})
    older = re.search(r'rel="next" href="([^"]+)"', first.text)
    assert older is not None
    second = client.get(older[1].replace("&amp;", "&"))
    found = [set(re.findall(r"Extra \d\d", page.text)) for page in (first, second)]
    assert [len(each) for each in found] == [24, 6]
    assert not found[0] & found[1]


@pytest.mark.parametrize(
    ("url", "status"),
    [
        ("http://acme.localhost/notes/999999", 404),
        ("http://acme.localhost/nowhere", 404),
        ("http://localhost/notes", 400),
        ("http://acme.localhost/notes?page=0", 422),
        ("http://acme.localhost/notes/99999999999999999999", 422),
    ],
)
def test_browsers_get_a_page_for_an_error_and_programs_get_json(reader, url, status):
    page = reader.get(url, headers={"Accept": "text/html,*/*"})
    data = reader.get(url, headers={"Accept": "application/json"})
    assert (page.status_code, data.status_code) == (status, status)
    assert "<h1>" in page.text
    assert "detail" in data.json()


def test_an_unknown_company_is_refused(reader):
    assert reader.get("http://nobody.localhost/").status_code == 404


def test_the_documentation_shows_the_api_with_its_header_and_no_pages(reader):
    document = reader.get("http://localhost/openapi.json").json()
    assert set(document["paths"]) == {"/api/notes"}
    assert document["components"]["securitySchemes"]["Tenant"]["name"] == "X-Tenant-ID"


def test_the_demo_says_where_to_click_and_serves_there(tmp_path):
    command = [sys.executable, "-m", "examples.notes", "--port", "0", "--data", str(tmp_path)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as demo:
        try:
            assert demo.stdout is not None
            guide = "".join(takewhile(lambda line: "make clean" not in line, demo.stdout))
            start = re.search(r"Start here +(\S+)", guide)
            assert start is not None
            answer = httpx2.get(start[1].replace("localhost", "127.0.0.1"), timeout=30)
        finally:
            demo.send_signal(signal.SIGINT)
    assert answer.status_code == 200
    assert demo.returncode == 0


def test_a_port_that_is_taken_is_one_clear_line(tmp_path, forked):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = forked.run(PROGRAM, "--port", str(port), "--data", str(tmp_path))
    assert done.returncode == 1
    assert done.stderr == f"port {port} is taken; choose another: make demo PORT={port + 1}\n"
