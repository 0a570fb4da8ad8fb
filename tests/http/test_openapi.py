"""The OpenAPI document tells how a request names its tenant, and what it can be answered."""

from collections.abc import Sequence
from typing import Annotated, Any
from urllib.parse import urljoin

import pytest
from fastapi import APIRouter, Depends, FastAPI, Header, HTTPException, Security
from fastapi.openapi.models import OpenAPI
from fastapi.openapi.utils import get_openapi
from fastapi.security import APIKeyHeader, HTTPBearer, OAuth2PasswordBearer, SecurityScopes
from pydantic import BaseModel
from support import client_of, make_app, make_tenancy, named, running

from fastapi_tenancy import (
    CookieResolver,
    CurrentTenant,
    HeaderResolver,
    OptionalTenant,
    PathResolver,
    QueryResolver,
    SubdomainResolver,
    Tenancy,
    TenancyMiddleware,
    TenantSession,
    TenantSyncTransaction,
    central_route,
    tenant_route,
    tenant_scope,
    universal_route,
)
from fastapi_tenancy.openapi import document_tenant
from fastapi_tenancy.resolvers import Resolver
from fastapi_tenancy.testing import tenant_named

Json = dict[str, Any]

BEARER = {"type": "http", "scheme": "bearer"}
TENANT = {"tenant": {"default": "your-tenant", "description": "The tenant's identifier."}}


class ByToken:
    """A resolver that reads a bearer token."""

    def __call__(self, scope: Any) -> None: ...

    def security_scheme(self) -> Json:
        return BEARER


async def of_a_tenant(tenant: CurrentTenant) -> None: ...


async def of_any(tenant: OptionalTenant) -> None: ...


async def of_none() -> None: ...


def documented(app: FastAPI, *resolvers: Resolver, **told: Any) -> Json:
    """The application's document, which is valid."""
    document_tenant(app, resolvers or [HeaderResolver()], **told)
    document = app.openapi()
    OpenAPI.model_validate(document)
    return document


def get(document: Json, path: str = "/x") -> Json:
    operation: Json = document["paths"][path]["get"]
    return operation


def app_with(endpoint: Any, /, *, dependencies: Sequence[Any] = (), **given: Any) -> FastAPI:
    app = FastAPI()
    app.get("/x", dependencies=dependencies, **given)(endpoint)
    return app


async def in_a_session(session: TenantSession) -> None: ...


def in_a_thread(session: TenantSyncTransaction) -> None: ...


async def deep_down(_: Annotated[None, Depends(of_a_tenant)]) -> None: ...


async def with_scopes(scopes: SecurityScopes, _: Annotated[None, Depends(deep_down)]) -> None: ...


async def maybe_deep_down(_: Annotated[None, Depends(of_any)]) -> None: ...


async def both(tenant: CurrentTenant, _: OptionalTenant) -> None: ...


@pytest.mark.parametrize(
    ("endpoint", "dependencies", "kind"),
    [
        (of_a_tenant, [], "tenant"),
        (in_a_session, [], "tenant"),
        (in_a_thread, [], "tenant"),
        (deep_down, [], "tenant"),
        (of_none, [Security(with_scopes, scopes=["read"])], "tenant"),
        (both, [], "tenant"),
        (of_none, [tenant_route()], "tenant"),
        (of_any, [tenant_route()], "tenant"),
        (of_any, [], "universal"),
        (maybe_deep_down, [], "universal"),
        (of_none, [universal_route()], "universal"),
        (of_none, [central_route()], "central"),
        (of_none, [central_route(refuse_tenants=True)], "central"),
        (of_any, [central_route()], "central"),
        (of_none, [], None),
    ],
)
def test_an_operation_bears_its_kind(endpoint: Any, dependencies: list[Any], kind: str | None) -> None:
    assert get(documented(app_with(endpoint, dependencies=dependencies))).get("x-tenancy") == kind


def test_the_kind_is_that_of_each_inclusion() -> None:
    app, router, outer = FastAPI(), APIRouter(), APIRouter(prefix="/outer", dependencies=[central_route()])
    router.get("/x")(of_none)
    outer.include_router(router)
    app.include_router(outer)
    app.include_router(router, prefix="/tenant", dependencies=[tenant_route()])
    app.include_router(router, prefix="/universal", dependencies=[universal_route()])
    app.include_router(router)
    document = documented(app)
    kinds = {path: get(document, path).get("x-tenancy") for path in document["paths"]}
    assert kinds == {"/outer/x": "central", "/tenant/x": "tenant", "/universal/x": "universal", "/x": None}


