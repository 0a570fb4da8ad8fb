"""Operators manage the tenants' domains by the admin API."""

from collections.abc import AsyncIterator

import httpx2 as httpx
import pytest
from fastapi import Depends
from support import client_of, make_app

from fastapi_tenancy import Tenancy
from fastapi_tenancy.multitenant.admin import admin_router


@pytest.fixture
async def client(tenancy: Tenancy) -> AsyncIterator[httpx.AsyncClient]:
    app = make_app(tenancy, exclude=["/admin"])
    app.include_router(admin_router(tenancy, dependencies=[Depends(lambda: None)]), prefix="/admin")
    async with client_of(app) as client:
        yield client


async def served(client: httpx.AsyncClient, host: str) -> int:
    return (await client.get("/whoami", headers={"Host": host})).status_code


async def test_the_life_of_a_domain(client: httpx.AsyncClient, checker) -> None:
    claimed = await client.post("/admin/tenants/globex/domains", json={"host": "App.Globex.com"})
    claim = claimed.json()
    assert (claimed.status_code, claim["host"], claim["status"]) == (201, "app.globex.com", "pending")
    assert claim["record_name"] == "_fastapi-tenancy.app.globex.com"
    assert claim["challenge_url"] == "http://app.globex.com/.well-known/fastapi-tenancy-challenge"
    one = "/admin/tenants/globex/domains/app.globex.com"
    assert (await client.post(f"{one}/verify")).status_code == 422
    checker.proven.add("app.globex.com")
    verified = (await client.post(f"{one}/verify")).json()
    assert (verified["status"], verified["record_value"]) == ("verified", claim["record_value"])
    listed = (await client.get("/admin/tenants/globex/domains")).json()
    assert listed == {"items": [verified], "next": None}
    assert await served(client, "app.globex.com") == 200
    assert (await client.delete(one)).status_code == 204
    assert (await client.delete(one)).status_code == 404
    assert await served(client, "app.globex.com") == 400


async def test_a_domain_is_revoked_and_claimed_anew(client: httpx.AsyncClient) -> None:
    before = (await client.get("/admin/tenants/acme/domains")).json()["items"][0]
    answer = await client.post("/admin/tenants/acme/domains/ACME.com/revoke")
    assert (answer.status_code, answer.json()) == (200, {**before, "status": "revoked"})
    assert await served(client, "acme.com") == 400
    again = (await client.post("/admin/tenants/acme/domains", json={"host": "acme.com"})).json()
    assert again["status"] == "pending"
    assert again["record_value"] != before["record_value"]


async def test_a_verified_domain_is_made_the_primary_one(client: httpx.AsyncClient, checker) -> None:
    checker.proven.add("acme.org")
    await client.post("/admin/tenants/acme/domains", json={"host": "acme.org"})
    assert (await client.post("/admin/tenants/acme/domains/acme.org/primary")).status_code == 404
    await client.post("/admin/tenants/acme/domains/acme.org/verify")
    for host in ("acme.com", "acme.org"):
        answer = await client.post(f"/admin/tenants/acme/domains/{host}/primary")
        assert (answer.status_code, answer.json()["is_primary"]) == (200, True)
    items = (await client.get("/admin/tenants/acme/domains")).json()["items"]
    assert {each["host"]: each["is_primary"] for each in items} == {"acme.com": False, "acme.org": True}


async def test_domains_come_in_pages(client: httpx.AsyncClient, tenancy: Tenancy) -> None:
    hosts = sorted(f"h{number}.com" for number in range(7))
    for host in reversed(hosts):
        await tenancy.domains.add("globex", host)
    found, after = [], ""
    for size in (3, 3, 1):
        page = (await client.get(f"/admin/tenants/globex/domains?limit=3{after}")).json()
        assert len(page["items"]) == size
        found += [each["host"] for each in page["items"]]
        after = f"&after={page['next']}"
    assert (found, page["next"]) == (hosts, None)
    exact = (await client.get("/admin/tenants/globex/domains?limit=7")).json()
    assert (len(exact["items"]), exact["next"]) == (7, None)


async def test_a_wrong_page_is_a_422(client: httpx.AsyncClient) -> None:
    for query in ("limit=0", "limit=1001", "limit=x", "after=", "after=nonsense", "after=%00"):
        assert (await client.get(f"/admin/tenants/acme/domains?{query}")).status_code == 422, query


WRONG = [
    ("globex/domains", {"host": "acme.com"}, 409),
    ("globex/domains", {"host": "127.0.0.1"}, 422),
    ("globex/domains", {"host": "x" * 300}, 422),
    ("globex/domains", {}, 422),
    ("globex/domains", {"host": "a.com", "primary": True}, 422),
    ("nobody/domains", {"host": "a.com"}, 404),
    ("nobody/domains/acme.com/revoke", None, 404),
    ("acme/domains/nonsense/primary", None, 422),
    # another tenant's
    ("globex/domains/acme.com/verify", None, 404),
    ("globex/domains/acme.com/revoke", None, 404),
    ("globex/domains/acme.com/primary", None, 404),
]


async def test_a_wrong_request_is_a_4xx_and_changes_nothing(client: httpx.AsyncClient) -> None:
    before = (await client.get("/admin/tenants/acme/domains")).json()
    for path, body, status in WRONG:
        answer = await client.post(f"/admin/tenants/{path}", json=body)
        assert (answer.status_code, "detail" in answer.json()) == (status, True), path
    assert (await client.get("/admin/tenants/acme/domains")).json() == before
    assert await served(client, "acme.com") == 200
