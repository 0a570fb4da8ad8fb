"""Requests by a custom domain, the operators' routes, and the reverse proxy's question."""

from collections.abc import AsyncIterator

import httpx2 as httpx
import pytest
from fastapi import Depends
from support import add_notes, client_of, make_app

from fastapi_tenancy import Tenancy, ask_router
from fastapi_tenancy.multitenant.admin import admin_router


@pytest.fixture
async def client(tenancy: Tenancy) -> AsyncIterator[httpx.AsyncClient]:
    app = make_app(tenancy, exclude=["/admin", "/tls"])
    app.include_router(admin_router(tenancy, dependencies=[Depends(lambda: None)]), prefix="/admin")
    app.include_router(ask_router(tenancy), prefix="/tls")
    async with client_of(app) as client:
        yield client


async def whoami(client: httpx.AsyncClient, host: str) -> tuple[int, dict[str, str]]:
    answer = await client.get("/whoami", headers={"Host": host})
    return answer.status_code, answer.json()


@pytest.mark.parametrize("host", ["acme.com", "ACME.com", "acme.com.", "acme.com:8000"])
async def test_a_verified_host_names_its_tenant(client: httpx.AsyncClient, host: str) -> None:
    assert await whoami(client, host) == (200, {"tenant": "acme"})


@pytest.mark.parametrize("host", ["testserver", "other.com", "www.acme.com", "127.0.0.1:8000", "[::1]", "x_y.com"])
async def test_any_other_host_names_none(client: httpx.AsyncClient, host: str) -> None:
    assert (await whoami(client, host))[0] == 400
    assert (await client.get("/health", headers={"Host": host})).status_code == 200


async def test_a_forwarded_host_is_not_read(client: httpx.AsyncClient) -> None:
    answer = await client.get("/whoami", headers={"Host": "other.com", "X-Forwarded-Host": "acme.com"})
    assert answer.status_code == 400


async def test_two_hosts_are_refused(client: httpx.AsyncClient) -> None:
    answer = await client.get("/health", headers=[("Host", "acme.com"), ("Host", "acme.com")])
    assert answer.status_code == 400


async def test_a_pending_host_names_none(client: httpx.AsyncClient, tenancy: Tenancy) -> None:
    await tenancy.domains.add("globex", "globex.com")
    assert (await whoami(client, "globex.com"))[0] == 400


async def test_a_suspended_tenants_host_is_refused(client: httpx.AsyncClient, tenancy: Tenancy) -> None:
    assert (await whoami(client, "acme.com"))[0] == 200
    await tenancy.suspend_tenant("acme")
    assert (await whoami(client, "acme.com"))[0] == 403


async def test_a_renamed_tenant_keeps_its_host_and_its_data(client: httpx.AsyncClient, tenancy: Tenancy) -> None:
    await add_notes(tenancy, "acme", "mine")
    await whoami(client, "acme.com")
    await tenancy.update_tenant("acme", identifier="acme-inc")
    await tenancy.create_tenant("acme")
    notes = (await client.get("/notes", headers={"Host": "acme.com"})).json()
    assert notes == {"tenant": "acme-inc", "notes": ["mine"]}


async def test_requests_by_a_known_host_ask_no_store(client: httpx.AsyncClient, tenancy: Tenancy) -> None:
    await whoami(client, "acme.com")
    before = tenancy.stats()
    for _ in range(10):
        assert (await whoami(client, "acme.com"))[0] == 200
    after = tenancy.stats()
    assert (after["loads"], after["domains"]) == (before["loads"], before["domains"])


async def test_the_life_of_a_domain_over_http(client: httpx.AsyncClient, checker) -> None:
    claimed = await client.post("/admin/tenants/globex/domains", json={"host": "App.Globex.com"})
    claim = claimed.json()
    assert (claimed.status_code, claim["host"], claim["status"]) == (201, "app.globex.com", "pending")
    assert claim["record_name"] == "_fastapi-tenancy.app.globex.com"
    one = "/admin/tenants/globex/domains/app.globex.com"
    assert (await client.post(f"{one}/verify")).status_code == 422
    checker.proven.add("app.globex.com")
    verified = (await client.post(f"{one}/verify")).json()
    assert (verified["status"], verified["record_value"]) == ("verified", claim["record_value"])
    listed = (await client.get("/admin/tenants/globex/domains")).json()
    assert listed == {"items": [verified], "next": None}
    assert (await whoami(client, "app.globex.com"))[0] == 200
    assert (await client.delete(one)).status_code == 204
    assert (await client.delete(one)).status_code == 404
    assert (await whoami(client, "app.globex.com"))[0] == 400


@pytest.mark.parametrize(
    ("path", "body", "status"),
    [
        ("globex/domains", {"host": "acme.com"}, 409),
        ("globex/domains", {"host": "127.0.0.1"}, 422),
        ("globex/domains", {"host": "x" * 300}, 422),
        ("globex/domains", {}, 422),
        ("globex/domains", {"host": "a.com", "primary": True}, 422),
        ("nobody/domains", {"host": "a.com"}, 404),
        ("globex/domains/acme.com/verify", None, 404),
    ],
)
async def test_a_wrong_claim_is_a_4xx(client: httpx.AsyncClient, path: str, body: object, status: int) -> None:
    answer = await client.post(f"/admin/tenants/{path}", json=body)
    assert (answer.status_code, "detail" in answer.json()) == (status, True)


async def ask(client: httpx.AsyncClient, host: str) -> int:
    return (await client.get("/tls/ask", params={"domain": host})).status_code


async def test_the_proxy_may_get_a_certificate_for_verified_hosts_only(
    client: httpx.AsyncClient, tenancy: Tenancy
) -> None:
    await tenancy.domains.add("globex", "globex.com")
    hosts = ["acme.com", "ACME.com.", "globex.com", "other.com", "127.0.0.1", "", "nonsense"]
    assert [await ask(client, host) for host in hosts] == [200, 200, 404, 404, 404, 404, 404]
    assert (await client.get("/tls/ask")).status_code == 422


async def test_the_proxy_gets_none_for_a_tenant_that_is_not_served(client: httpx.AsyncClient, tenancy: Tenancy) -> None:
    await tenancy.suspend_tenant("acme")
    assert await ask(client, "acme.com") == 404
    await tenancy.activate_tenant("acme")
    assert await ask(client, "acme.com") == 200
    await tenancy.delete_tenant("acme")
    assert await ask(client, "acme.com") == 404


async def test_the_proxy_is_answered_from_memory(client: httpx.AsyncClient, tenancy: Tenancy) -> None:
    for host in ("acme.com", "other.com"):
        await ask(client, host)
    before = tenancy.stats()["domains"]
    for host in ("acme.com", "other.com"):
        await ask(client, host)
    assert tenancy.stats()["domains"] == before
