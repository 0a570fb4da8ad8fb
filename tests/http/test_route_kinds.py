"""A route is a tenant's, a central one or both, and is served accordingly."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated, Any

import pytest
from fastapi import APIRouter, BackgroundTasks, Depends, FastAPI, Request, Security, WebSocket, routing
from fastapi.responses import StreamingResponse
from fastapi.security import SecurityScopes
from starlette.testclient import TestClient, WebSocketDenialResponse
from support import client_of, make_tenancy, named

from fastapi_tenancy import (
    ConfigurationError,
    CurrentProfile,
    CurrentTenant,
    HeaderResolver,
    OptionalTenant,
    Tenancy,
    TenancyMiddleware,
    Tenant,
    TenantNotSpecifiedError,
    TenantSession,
    TenantSyncTransaction,
    central_route,
    current_tenant,
    tenant_route,
    universal_route,
)
from fastapi_tenancy.openapi import document_tenant

MARKS = {
    "tenant": tenant_route,
    "central": central_route,
    "central, strict": lambda: central_route(refuse_tenants=True),
    "universal": universal_route,
}

# What a request gets: without a tenant, and with one.
STATUSES = {"tenant": (400, 200), "central": (200, 200), "central, strict": (200, 400), "universal": (200, 200)}


def app_of(tenancy: Tenancy, **given: Any) -> FastAPI:
    app = FastAPI(**given)
    app.add_middleware(TenancyMiddleware, tenancy=tenancy)
    return app


def seen_in_context() -> str | None:
    try:
        return current_tenant().identifier
    except TenantNotSpecifiedError:
        return None


async def seen(request: Request, tenant: OptionalTenant) -> list[str | None]:
    """The tenant in each place where an endpoint may look for it."""
    state: Tenant | None = request.state.tenant
    return [tenant and tenant.identifier, state and state.identifier, seen_in_context()]


@pytest.mark.parametrize("kind", MARKS)
@pytest.mark.parametrize("place", ["route", "router", "inclusion", "application"])
async def test_a_mark_works_wherever_dependencies_can_stand(on_sqlite: Tenancy, kind: str, place: str) -> None:
    def mark(here: str) -> list[Any]:
        return [MARKS[kind]()] if here == place else []

    app = app_of(on_sqlite, dependencies=mark("application"))
    router = APIRouter(dependencies=mark("router"))
    router.get("/seen", dependencies=mark("route"))(lambda: None)
    app.include_router(router, dependencies=mark("inclusion"))
    async with client_of(app) as client:
        answers = await client.get("/seen"), await client.get("/seen", headers=named("acme"))
    assert tuple(each.status_code for each in answers) == STATUSES[kind]


@pytest.mark.parametrize("kind", MARKS)
async def test_a_mark_works_for_a_websocket(on_sqlite: Tenancy, kind: str) -> None:
    app = app_of(on_sqlite)

    @app.websocket("/ws", dependencies=[MARKS[kind]()])
    async def talk(socket: WebSocket, tenant: OptionalTenant) -> None:
        await socket.accept()
        await socket.send_json([tenant and tenant.identifier, seen_in_context()])

    def status(headers: dict[str, str], expected: str | None) -> int:
        try:
            with TestClient(app).websocket_connect("/ws", headers=headers) as socket:
                assert socket.receive_json() == [expected, expected]
                return 200
        except WebSocketDenialResponse as refused:
            return refused.status_code

    await on_sqlite.directory.find("acme")  # remembered, since the client has another event loop
    visible = None if kind == "central" else "acme"
    assert (status({}, None), status(named("acme"), visible)) == STATUSES[kind]


async def test_a_refusal_says_what_is_wrong(on_sqlite: Tenancy) -> None:
    app = app_of(on_sqlite)
    app.get("/tenant", dependencies=[tenant_route()])(lambda: None)
    app.get("/central", dependencies=[central_route(refuse_tenants=True)])(lambda: None)
    async with client_of(app) as client:
        assert (await client.get("/tenant")).json() == {"detail": "No tenant was named in the request."}
        assert (await client.get("/central", headers=named("acme"))).json() == {
            "detail": "This address belongs to no tenant; send the request without one."
        }


async def test_a_tenant_route_is_refused_before_it_runs(on_sqlite: Tenancy) -> None:
    app, ran = app_of(on_sqlite), []
    app.get("/", dependencies=[tenant_route(), Depends(lambda: ran.append("dependency"))])(lambda: ran.append("route"))
    async with client_of(app) as client:
        await client.get("/")
    assert ran == []


async def test_a_central_route_finds_no_tenant_anywhere(on_sqlite: Tenancy) -> None:
    app, background = app_of(on_sqlite), []

    @app.get("/async", dependencies=[central_route()])
    async def in_a_coroutine(seen: Annotated[list, Depends(seen)], tasks: BackgroundTasks) -> list:
        tasks.add_task(lambda: background.append(seen_in_context()))
        return [*seen, seen_in_context()]

    @app.get("/sync", dependencies=[central_route()])
    def in_a_thread(seen: Annotated[list, Depends(seen)]) -> list:
        return [*seen, seen_in_context()]

    @app.get("/stream", dependencies=[central_route()])
    async def in_a_stream() -> StreamingResponse:
        async def lines():
            yield f"{seen_in_context()}"

        return StreamingResponse(lines())

    async with client_of(app) as client:
        for path in ("/async", "/sync"):
            assert (await client.get(path, headers=named("acme"))).json() == [None] * 4
        assert (await client.get("/stream", headers=named("acme"))).text == "None"
    assert background == [None]


async def test_a_tenant_that_was_asked_for_earlier_is_hidden_all_the_same(on_sqlite: Tenancy) -> None:
    async def audit(tenant: OptionalTenant) -> None: ...

    app = app_of(on_sqlite, dependencies=[Depends(audit)])
    app.get("/", dependencies=[central_route()])(seen)
    async with client_of(app) as client:
        assert (await client.get("/", headers=named("acme"))).json() == [None, None, None]


async def test_what_is_outside_of_a_central_route_has_its_tenant_again(on_sqlite: Tenancy) -> None:
    app, after = FastAPI(), []

    @app.get("/", dependencies=[central_route()])
    async def fails() -> None:
        raise RuntimeError

    async def logging(scope, receive, send):
        try:
            await app(scope, receive, send)
        finally:
            after.append((scope["state"]["tenant"].identifier, seen_in_context()))

    async with client_of(TenancyMiddleware(logging, tenancy=on_sqlite), raise_app_exceptions=False) as client:
        assert (await client.get("/", headers=named("acme"))).status_code == 500
    assert after == [("acme", "acme")]


@pytest.mark.parametrize("strict_first", [True, False])
async def test_of_two_central_marks_the_stricter_one_holds(on_sqlite: Tenancy, strict_first: bool) -> None:
    app, router = app_of(on_sqlite), APIRouter(dependencies=[central_route(refuse_tenants=not strict_first)])
    router.get("/")(seen)
    app.include_router(router, dependencies=[central_route(refuse_tenants=strict_first)])
    async with client_of(app) as client:
        assert (await client.get("/", headers=named("acme"))).status_code == 400
        assert (await client.get("/")).status_code == 200


async def test_a_universal_route_has_the_tenant_if_there_is_one(on_sqlite: Tenancy) -> None:
    app = app_of(on_sqlite)
    app.get("/", dependencies=[universal_route()])(seen)
    async with client_of(app) as client:
        assert (await client.get("/", headers=named("acme"))).json() == ["acme"] * 3
        assert (await client.get("/")).json() == [None] * 3


async def test_a_router_that_is_included_twice_can_be_of_two_kinds(on_sqlite: Tenancy) -> None:
    app, router = app_of(on_sqlite), APIRouter()
    router.get("/seen")(seen)
    app.include_router(router, prefix="/central", dependencies=[central_route()])
    app.include_router(router, prefix="/tenant", dependencies=[tenant_route()])
    document_tenant(app, [HeaderResolver()])
    async with client_of(app) as client:
        assert (await client.get("/central/seen", headers=named("acme"))).json() == [None] * 3
        assert (await client.get("/tenant/seen", headers=named("acme"))).json() == ["acme"] * 3


async def needs_tenant(tenant: CurrentTenant) -> None: ...


async def needs_it_deep_down(_: Annotated[None, Depends(needs_tenant)]) -> None: ...


async def with_scopes(scopes: SecurityScopes, profile: CurrentProfile) -> None: ...


async def with_a_session(session: TenantSession) -> None: ...


async def with_a_tenant(tenant: CurrentTenant) -> None: ...


def in_a_thread(session: TenantSyncTransaction) -> None: ...


async def plain() -> None: ...


@contextmanager
def refused(app: FastAPI, message: str) -> Iterator[None]:
    yield
    with pytest.raises(ConfigurationError, match=message):
        document_tenant(app, [HeaderResolver()])


@pytest.mark.parametrize("mark", [central_route, universal_route])
@pytest.mark.parametrize("endpoint", [with_a_tenant, with_a_session, in_a_thread])
def test_an_unfit_endpoint_is_told(mark: Any, endpoint: Any) -> None:
    with refused(
        app := FastAPI(), "^GET /x is a (central|tenant) route and a (tenant|universal) route; mark it as one"
    ):
        app.get("/x", dependencies=[mark()])(endpoint)


@pytest.mark.parametrize(
    "dependency", [Depends(needs_tenant), Depends(needs_it_deep_down), Security(with_scopes, scopes=["read"])]
)
def test_an_unfit_dependency_is_told(dependency: Any) -> None:
    with refused(app := FastAPI(), "^DELETE /x is a central route and a tenant route"):
        app.delete("/x", dependencies=[central_route(), dependency])(plain)


@pytest.mark.parametrize(
    ("outer", "inner"),
    [(one, other) for one in MARKS for other in MARKS if one.partition(",")[0] != other.partition(",")[0]],
)
def test_two_marks_that_differ_are_told(outer: str, inner: str) -> None:
    router = APIRouter(prefix="/outer", dependencies=[MARKS[outer]()])
    nested = APIRouter(prefix="/inner")
    nested.post("/x", dependencies=[MARKS[inner]()])(plain)
    with refused(app := FastAPI(), "^POST /outer/inner/x is a "):
        router.include_router(nested)
        app.include_router(router)


def test_a_mark_that_comes_with_an_inclusion_is_told() -> None:
    router = APIRouter()
    router.get("/x")(with_a_tenant)
    with refused(app := FastAPI(), "^GET /second/x is"):
        app.include_router(router, prefix="/first")
        app.include_router(router, prefix="/second", dependencies=[central_route()])


def test_an_unfit_websocket_is_told() -> None:
    router = APIRouter(prefix="/outer", dependencies=[central_route()])

    @router.websocket("/ws")
    async def talk(socket: WebSocket, tenant: CurrentTenant) -> None: ...

    with refused(app := FastAPI(), "^WebSocket /outer/ws is"):
        app.include_router(router)


@pytest.mark.parametrize("mounted", [FastAPI(), APIRouter()])
def test_a_mistake_in_what_is_mounted_is_told_with_its_path(mounted: Any) -> None:
    mounted.get("/x", dependencies=[central_route()])(with_a_tenant)
    with refused(app := FastAPI(), "^GET /mounted/x is"):
        app.mount("/mounted", mounted)


@pytest.mark.skipif(not hasattr(routing, "iter_route_contexts"), reason="an older FastAPI drops what a router mounts")
def test_a_mistake_in_what_an_included_router_mounts_is_told() -> None:
    mounted, router = FastAPI(), APIRouter()
    mounted.get("/x", dependencies=[central_route()])(with_a_tenant)
    router.mount("/mounted", mounted)
    with refused(app := FastAPI(), "^GET /api/mounted/x is"):
        app.include_router(router, prefix="/api")


def test_a_route_that_is_not_in_the_document_is_checked_too() -> None:
    with refused(app := FastAPI(), "^GET /hidden is"):
        app.get("/hidden", include_in_schema=False, dependencies=[central_route()])(with_a_tenant)


async def test_the_application_does_not_start_with_a_mistake(tmp_path: Any) -> None:
    tenancy = make_tenancy(tmp_path)
    app = FastAPI(lifespan=tenancy.lifespan)
    app.get("/x", dependencies=[central_route()])(with_a_session)
    with pytest.raises(ConfigurationError, match="GET /x"):
        async with tenancy.lifespan(app):
            pass


@pytest.mark.parametrize("mark", MARKS.values())
def test_an_optional_tenant_fits_all(mark: Any) -> None:
    app = FastAPI()
    app.get("/x", dependencies=[mark()])(seen)
    document_tenant(app, [HeaderResolver()])


def test_the_same_mark_twice_is_no_mistake() -> None:
    app, router = FastAPI(), APIRouter(dependencies=[tenant_route()])
    router.get("/x", dependencies=[tenant_route()])(with_a_session)
    app.include_router(router, dependencies=[tenant_route()])
    document_tenant(app, [HeaderResolver()])
