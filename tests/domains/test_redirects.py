"""A tenant's secondary hosts lead to its primary one, and nowhere else."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx2 as httpx
import pytest
from fastapi import FastAPI
from httpx2 import URL
from hypothesis import given, settings
from hypothesis import strategies as st
from starlette.exceptions import HTTPException
from support import Base, client_of, make_app

from fastapi_tenancy import (
    HostResolver,
    InMemoryTenantStore,
    Tenancy,
    TenancySettings,
    Tenant,
    TenantStatus,
)
from fastapi_tenancy.testing import tenant_named


class Gullible:
    async def check(self, host: str, token: str) -> bool:
        return True


async def add_host(tenancy: Tenancy, tenant: str, host: str) -> None:
    await tenancy.domains.add(tenant, host)
    await tenancy.domains.verify(tenant, host)


def redirecting(folder: Path, clock, store: InMemoryTenantStore | None = None) -> Tenancy:
    made = TenancySettings(
        database_url=f"sqlite:///{folder}/tenancy.db", manager_type="shared-profile", profile_idle_timeout=None
    )
    return Tenancy(
        made,
        resolvers=[HostResolver(redirect=True)],
        metadata=Base.metadata,
        store=store or InMemoryTenantStore(),
        clock=clock,
        domain_checker=Gullible(),
    )


@pytest.fixture
async def tenancy(tmp_path: Path, clock) -> AsyncIterator[Tenancy]:
    """acme.com is acme's primary host; acme.org and acme.net are its others. globex has a host and no primary one."""
    async with redirecting(tmp_path, clock) as tenancy:
        await tenancy.create_tenant("acme")
        await tenancy.create_tenant("globex")
        for host in ("acme.com", "acme.org", "acme.net"):
            await add_host(tenancy, "acme", host)
        await add_host(tenancy, "globex", "globex.com")
        await tenancy.domains.set_primary("acme", "acme.com")
        yield tenancy


@pytest.fixture
def app(tenancy: Tenancy) -> FastAPI:
    return make_app(tenancy)


@pytest.fixture
async def client(app: FastAPI) -> AsyncIterator[httpx.AsyncClient]:
    async with client_of(app) as client:
        yield client


async def asked(client: httpx.AsyncClient, url: str, method: str = "GET", **headers: str) -> tuple[int, str | None]:
    answer = await client.request(method, url, headers=headers)
    return answer.status_code, answer.headers.get("location")


PLACES = [
    ("http://acme.org/whoami", "http://acme.com/whoami"),
    ("http://acme.net/whoami", "http://acme.com/whoami"),
    ("https://acme.org/whoami", "https://acme.com/whoami"),
    ("http://ACME.org./whoami", "http://acme.com/whoami"),
    ("http://acme.org:8000/whoami", "http://acme.com:8000/whoami"),
    ("http://acme.org", "http://acme.com/"),
    ("http://acme.org/nowhere/", "http://acme.com/nowhere/"),
    ("http://acme.org/a%2Fb/%e2%82%ac%20c;v=1", "http://acme.com/a%2Fb/%e2%82%ac%20c;v=1"),
    ("http://acme.org//evil.com/%2e%2e", "http://acme.com//evil.com/%2e%2e"),
    ("http://acme.org/x?a=1&a=2&b=%26&c", "http://acme.com/x?a=1&a=2&b=%26&c"),
    ("http://acme.org/x?next=http://evil.com/?y", "http://acme.com/x?next=http://evil.com/?y"),
]


async def test_the_same_place_at_the_primary_host_is_named(client: httpx.AsyncClient) -> None:
    for url, location in PLACES:
        assert await asked(client, url) == (307, location)


async def test_every_method_is_redirected(client: httpx.AsyncClient) -> None:
    for method in ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"):
        assert await asked(client, "http://acme.org/notes?text=x", method) == (307, "http://acme.com/notes?text=x")


async def test_the_primary_host_serves(client: httpx.AsyncClient) -> None:
    for host in ("acme.com", "ACME.com", "acme.com.", "acme.com:8000"):
        assert await asked(client, f"http://{host}/whoami") == (200, None)


async def test_without_a_primary_host_all_serve(client: httpx.AsyncClient) -> None:
    assert await asked(client, "http://globex.com/whoami") == (200, None)


