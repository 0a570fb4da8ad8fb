"""The first program of the README runs as it is written."""

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest
from starlette.testclient import TestClient

QUICKSTART = Path(__file__).parents[2] / "examples" / "quickstart.py"


def load() -> ModuleType:
    """A fresh copy, since an application is started once."""
    spec = importlib.util.spec_from_file_location("quickstart", QUICKSTART)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(autouse=True)
def _in_a_folder_of_its_own(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def test_each_tenant_reads_its_own_notes():
    with TestClient(load().app) as client:
        for identifier in ("acme", "globex"):
            assert client.post(f"/tenants/{identifier}").status_code == 201
        assert client.post("/notes?text=buy+rope", headers={"X-Tenant-ID": "acme"}).status_code == 201

        acme = client.get("/notes", headers={"X-Tenant-ID": "acme"})
        globex = client.get("/notes", headers={"X-Tenant-ID": "globex"})

    assert acme.json() == {"tenant": "acme", "notes": ["buy rope"]}
    assert globex.json() == {"tenant": "globex", "notes": []}


def test_a_restart_finds_the_tenants_and_their_notes():
    with TestClient(load().app) as client:
        client.post("/tenants/acme")
        client.post("/notes?text=buy+rope", headers={"X-Tenant-ID": "acme"})
    with TestClient(load().app) as client:
        assert client.get("/notes", headers={"X-Tenant-ID": "acme"}).json()["notes"] == ["buy rope"]


def test_a_request_without_a_tenant_is_refused():
    with TestClient(load().app) as client:
        assert client.get("/notes").status_code == 400


def test_it_fits_on_a_page():
    assert len(QUICKSTART.read_text().splitlines()) < 40


def test_a_taken_name_is_said_to_be_taken():
    with TestClient(load().app) as client:
        client.post("/tenants/acme")
        assert client.post("/tenants/acme").status_code == 409
