"""Operators manage tenants over HTTP, and nobody else does."""

import json
from pathlib import Path

import httpx2 as httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import Column, Integer, MetaData, Table
from support import make_tenancy, running

from fastapi_tenancy import ConfigurationError
from fastapi_tenancy.multitenant.admin import admin_router
from fastapi_tenancy.multitenant.admin.schemas import masked, merge_patch


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
        ({"identifier": "new", "name": "a\0b"}, 422),
        ({"identifier": "new", "settings": {"deep": json.loads("[" * 70 + "]" * 70)}}, 422),
        ({"identifier": "new", "settings": json.loads('{"a":' * 300 + "1" + "}" * 300)}, 422),
    ],
)
async def test_a_wrong_creation_is_a_4xx_and_leaves_nothing(
    client: httpx.AsyncClient, body: dict[str, object], status: int
) -> None:
    await client.post("/admin/tenants", json={"identifier": "acme"})
    answer = await client.post("/admin/tenants", json=body)
    assert (answer.status_code, "detail" in answer.json()) == (status, True)
    assert len((await client.get("/admin/tenants")).json()["items"]) == 1


async def test_data_that_cannot_be_reached_are_a_503_and_the_same_request_ends_it(client, tenancy, monkeypatch) -> None:
    async def fails(_):
        raise OSError("no route to host")

    for step in ("create_tenant", "drop_tenant"):
        monkeypatch.setattr(tenancy.provider.provide({}), step, fails)
    assert (await client.post("/admin/tenants", json={"identifier": "acme"})).status_code == 503
    monkeypatch.undo()
    await client.delete("/admin/tenants/acme?drop_data=true")  # what the failure could not undo
    assert (await client.post("/admin/tenants", json={"identifier": "acme"})).status_code == 201
    monkeypatch.setattr(tenancy.provider.provide({}), "drop_tenant", fails)
    assert (await client.delete("/admin/tenants/acme?drop_data=true")).status_code == 503
    monkeypatch.undo()
    assert (await client.delete("/admin/tenants/acme?drop_data=true")).status_code == 204


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


async def test_settings_that_cannot_be_written_as_utf_8_are_refused(client: httpx.AsyncClient) -> None:
    half_a_pair = rb'{"identifier": "acme", "settings": {"a": "\ud800"}}'
    headers = {"Content-Type": "application/json"}
    assert (await client.post("/admin/tenants", content=half_a_pair, headers=headers)).status_code == 422


async def test_what_is_invalid_is_not_repeated_in_the_answer(client: httpx.AsyncClient) -> None:
    body = {"name": 5, "settings": {"api_key": "hunter2"}, "colour": "hunter3"}
    answer = await client.post("/admin/tenants", json=body)
    assert answer.status_code == 422
    assert {fault["loc"][-1] for fault in answer.json()["detail"]} == {"identifier", "name", "colour"}
    assert "hunter" not in answer.text


async def test_a_body_of_another_media_type_is_refused(client: httpx.AsyncClient) -> None:
    for media_type in ("application/x-www-form-urlencoded", "text/plain", "multipart/form-data", None):
        for path in ("/tenants", "/tenants/acme/tokens", "/tenants/acme/suspend"):
            headers = {} if media_type is None else {"Content-Type": media_type}
            answer = await client.post(f"/admin{path}", content=b'{"identifier": "acme"}', headers=headers)
            assert (answer.status_code, answer.headers["accept"]) == (415, "application/json")


async def test_a_form_without_fields_suspends_nobody(client: httpx.AsyncClient) -> None:
    await client.post("/admin/tenants", json={"identifier": "acme"})
    form = {"Content-Type": "application/x-www-form-urlencoded"}
    assert (await client.post("/admin/tenants/acme/suspend", headers=form)).status_code == 415
    assert (await client.get("/admin/tenants/acme")).json()["status"] == "active"


@pytest.mark.parametrize("media_type", ["application/json", "application/merge-patch+json; charset=utf-8"])
async def test_a_patch_is_json_or_says_that_it_is_a_merge_patch(client: httpx.AsyncClient, media_type: str) -> None:
    await client.post("/admin/tenants", json={"identifier": "acme", "settings": {"plan": "pro", "seats": 3}})
    headers = {"Content-Type": media_type}
    patched = await client.patch("/admin/tenants/acme", content='{"settings": {"seats": null}}', headers=headers)
    assert patched.json()["settings"] == {"plan": "pro"}
    refused = await client.patch("/admin/tenants/acme", content="{}", headers={"Content-Type": "text/plain"})
    assert refused.headers["accept-patch"] == "application/json, application/merge-patch+json"


@pytest.mark.parametrize("field", ["name", "identifier", "settings"])
async def test_a_patch_cannot_remove_what_a_tenant_must_have(client: httpx.AsyncClient, field: str) -> None:
    await client.post("/admin/tenants", json={"identifier": "acme"})
    assert (await client.patch("/admin/tenants/acme", json={field: None})).status_code == 422


async def test_a_manager_that_the_deployment_cannot_use_is_refused_and_not_an_error(tmp_path: Path, admin_app) -> None:
    metadata = MetaData()
    Table("of_nobody", metadata, Column("id", Integer, primary_key=True))
    async with running(admin_app(make_tenancy(tmp_path, metadata=metadata))) as client:
        client.headers["Authorization"] = "Bearer admin"
        body = {"identifier": "acme", "manager_type": "shared-profile"}
        answer = await client.post("/admin/tenants", json=body)
    assert (answer.status_code, answer.json()["detail"]) == (422, "Tenants of this manager_type cannot be kept here.")


async def test_a_list_can_be_searched_in_pages(client: httpx.AsyncClient) -> None:
    for identifier, name in (("acme", "Ümläut & Söhne"), ("beta", "ÜMLÄUT 50%"), ("gamma", "other"), ("umlaut", "x")):
        await client.post("/admin/tenants", json={"identifier": identifier, "name": name})

    async def found(**params) -> list[str]:
        seen, after = [], {}
        while True:
            page = (await client.get("/admin/tenants", params={"limit": 1, **params, **after})).json()
            seen += [item["identifier"] for item in page["items"]]
            if page["next"] is None:
                return seen
            after = {"after": page["next"]}

    assert await found(q="ümlÄUT") == ["acme", "beta"]
    assert await found(q="0%") == ["beta"]
    assert await found(q="M") == ["acme", "beta", "gamma", "umlaut"]
    assert await found(q="m", status="suspended") == []
    assert (await client.get("/admin/tenants?after=NOT A SLUG")).status_code == 400
    assert (await client.get("/admin/tenants", params={"q": "x" * 201})).status_code == 422