def test_each_method_of_a_path_has_its_own_kind() -> None:
    app = app_with(of_any)
    app.put("/x")(of_a_tenant)
    app.patch("/x")(of_none)
    operations = documented(app)["paths"]["/x"]
    kinds = {method: each.get("x-tenancy") for method, each in operations.items()}
    assert kinds == {"get": "universal", "put": "tenant", "patch": None}


def test_what_is_not_in_the_document_is_left_out() -> None:
    app = app_with(of_a_tenant, include_in_schema=False)
    app.websocket("/ws")(of_a_tenant)
    document = documented(app)
    assert document["paths"] == {}
    assert "components" not in document


@pytest.mark.parametrize(
    ("resolver", "scheme"),
    [
        (HeaderResolver("X-Org"), {"type": "apiKey", "in": "header", "name": "X-Org"}),
        (QueryResolver("org"), {"type": "apiKey", "in": "query", "name": "org"}),
        (CookieResolver("org"), {"type": "apiKey", "in": "cookie", "name": "org"}),
        (ByToken(), BEARER),
    ],
)
def test_what_a_resolver_reads_is_a_security_scheme(resolver: Any, scheme: Json) -> None:
    document = documented(app_with(of_a_tenant), resolver)
    assert document["components"]["securitySchemes"]["Tenant"].items() >= scheme.items()
    assert get(document)["security"] == [{"Tenant": []}]


async def test_the_document_that_is_served_has_the_scheme(tmp_path: Any) -> None:
    async with running(make_app(make_tenancy(tmp_path, resolvers=[HeaderResolver("X-Org")]))) as client:
        document = (await client.get("/openapi.json")).json()
    assert document["components"]["securitySchemes"]["Tenant"]["name"] == "X-Org"
    assert get(document, "/whoami")["security"] == [{"Tenant": []}]
    assert "security" not in get(document, "/health")


def test_several_schemes_are_alternatives() -> None:
    document = documented(app_with(of_a_tenant), HeaderResolver(), ByToken(), QueryResolver("org"))
    assert [each["type"] for each in document["components"]["securitySchemes"].values()] == ["apiKey", "http", "apiKey"]
    assert get(document)["security"] == [{"Tenant": []}, {"Tenant2": []}, {"Tenant3": []}]


def test_a_scheme_that_two_resolvers_share_is_listed_once() -> None:
    assert get(documented(app_with(of_a_tenant), ByToken(), ByToken()))["security"] == [{"Tenant": []}]


@pytest.mark.parametrize(
    ("endpoint", "resolvers"),
    [(of_any, [HeaderResolver()]), (of_a_tenant, [HeaderResolver(), PathResolver("/t")])],
)
def test_a_scheme_may_be_left_out_where_the_request_works_without(endpoint: Any, resolvers: list[Resolver]) -> None:
    assert get(documented(app_with(endpoint), *resolvers))["security"] == [{"Tenant": []}, {}]


@pytest.mark.parametrize("endpoint", [of_a_tenant, of_any])
def test_without_a_scheme_there_is_nothing_to_authorize(endpoint: Any) -> None:
    document = documented(app_with(endpoint), PathResolver("/t"))
    assert "securitySchemes" not in document["components"]
    assert "security" not in get(document)


@pytest.mark.parametrize("dependencies", [[], [central_route()], [central_route(refuse_tenants=True)]])
def test_an_operation_that_needs_no_tenant_demands_no_scheme(dependencies: list[Any]) -> None:
    assert "security" not in get(documented(app_with(of_none, dependencies=dependencies)))


def test_the_tenant_is_demanded_besides_what_the_application_demands() -> None:
    app = app_with(of_a_tenant, dependencies=[Security(OAuth2PasswordBearer("token"), scopes=["read"])])
    app.get("/either", dependencies=[Depends(HTTPBearer()), Depends(APIKeyHeader(name="K"))])(of_any)
    document = documented(app)
    assert get(document)["security"] == [{"OAuth2PasswordBearer": ["read"], "Tenant": []}]
    assert get(document, "/either")["security"] == [
        {"HTTPBearer": [], "Tenant": []},
        {"HTTPBearer": []},
        {"APIKeyHeader": [], "Tenant": []},
        {"APIKeyHeader": []},
    ]


