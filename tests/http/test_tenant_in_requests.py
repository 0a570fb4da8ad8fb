"""A request is served for the tenant that it names, and for no other."""

from pathlib import Path

import pytest
from fastapi import FastAPI, HTTPException, Request
from starlette.middleware.cors import CORSMiddleware
from support import make_app, make_tenancy, named, running

from fastapi_tenancy import (
    ConfigurationError,
    CurrentTenant,
    HeaderResolver,
    OptionalTenant,
    PathResolver,
    SubdomainResolver,
    Tenancy,
    TenancyMiddleware,
)

RESOLVERS = (HeaderResolver("X-Tenant-ID"), SubdomainResolver("example.com"), PathResolver("/t"))


@pytest.mark.parametrize(
    ("url", "headers"),
    [
        ("http://example.com/whoami", {"X-Tenant-ID": "acme"}),
        ("http://acme.example.com/whoami", {}),
        ("http://ACME.Example.com.:8000/whoami", {}),
        ("http://example.com/t/acme/whoami", {}),
    ],
)
async def test_header_subdomain_and_path_each_name_the_tenant(
    tmp_path: Path, url: str, headers: dict[str, str]
) -> None:
    tenancy = make_tenancy(tmp_path, resolvers=RESOLVERS)
    async with running(make_app(tenancy)) as client:
        await tenancy.create_tenant("acme")
        assert (await client.get(url, headers=headers)).json() == {"tenant": "acme"}


async def test_url_for_keeps_the_path_prefix(tmp_path: Path) -> None:
    tenancy = make_tenancy(tmp_path, resolvers=RESOLVERS)
    app = make_app(tenancy)

    @app.get("/link")
    async def link(request: Request, tenant: CurrentTenant) -> str:
        return str(request.url_for("whoami"))

    async with running(app) as client:
        await tenancy.create_tenant("acme")
        assert (await client.get("/t/acme/link")).json() == "http://testserver/t/acme/whoami"
        assert (await client.get("/link", headers=named("acme"))).json() == "http://testserver/whoami"


@pytest.mark.parametrize("is_async", [False, True])
async def test_any_callable_can_resolve(tmp_path: Path, is_async: bool) -> None:
    def by_query(scope):
        return scope["query_string"].decode() or None

    async def by_query_later(scope):
        return by_query(scope)

    tenancy = make_tenancy(tmp_path, resolvers=[by_query_later if is_async else by_query])
    async with running(make_app(tenancy)) as client:
        await tenancy.create_tenant("acme")
        assert (await client.get("/whoami?acme")).json() == {"tenant": "acme"}
        assert (await client.get("/whoami")).status_code == 400


async def test_a_resolver_may_refuse_with_an_http_exception(tmp_path: Path) -> None:
    def locked(scope):
        raise HTTPException(423, "locked", {"X-Why": "test"})

    async with running(make_app(make_tenancy(tmp_path, resolvers=[locked]))) as client:
        answer = await client.get("/health")
    assert (answer.status_code, answer.json(), answer.headers["x-why"]) == (423, {"detail": "locked"}, "test")


async def test_a_resolver_may_answer_the_tenant_itself(tmp_path: Path) -> None:
    async def looked_up(scope):
        return await tenancy.get_tenant(scope["query_string"].decode())

    tenancy = make_tenancy(tmp_path, resolvers=[looked_up])
    async with running(make_app(tenancy)) as client:
        await tenancy.create_tenant("acme")
        assert (await client.get("/whoami?acme")).json() == {"tenant": "acme"}
        await tenancy.suspend_tenant("acme")
        assert (await client.get("/whoami?acme")).status_code == 403


async def test_a_resolver_that_answers_nonsense_is_told(tmp_path: Path) -> None:
    async with running(make_app(make_tenancy(tmp_path, resolvers=[lambda scope: 42]))) as client:
        with pytest.raises(ConfigurationError, match="answered int"):
            await client.get("/whoami")


