"""Requests by a custom domain."""

from collections.abc import AsyncIterator

import httpx2 as httpx
import pytest
from support import add_notes, client_of, make_app

from fastapi_tenancy import Tenancy


@pytest.fixture
async def client(tenancy: Tenancy) -> AsyncIterator[httpx.AsyncClient]:
    async with client_of(make_app(tenancy)) as client:
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