def test_what_the_application_demands_everywhere_stays_demanded() -> None:
    app = app_with(of_a_tenant)
    app.openapi = lambda: {**get_openapi(title="", version="", routes=app.routes), "security": [{"Key": []}]}  # type: ignore[method-assign]  # FastAPI's own way
    assert get(documented(app))["security"] == [{"Key": [], "Tenant": []}]


def test_names_of_the_application_are_not_taken() -> None:
    class TenancyError(BaseModel):
        mine: int

    async def endpoint(tenant: CurrentTenant) -> TenancyError: ...

    document = documented(app_with(endpoint, dependencies=[Depends(HTTPBearer(scheme_name="Tenant"))]))
    assert document["components"]["securitySchemes"]["Tenant"] == BEARER
    assert get(document)["security"] == [{"Tenant": [], "Tenant2": []}]
    assert list(document["components"]["schemas"]["TenancyError"]["properties"]) == ["mine"]
    assert list(document["components"]["schemas"]["TenancyError2"]["properties"]) == ["detail"]


def bases(document: Json, read_at: str) -> list[str]:
    """The servers as a client resolves them that has read the document at `read_at`, for the tenant acme."""
    return [urljoin(read_at, each["url"]).replace("{tenant}", "acme") for each in document["servers"]]


@pytest.mark.parametrize("openapi_url", ["/openapi.json", "/api/v1/openapi.json", None])
@pytest.mark.parametrize("root", ["", "/app"])
def test_a_path_is_a_server_with_a_variable(root: str, openapi_url: str | None) -> None:
    app = FastAPI(openapi_url=openapi_url)
    app.get("/x")(of_a_tenant)
    document = documented(app, PathResolver())
    read_at = f"https://h{root}{openapi_url or '/openapi.json'}"
    assert [each.rstrip("/") for each in bases(document, read_at)] == [f"https://h{root}", f"https://h{root}/t/acme"]
    assert document["servers"][1]["variables"] == TENANT


def test_the_applications_own_servers_lead_to_tenants_too() -> None:
    area = {"area": {"default": "eu"}}
    app = FastAPI(servers=[{"url": "https://{area}.h/v1/", "variables": area}, {"url": "/staging"}])
    document = documented(app, PathResolver())
    assert [(each["url"], each.get("variables")) for each in document["servers"]] == [
        ("https://{area}.h/v1/", area),
        ("/staging", None),
        ("https://{area}.h/v1/t/{tenant}", {**area, **TENANT}),
        ("/staging/t/{tenant}", TENANT),
    ]


def test_a_subdomain_is_a_server_with_a_variable() -> None:
    document = documented(FastAPI(), SubdomainResolver("example.com"))
    assert bases(document, "https://example.com/openapi.json") == ["https://example.com/", "https://acme.example.com"]


def test_without_such_a_resolver_the_servers_are_the_applications() -> None:
    assert "servers" not in documented(app_with(of_a_tenant))
    assert documented(FastAPI(servers=[{"url": "/v1"}]))["servers"] == [{"url": "/v1"}]


async def test_a_document_that_a_tenant_reads_leads_to_it_and_to_no_other(tmp_path: Any) -> None:
    tenancy = make_tenancy(tmp_path, resolvers=[PathResolver()])
    app, inner = make_app(tenancy), FastAPI()
    app.mount("/inner", inner)
    async with running(app) as client:
        await tenancy.create_tenant("acme")

        async def read(path: str) -> list[str]:
            url = f"http://testserver{path}/openapi.json"
            document = (await client.get(url)).json()
            OpenAPI.model_validate(document)
            return sorted({each.rstrip("/").removeprefix("http://testserver") for each in bases(document, url)})

        assert await read("") == ["", "/t/acme"]
        assert await read("/t/acme") == ["/t/acme"]
        assert await read("/inner") == ["/inner", "/t/acme/inner"]
        assert await read("/t/acme/inner") == ["/t/acme/inner"]
        assert (await client.get("/t/acme/docs")).text.count("/t/acme/openapi.json") == 1


