"""Operators act under their names, read what was done, and impersonate, over HTTP."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Annotated

import httpx2 as httpx
import pytest
from fastapi import Depends, FastAPI, Header, HTTPException
from support import client_of, make_tenancy, running

from fastapi_tenancy import Tenancy, acting_as
from fastapi_tenancy.multitenant.admin import admin_router


async def require_admin(x_admin: Annotated[str, Header()] = "") -> None:
    if not x_admin:
        raise HTTPException(401)


def admin_of(x_admin: Annotated[str, Header()]) -> str:
    return x_admin


async def guard_that_names(x_admin: Annotated[str, Header()] = "") -> AsyncIterator[None]:
    with acting_as(x_admin or None):
        yield


def application(tenancy: Tenancy, **given) -> FastAPI:
    app = FastAPI(lifespan=tenancy.lifespan)
    app.include_router(admin_router(tenancy, **given), prefix="/admin")
    return app


@pytest.fixture
async def client(tmp_path: Path) -> AsyncIterator[httpx.AsyncClient]:
    app = application(make_tenancy(tmp_path), dependencies=[Depends(require_admin)], actor=admin_of)
    async with running(app) as client:
        client.headers["X-Admin"] = "ada@example.com"
        await client.post("/admin/tenants", json={"identifier": "acme"})
        yield client


async def test_acts_bear_the_name_that_the_router_was_told_to_ask_for(client: httpx.AsyncClient) -> None:
    await client.post("/admin/tenants/acme/suspend", headers={"X-Admin": "grace@example.com"})
    trail = (await client.get("/admin/audit")).json()["items"]
    assert [(entry["action"], entry["actor"]) for entry in trail] == [
        ("suspended", "grace@example.com"),
        ("created", "ada@example.com"),
        ("provisioned", "ada@example.com"),
    ]
    assert trail[0].keys() == {"id", "action", "at", "actor", "tenant_id", "identifier", "details"}


async def test_a_guard_may_name_who_acts(on_sqlite: Tenancy) -> None:
    app = application(on_sqlite, dependencies=[Depends(guard_that_names)])
    async with client_of(app) as client:
        await client.post("/admin/tenants/acme/suspend", headers={"X-Admin": "grace"})
        await client.post("/admin/tenants/acme/activate")
        found = (await client.get("/admin/tenants/acme/audit?limit=2")).json()["items"]
    assert [(entry["action"], entry["actor"]) for entry in found] == [("activated", None), ("suspended", "grace")]


async def test_the_trail_comes_in_pages(client: httpx.AsyncClient) -> None:
    first = (await client.get("/admin/audit?limit=1")).json()
    second = (await client.get(f"/admin/audit?limit=1&after={first['next']}")).json()
    assert [page["items"][0]["action"] for page in (first, second)] == ["created", "provisioned"]
    assert second["next"] is None


async def test_a_deleted_tenants_trail_can_be_read(client: httpx.AsyncClient) -> None:
    await client.delete("/admin/tenants/acme")
    found = (await client.get("/admin/tenants/acme/audit")).json()["items"]
    assert [entry["action"] for entry in found] == ["deleted", "deleting", "created", "provisioned"]
    assert (await client.get("/admin/tenants/nobody/audit")).status_code == 404


@pytest.mark.parametrize("query", ["limit=0", "limit=1001", "after=0", "after=x", f"after={2**31}"])
async def test_a_wrong_page_is_a_422(client: httpx.AsyncClient, query: str) -> None:
    assert (await client.get(f"/admin/audit?{query}")).status_code == 422


async def test_an_impersonation_is_issued_and_listed(client: httpx.AsyncClient) -> None:
    answer = await client.post("/admin/tenants/acme/impersonate", json={"reason": "ticket 7", "expires_in": 60})
    assert (answer.status_code, answer.json().keys()) == (201, {"token_id", "token"})
    [listed] = (await client.get("/admin/tenants/acme/tokens")).json()["items"]
    assert (listed["token_id"], listed["impersonated_by"]) == (answer.json()["token_id"], "ada@example.com")


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"reason": ""},
        {"reason": "  "},
        {"reason": "x" * 501},
        {"reason": "ticket 7", "expires_in": 901},
        {"reason": "ticket 7", "scopes": ["two words"]},
        {"reason": "ticket 7", "actor": "grace"},
    ],
)
async def test_a_wrong_impersonation_is_a_422(client: httpx.AsyncClient, body) -> None:
    assert (await client.post("/admin/tenants/acme/impersonate", json=body)).status_code == 422


async def test_nobody_impersonates_without_a_name(on_sqlite: Tenancy) -> None:
    async with client_of(application(on_sqlite, dependencies=[Depends(guard_that_names)])) as client:
        answer = await client.post("/admin/tenants/acme/impersonate", json={"reason": "ticket 7"})
    assert (answer.status_code, answer.json()) == (403, {"detail": "Nobody is named who could do this."})


async def test_a_veto_is_a_409_and_says_what_it_was_told_to(on_sqlite: Tenancy) -> None:
    @on_sqlite.on("deleted", veto=True)
    async def has_open_invoices(_: object) -> None:
        raise HTTPException(400, "not for the client")

    async with client_of(application(on_sqlite, dependencies=[Depends(guard_that_names)])) as client:
        answer = await client.delete("/admin/tenants/acme")
    assert (answer.status_code, answer.json()) == (409, {"detail": "The act was refused."})