async def test_a_host_of_nobody_is_not_redirected(client: httpx.AsyncClient) -> None:
    assert await asked(client, "http://other.com/whoami") == (400, None)


async def test_a_preflight_is_served_where_it_came(client: httpx.AsyncClient) -> None:
    origin = {"Origin": "https://x.com", "Access-Control-Request-Method": "GET"}
    assert await asked(client, "http://acme.org/whoami", "OPTIONS", **origin) == (405, None)


@pytest.mark.parametrize("path", ["/.well-known/acme-challenge/token", "/.well-known/acme-challenge"])
async def test_the_challenge_for_a_certificate_is_answered_where_it_came(client: httpx.AsyncClient, path: str) -> None:
    assert await asked(client, f"http://acme.org{path}") == (404, None)
    assert (await asked(client, "http://acme.org/.well-known/acme-challenges"))[0] == 307


async def test_an_inactive_tenant_is_refused_and_not_redirected(client: httpx.AsyncClient, tenancy: Tenancy) -> None:
    assert (await asked(client, "http://acme.org/whoami"))[0] == 307
    await tenancy.suspend_tenant("acme")
    assert await asked(client, "http://acme.org/whoami") == (403, None)


async def test_another_primary_host_is_redirected_to_at_once(client: httpx.AsyncClient, tenancy: Tenancy) -> None:
    assert await asked(client, "http://acme.org/") == (307, "http://acme.com/")
    await tenancy.domains.set_primary("acme", "acme.org")
    assert (await asked(client, "http://acme.org/whoami"))[0] == 200
    assert await asked(client, "http://acme.com/") == (307, "http://acme.org/")
    assert await asked(client, "http://acme.net/") == (307, "http://acme.org/")


@pytest.mark.parametrize("end", ["revoke", "remove"])
async def test_a_primary_host_that_is_withdrawn_is_not_redirected_to(
    client: httpx.AsyncClient, tenancy: Tenancy, end: str
) -> None:
    assert (await asked(client, "http://acme.org/whoami"))[0] == 307
    await getattr(tenancy.domains, end)("acme", "acme.com")
    assert await asked(client, "http://acme.org/whoami") == (200, None)


async def test_the_primary_host_is_remembered(client: httpx.AsyncClient, tenancy: Tenancy, clock) -> None:
    for url in ("http://acme.com/whoami", "http://acme.org/whoami", "http://globex.com/whoami"):
        await asked(client, url)
    before = tenancy.domains.stats()
    for url in ("http://acme.com/whoami", "http://acme.org/whoami", "http://globex.com/whoami") * 5:
        await asked(client, url)
    clock.now = 50
    for url in ("http://acme.com/whoami", "http://globex.com/whoami") * 5:
        await asked(client, url)
    assert tenancy.domains.stats() == before


async def test_two_processes_that_disagree_send_nobody_to_and_fro_for_longer_than_a_second(
    tmp_path: Path, clock
) -> None:
    store = InMemoryTenantStore()
    async with redirecting(tmp_path, clock, store) as one, redirecting(tmp_path, clock, store) as other:
        await one.create_tenant("acme")
        for host in ("a.com", "b.com"):
            await add_host(one, "acme", host)
        await one.domains.set_primary("acme", "a.com")
        async with client_of(make_app(one)) as first, client_of(make_app(other)) as second:
            assert await asked(second, "http://b.com/") == (307, "http://a.com/")
            await one.domains.set_primary("acme", "b.com")
            clock.now = 1
            assert await asked(first, "http://a.com/") == (307, "http://b.com/")
            assert await asked(second, "http://b.com/whoami") == (200, None)


async def test_500_redirects_at_once_do_not_ask_the_store_500_times(tenancy: Tenancy) -> None:
    acme = await tenancy.get_tenant("acme")
    before = tenancy.domains.stats()["loads"]
    found = await asyncio.gather(*(tenancy.domains.primary_elsewhere(acme.id, "acme.org") for _ in range(500)))
    assert set(found) == {"acme.com"}
    assert tenancy.domains.stats()["loads"] == before + 2  # to remember it, and to redirect