@pytest.mark.parametrize("path", ["/docs", "/openapi.json", "/health"])
async def test_what_needs_no_tenant_works_without_one(tmp_path: Path, path: str) -> None:
    async with running(make_app(make_tenancy(tmp_path))) as client:
        assert (await client.get(path)).status_code == 200


@pytest.mark.parametrize("required", [False, True])
async def test_a_cors_preflight_passes_without_a_tenant(tmp_path: Path, required: bool) -> None:
    tenancy = make_tenancy(tmp_path)
    app = FastAPI(lifespan=tenancy.lifespan)
    app.add_middleware(CORSMiddleware, allow_origins=["https://front.example"], allow_headers=["X-Tenant-ID"])
    app.add_middleware(TenancyMiddleware, tenancy=tenancy, required=required)
    asked = {
        "Origin": "https://front.example",
        "Access-Control-Request-Method": "GET",
        "Access-Control-Request-Headers": "X-Tenant-ID",
    }
    async with running(app) as client:
        answer = await client.options("/notes", headers=asked)
    assert (answer.status_code, answer.headers["access-control-allow-origin"]) == (200, "https://front.example")


async def test_required_refuses_at_the_door(tmp_path: Path) -> None:
    async with running(make_app(make_tenancy(tmp_path), required=True, exclude=["/health"])) as client:
        assert (await client.get("/docs")).status_code == 400
        assert (await client.get("/nowhere")).status_code == 400
        assert (await client.get("/health")).status_code == 200


async def test_no_tenant_is_400_only_where_one_is_needed(tmp_path: Path) -> None:
    app = make_app(make_tenancy(tmp_path))

    @app.get("/maybe")
    async def maybe(tenant: OptionalTenant) -> str | None:
        return tenant and tenant.identifier

    async with running(app) as client:
        refused = await client.get("/whoami")
        assert (refused.status_code, refused.json()) == (400, {"detail": "No tenant was named in the request."})
        assert (await client.get("/maybe")).json() is None


async def test_the_life_of_a_tenant_shows_in_the_status(tmp_path: Path) -> None:
    tenancy = make_tenancy(tmp_path)
    async with running(make_app(tenancy)) as client:

        async def status() -> int:
            return (await client.get("/whoami", headers=named("acme"))).status_code

        seen = [await status()]
        await tenancy.create_tenant("acme")
        seen.append(await status())
        await tenancy.suspend_tenant("acme")
        seen.append(await status())
        await tenancy.activate_tenant("acme")
        seen.append(await status())
        await tenancy.delete_tenant("acme", drop_data=True)
        seen.append(await status())
    assert seen == [404, 200, 403, 200, 404]


NONSENSE = [
    b"",
    b" ",
    b"ACME",
    b"-acme",
    b"acme-",
    b"a" * 64,
    b"acme\n",
    b"acme;drop",
    b"../acme",
    b"acme/globex",
    b"acme, globex",
    b"\xff\xfe",
    b"\x00",
    "ácme".encode(),
    b"acme.globex",
    b"%61cme",
    b"' OR 1=1 --",
]


@pytest.mark.parametrize("value", NONSENSE)
async def test_a_nonsense_header_is_400_and_no_query(tmp_path: Path, value: bytes) -> None:
    tenancy = make_tenancy(tmp_path)
    app = make_app(tenancy)
    sent: list[int] = []

    async def send(message):
        if message["type"] == "http.response.start":
            sent.append(message["status"])

    async def receive():
        return {"type": "http.request", "body": b"", "more_body": False}

    scope = {
        "type": "http",
        "method": "GET",
        "path": "/whoami",
        "raw_path": b"/whoami",
        "query_string": b"",
        "root_path": "",
        "scheme": "http",
        "server": ("test", 80),
        "headers": [(b"x-tenant-id", value)],
    }
    async with tenancy:
        await app(scope, receive, send)
        assert (sent, tenancy.stats()["loads"]) == ([400], 0)