def told(operation: Json) -> dict[str, str]:
    return {status: each["description"] for status, each in operation["responses"].items() if status[0] != "2"}


def test_refusals_are_listed_with_their_texts() -> None:
    assert told(get(documented(app_with(of_a_tenant)))) == {
        "400": "No tenant was named in the request. The tenant identifier is malformed.",
        "403": "The tenant is suspended.",
        "404": "Unknown tenant.",
        "503": "The tenant is temporarily unavailable. The tenant store is temporarily unavailable.",
    }


def test_a_universal_route_does_not_miss_a_tenant() -> None:
    operation = get(documented(app_with(of_any)))
    assert list(told(operation)) == ["400", "403", "404", "503"]
    assert told(operation)["400"] == "The tenant identifier is malformed."


@pytest.mark.parametrize(
    ("resolvers", "settings", "status", "text"),
    [
        ([ByToken()], {}, "401", "The token is not valid."),
        ([HeaderResolver()], {}, "401", None),
        ([HeaderResolver()], {"limited": True}, "429", "Too many requests. Too many requests at once."),
        ([HeaderResolver()], {}, "429", None),
        ([HeaderResolver()], {"reveal_inactive": False}, "403", None),
        (
            [HeaderResolver(), PathResolver()],
            {},
            "400",
            "The tenant identifier is malformed. The request names more than one tenant.",
        ),
    ],
)
def test_what_is_refused_depends_on_the_tenancy(resolvers: Any, settings: Json, status: str, text: str | None) -> None:
    assert told(get(documented(app_with(of_any), *resolvers, **settings))).get(status) == text


async def test_the_settings_show_in_the_document(tmp_path: Any) -> None:
    async with running(make_app(make_tenancy(tmp_path, reveal_inactive=False))) as client:
        document = (await client.get("/openapi.json")).json()
    assert "403" not in get(document, "/whoami")["responses"]


def test_each_refusal_has_its_schema_and_says_when_to_try_again() -> None:
    document = documented(app_with(of_a_tenant), limited=True)
    responses = {status: each for status, each in get(document)["responses"].items() if status != "200"}
    for each in responses.values():
        assert each["content"] == {"application/json": {"schema": {"$ref": "#/components/schemas/TenancyError"}}}
    assert document["components"]["schemas"]["TenancyError"]["required"] == ["detail"]
    assert [status for status, each in responses.items() if "Retry-After" in each.get("headers", {})] == ["429", "503"]


def test_a_central_route_lists_what_it_refuses() -> None:
    app = app_with(of_none, dependencies=[central_route()])
    app.get("/strict", dependencies=[central_route(refuse_tenants=True)])(of_none)
    document = documented(app)
    assert told(get(document)) == {}
    assert told(get(document, "/strict")) == {"400": "This address belongs to no tenant; send the request without one."}


def test_an_operation_of_no_kind_is_left_alone() -> None:
    app = app_with(of_none)
    before = app.openapi()
    assert documented(app) == before


async def test_what_is_really_answered_fits_the_document(on_sqlite: Tenancy) -> None:
    app = app_with(of_a_tenant)
    app.add_middleware(TenancyMiddleware, tenancy=on_sqlite)
    responses = get(documented(app))["responses"]
    await on_sqlite.suspend_tenant("globex")
    async with client_of(app) as client:
        for headers in ({}, named("NO"), named("nobody"), named("globex")):
            answer = await client.get("/x", headers=headers)
            assert str(answer.status_code) in responses
            assert [type(value) for value in answer.json().values()] == [str]
            assert answer.json()["detail"] in responses[str(answer.status_code)]["description"]


class Problem(BaseModel):
    reason: str


def test_what_the_application_says_of_a_response_is_kept() -> None:
    given: Json = {
        404: {"description": "No such note.", "model": Problem},
        503: {"description": "Closed on Sundays."},
        403: {"headers": {"X-Why": {"schema": {"type": "string"}}}},
    }
    responses = get(documented(app_with(of_a_tenant, responses=given)))["responses"]
    assert responses["404"]["description"] == "No such note."
    assert responses["404"]["content"]["application/json"]["schema"] == {"$ref": "#/components/schemas/Problem"}
    assert responses["503"]["description"] == "Closed on Sundays."
    assert responses["503"]["content"]["application/json"]["schema"]["$ref"].endswith("/TenancyError")
    assert list(responses["503"]["headers"]) == ["Retry-After"]
    assert list(responses["403"]["headers"]) == ["X-Why"]