async def test_while_the_store_is_away_what_is_remembered_has_to_do(
    client: httpx.AsyncClient, tenancy: Tenancy, clock
) -> None:
    for url in ("http://acme.com/whoami", "http://acme.org/"):
        await asked(client, url)

    async def away(*_: object) -> None:
        raise OSError("away")

    tenancy.store.find_primary, clock.now = away, 30
    assert await asked(client, "http://acme.org/") == (307, "http://acme.com/")
    assert await asked(client, "http://acme.com/whoami") == (200, None)


async def test_below_a_root_path_the_whole_path_is_named(app: FastAPI) -> None:
    served = httpx.AsyncClient(transport=httpx.ASGITransport(app=app, root_path="/app"))
    async with served as client:
        assert await asked(client, "http://acme.org/app/x%20y") == (307, "http://acme.com/app/x%20y")
        assert await asked(client, "http://acme.org/x%20y") == (307, "http://acme.com/app/x%20y")  # stripped by a proxy


ACME = tenant_named("acme")


async def the_primary(tenant_id: str, header: str) -> str | None:
    return "acme.com"


async def location_of(**scope: Any) -> str:
    asked_for = {"type": "http", "method": "GET", "scheme": "http", "path": "/", "headers": [(b"host", b"acme.org")]}
    with pytest.raises(HTTPException) as redirect:
        await HostResolver(lambda header: ACME, the_primary, redirect=True)({**asked_for, **scope})
    return redirect.value.headers["Location"]


@pytest.mark.parametrize(
    ("scope", "location"),
    [
        ({"path": "/a b/%/ü?#"}, "http://acme.com/a%20b/%25/%C3%BC%3F%23"),
        ({"path": "/a b", "raw_path": None}, "http://acme.com/a%20b"),
        ({"path": "/", "raw_path": b""}, "http://acme.com/"),
        ({"path": "", "raw_path": b""}, "http://acme.com/"),
        ({"path": "@evil.com", "raw_path": b"@evil.com"}, "http://acme.com/@evil.com"),
        ({"path": ".evil.com", "raw_path": b".evil.com"}, "http://acme.com/.evil.com"),
        ({"path": "http://evil.com/", "raw_path": b"http://evil.com/"}, "http://acme.com/http://evil.com/"),
        ({"path": "/\r\nSet-Cookie: x", "raw_path": b"/\r\nSet-Cookie: x"}, "http://acme.com/%0D%0ASet-Cookie:%20x"),
        ({"path": "/\xff", "raw_path": b"/\xff"}, "http://acme.com/%FF"),
        ({"path": "/\\evil.com", "raw_path": b"/\\evil.com"}, "http://acme.com/%5Cevil.com"),
        ({"query_string": b"a=\r\n\xff"}, "http://acme.com/?a=%0D%0A%FF"),
    ],
)
async def test_what_no_url_may_hold_is_encoded(scope: dict[str, Any], location: str) -> None:
    assert await location_of(**scope) == location


@settings(max_examples=200)
@given(st.binary(max_size=12), st.binary(max_size=12), st.sampled_from(["", "/app"]))
async def test_a_redirect_leads_to_the_primary_host_whatever_is_asked_for(raw: bytes, query: bytes, root: str) -> None:
    location = await location_of(path=raw.decode("latin-1"), raw_path=raw, query_string=query, root_path=root)
    assert location.startswith("http://acme.com/")
    assert location.isascii()
    assert location.isprintable()
    assert URL(location).host == "acme.com"


def test_a_websocket_is_served_where_it_came() -> None:
    resolver = HostResolver(lambda header: ACME, the_primary, redirect=True)
    assert resolver({"type": "websocket", "path": "/", "headers": [(b"host", b"acme.org")]}) is ACME


@pytest.mark.parametrize("status", [each for each in TenantStatus if each is not TenantStatus.ACTIVE])
async def test_only_an_active_tenant_is_redirected(status: TenantStatus) -> None:
    inactive: Tenant = tenant_named("acme", status=status)
    resolver = HostResolver(lambda header: inactive, the_primary, redirect=True)
    scope = {"type": "http", "method": "GET", "path": "/", "headers": [(b"host", b"acme.org")]}
    assert await resolver(scope) is inactive