async def test_a_repeated_header_is_refused_even_if_equal(tmp_path: Path) -> None:
    tenancy = make_tenancy(tmp_path)
    async with running(make_app(tenancy)) as client:
        await tenancy.create_tenant("acme")
        twice = [("X-Tenant-ID", "acme"), ("x-tenant-id", "acme")]
        assert (await client.get("/whoami", headers=twice)).status_code == 400


async def test_a_malformed_name_is_400_also_where_a_later_resolver_names_a_tenant(tmp_path: Path) -> None:
    tenancy = make_tenancy(tmp_path, resolvers=RESOLVERS)
    async with running(make_app(tenancy)) as client:
        await tenancy.create_tenant("acme")
        assert (await client.get("http://acme.example.com/whoami", headers=named("AC ME"))).status_code == 400


@pytest.mark.parametrize(
    ("path", "excluded"),
    [
        ("/health", True),
        ("/health/deep", True),
        ("/healthy", False),
        ("/health/../whoami", False),
        ("/health/./x", False),
        ("/Health", False),
        ("/health\t", False),
        ("/x/health", False),
    ],
)
async def test_exclude_compares_whole_segments(tmp_path: Path, path: str, excluded: bool) -> None:
    tenancy = make_tenancy(tmp_path)
    reached: list[object] = []

    async def inner(scope, receive, send):
        reached.append(scope["state"]["tenant"])

    async def ignore(message):
        pass

    middleware = TenancyMiddleware(inner, tenancy=tenancy, exclude=["/health/"], required=True)
    scope = {"type": "http", "method": "GET", "path": path, "root_path": "", "headers": []}
    async with tenancy:
        await middleware(scope, None, ignore)
    assert bool(reached) is excluded


async def test_exclude_is_relative_to_the_root_path(tmp_path: Path) -> None:
    tenancy = make_tenancy(tmp_path)
    app = make_app(tenancy, exclude=["/health"], required=True)
    app.root_path = "/api"
    async with running(app) as client:
        assert (await client.get("/api/health")).status_code == 200


async def test_a_forgotten_middleware_is_said_plainly(tmp_path: Path) -> None:
    app = FastAPI()

    @app.get("/whoami")
    async def whoami(tenant: CurrentTenant) -> None: ...

    with pytest.raises(Exception, match="add_middleware"):
        async with running(app) as client:
            await client.get("/whoami")


async def test_a_mounted_application_sees_the_tenant(tmp_path: Path) -> None:
    tenancy = make_tenancy(tmp_path, resolvers=RESOLVERS)
    app, inner = make_app(tenancy), FastAPI()

    @inner.get("/whoami")
    async def whoami(tenant: CurrentTenant) -> str:
        return tenant.identifier

    app.mount("/inner", inner)
    async with running(app) as client:
        await tenancy.create_tenant("acme")
        assert (await client.get("/inner/whoami", headers=named("acme"))).json() == "acme"
        assert (await client.get("/t/acme/inner/whoami")).json() == "acme"
        assert (await client.get("/inner/whoami")).status_code == 400


async def test_two_tenancies_do_not_see_each_other(tmp_path: Path) -> None:
    first, second = make_tenancy(tmp_path / "first"), make_tenancy(tmp_path / "second")
    async with running(make_app(first)) as one, running(make_app(second)) as two:
        await first.create_tenant("acme")
        assert (await one.get("/whoami", headers=named("acme"))).status_code == 200
        assert (await two.get("/whoami", headers=named("acme"))).status_code == 404


def test_tenancy_is_the_protocol_that_the_middleware_needs(tmp_path: Path) -> None:
    tenancy: Tenancy = make_tenancy(tmp_path)
    assert TenancyMiddleware(FastAPI(), tenancy=tenancy)