@pytest.mark.parametrize(("covered", "listed"), [("4XX", ["503"]), ("default", []), ("5XX", ["400", "403", "404"])])
def test_a_range_of_the_application_covers_its_statuses(covered: str, listed: list[str]) -> None:
    app = app_with(of_a_tenant, responses={covered: {"description": "A problem.", "model": Problem}})
    responses = get(documented(app))["responses"]
    assert sorted(responses) == sorted(["200", covered, *listed])


def test_a_reference_of_the_application_is_kept() -> None:
    reference = {"$ref": "#/components/responses/Gone"}
    app = app_with(of_a_tenant, openapi_extra={"responses": {"404": reference}, "x-tenancy": "mine"})
    operation = get(documented(app))
    assert operation["responses"]["404"] == reference
    assert operation["x-tenancy"] == "mine"


def test_the_document_is_generated_once() -> None:
    app = app_with(of_a_tenant)
    document = documented(app)
    assert app.openapi() is document


def test_a_route_that_comes_later_is_documented() -> None:
    app = app_with(of_a_tenant)
    document_tenant(app, [HeaderResolver()])
    app.openapi_schema = app.openapi() and None  # as an older FastAPI needs
    app.get("/later")(of_any)
    assert get(app.openapi(), "/later")["x-tenancy"] == "universal"


def test_an_application_that_is_started_again_is_documented_once() -> None:
    app = app_with(of_any)
    first = documented(app, HeaderResolver("X-One"), PathResolver())
    second = documented(app, HeaderResolver("X-Two"), PathResolver())
    assert second["components"]["securitySchemes"]["Tenant"]["name"] == "X-Two"
    assert get(first) == get(second)
    assert first["servers"] == second["servers"]


def test_a_document_of_the_applications_own_is_kept_and_completed() -> None:
    app = app_with(of_a_tenant)

    def own() -> Json:
        if not app.openapi_schema:
            app.openapi_schema = get_openapi(title="Mine", version="7", routes=app.routes)
            app.openapi_schema["info"]["x-logo"] = "logo.png"
        return app.openapi_schema

    app.openapi = own  # type: ignore[method-assign]  # FastAPI's own way
    document = documented(app)
    assert (document["info"]["title"], document["info"]["x-logo"]) == ("Mine", "logo.png")
    assert get(document)["x-tenancy"] == "tenant"
    assert app.openapi() is document


def test_a_document_that_leaves_operations_out_is_completed_as_far_as_it_goes() -> None:
    app = app_with(of_a_tenant)
    app.openapi = lambda: {"openapi": "3.1.0", "info": {"title": "", "version": ""}}  # type: ignore[method-assign]  # FastAPI's own way
    assert set(documented(app)) == {"openapi", "info"}


def test_a_mounted_application_has_its_own_document() -> None:
    app, inner, innermost = app_with(of_any), app_with(of_a_tenant), app_with(of_none, dependencies=[central_route()])
    app.mount("/inner", inner)
    inner.mount("/most", innermost)
    kinds = [get(each)["x-tenancy"] for each in (documented(app), inner.openapi(), innermost.openapi())]
    assert kinds == ["universal", "tenant", "central"]


def test_a_document_read_inside_a_tenant_does_not_change_the_one_outside() -> None:
    app = app_with(of_a_tenant)
    outside = documented(app, PathResolver())
    with tenant_scope(tenant_named()):
        inside = app.openapi()
        assert app.openapi() is inside
    assert len(inside["servers"]) == 1
    assert app.openapi() is outside


async def test_parameters_and_bodies_stay_as_they_are(tmp_path: Any) -> None:
    async def endpoint(tenant: CurrentTenant, q: int, x_user: Annotated[str, Header()], body: Problem) -> Problem:
        raise HTTPException(404)

    app, plain = FastAPI(), FastAPI()
    app.post("/x")(endpoint)
    plain.post("/x")(endpoint)
    with_us, without = documented(app)["paths"]["/x"]["post"], plain.openapi()["paths"]["/x"]["post"]
    for key in ("parameters", "requestBody", "operationId", "summary"):
        assert with_us[key] == without[key]
    assert with_us["responses"].items() >= without["responses"].items()
