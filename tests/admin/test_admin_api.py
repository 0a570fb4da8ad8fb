"""Operators manage tenants over HTTP, and nobody else does."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Annotated

import httpx2 as httpx
import pytest
from fastapi import Depends, FastAPI, Header, HTTPException
from hypothesis import given
from hypothesis import strategies as st
from support import make_tenancy, running

from fastapi_tenancy import ConfigurationError
from fastapi_tenancy.multitenant.admin import admin_router
from fastapi_tenancy.multitenant.admin.schemas import masked, merge_patch


async def require_admin(authorization: Annotated[str, Header()] = "") -> None:
    if authorization != "Bearer admin":
        raise HTTPException(401)


@pytest.fixture
async def client(tmp_path: Path) -> AsyncIterator[httpx.AsyncClient]:
    tenancy = make_tenancy(tmp_path)
    app = FastAPI(lifespan=tenancy.lifespan)
    app.include_router(admin_router(tenancy, dependencies=[Depends(require_admin)]), prefix="/admin")
    async with running(app) as client:
        client.headers["Authorization"] = "Bearer admin"
        yield client


def test_without_a_guard_it_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="require_admin"):
        admin_router(make_tenancy(tmp_path), dependencies=[])


@pytest.mark.parametrize(
    ("method", "path"), [("GET", "/tenants"), ("POST", "/tenants"), ("DELETE", "/tenants/acme"), ("GET", "/stats")]
)
async def test_every_route_is_guarded(client: httpx.AsyncClient, method: str, path: str) -> None:
    answer = await client.request(method, f"/admin{path}", headers={"Authorization": ""})
    assert answer.status_code == 401


async def test_the_life_of_a_tenant(client: httpx.AsyncClient) -> None:
    created = await client.post("/admin/tenants", json={"identifier": "acme", "settings": {"plan": "pro", "seats": 3}})
    assert (created.status_code, created.json()["status"]) == (201, "active")
    patch = {"name": "Acme Inc", "identifier": "acme-inc", "settings": {"seats": None, "limits": {"notes": 9}}}
    patched = (await client.patch("/admin/tenants/acme", json=patch)).json()
    assert (patched["name"], patched["identifier"]) == ("Acme Inc", "acme-inc")
    assert patched["settings"] == {"plan": "pro", "limits": {"notes": 9}}
    assert (await client.post("/admin/tenants/acme-inc/suspend")).json()["status"] == "suspended"
    assert (await client.post("/admin/tenants/acme-inc/activate")).json()["status"] == "active"
    assert (await client.get("/admin/tenants/acme-inc")).json()["id"] == created.json()["id"]
    assert (await client.delete("/admin/tenants/acme-inc?drop_data=true")).status_code == 204
    assert (await client.get("/admin/tenants/acme-inc")).status_code == 404


async def test_lists_come_in_pages(client: httpx.AsyncClient) -> None:
    for name in ("a", "b", "c"):
        await client.post("/admin/tenants", json={"identifier": name})
    first = (await client.get("/admin/tenants?limit=2")).json()
    second = (await client.get("/admin/tenants", params={"limit": 2, "after": first["next"]})).json()
    assert [[item["identifier"] for item in page["items"]] for page in (first, second)] == [["a", "b"], ["c"]]
    assert second["next"] is None


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({}, 422),
        ({"identifier": "NO"}, 400),
        ({"identifier": "acme"}, 409),
        ({"identifier": "new", "name": "x" * 201}, 422),
        ({"identifier": "new", "name": "  "}, 422),
        ({"identifier": "new", "colour": "red"}, 422),
        ({"identifier": "new", "settings": []}, 422),
        ({"identifier": "new", "manager_type": "nonsense"}, 422),
    ],
)
async def test_a_wrong_creation_is_a_4xx_and_leaves_nothing(
    client: httpx.AsyncClient, body: dict[str, object], status: int
) -> None:
    await client.post("/admin/tenants", json={"identifier": "acme"})
    answer = await client.post("/admin/tenants", json=body)
    assert (answer.status_code, "detail" in answer.json()) == (status, True)
    assert len((await client.get("/admin/tenants")).json()["items"]) == 1


async def test_stats_are_numbers(client: httpx.AsyncClient) -> None:
    def leaves(value):
        return [leaf for each in value.values() for leaf in leaves(each)] if isinstance(value, dict) else [value]

    assert all(isinstance(leaf, int | float) for leaf in leaves((await client.get("/admin/stats")).json()))


def test_a_database_url_is_shown_without_its_secrets() -> None:
    shown = masked("postgresql://app:hunter2@db:5432/acme?sslpassword=hunter3&sslmode=require")
    assert "hunter" not in shown
    assert shown.startswith("postgresql://app:***@db:5432/acme?")


JSON_OBJECTS = st.dictionaries(
    st.text(max_size=3),
    st.recursive(st.none() | st.integers(), lambda inner: st.dictionaries(st.text(max_size=3), inner, max_size=3)),
    max_size=3,
)


@given(JSON_OBJECTS, JSON_OBJECTS)
def test_a_merge_patch_applied_twice_changes_nothing_more(target: dict[str, object], patch: dict[str, object]) -> None:
    once = merge_patch(target, patch)
    assert merge_patch(once, patch) == once


def test_the_example_of_rfc_7396() -> None:
    target = {"a": "b", "c": {"d": "e", "f": "g"}}
    assert merge_patch(target, {"a": "z", "c": {"f": None}}) == {"a": "z", "c": {"d": "e"}}
