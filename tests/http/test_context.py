"""The current tenant is right wherever the application runs, and gone after."""

import asyncio
from pathlib import Path

import pytest
from fastapi import BackgroundTasks, WebSocket
from fastapi.responses import StreamingResponse
from sqlalchemy import select
from starlette.applications import Starlette
from starlette.responses import JSONResponse
from starlette.routing import Route
from starlette.testclient import TestClient, WebSocketDenialResponse
from starlette.websockets import WebSocketDisconnect
from support import Note, add_notes, make_app, make_tenancy, named, running

from fastapi_tenancy import (
    CurrentTenant,
    HeaderResolver,
    TenancyMiddleware,
    TenantNotSpecifiedError,
    TenantSession,
    current_tenant,
    tenant_scope,
)
from fastapi_tenancy.testing import tenant_named


def test_without_a_tenant_it_refuses() -> None:
    with pytest.raises(TenantNotSpecifiedError, match=r"tenancy\.use"):
        current_tenant()


def test_a_scope_nests_and_ends() -> None:
    one = tenant_named()
    with tenant_scope(one):
        with tenant_scope(None), pytest.raises(TenantNotSpecifiedError):
            current_tenant()
        assert current_tenant() is one
    with pytest.raises(TenantNotSpecifiedError):
        current_tenant()


async def test_tasks_that_run_at_the_same_time_keep_their_own_tenant(tmp_path: Path) -> None:
    tenancy = make_tenancy(tmp_path)
    async with tenancy:
        for name in ("acme", "globex"):
            await tenancy.create_tenant(name)

        async def seen_by(name: str) -> set[str]:
            async with tenancy.use(name):
                seen = set()
                for _ in range(10):
                    await asyncio.sleep(0)
                    seen.add(current_tenant().identifier)
                return seen

        assert await asyncio.gather(seen_by("acme"), seen_by("globex")) == [{"acme"}, {"globex"}]


async def test_it_is_right_in_sync_endpoints_background_tasks_and_streams(tmp_path: Path) -> None:
    tenancy = make_tenancy(tmp_path)
    app = make_app(tenancy)
    in_background: list[str] = []

    @app.get("/sync")
    def sync_endpoint() -> str:
        return current_tenant().identifier

    @app.get("/background")
    async def background(tasks: BackgroundTasks) -> None:
        tasks.add_task(lambda: in_background.append(current_tenant().identifier))

    @app.get("/stream")
    async def stream(tenant: CurrentTenant, session: TenantSession) -> StreamingResponse:
        async def lines():
            for text in await session.scalars(select(Note.text)):
                yield f"{current_tenant().identifier}:{text}\n"

        return StreamingResponse(lines())

    async with running(app) as client:
        for name in ("acme", "globex"):
            await tenancy.create_tenant(name)
            await add_notes(tenancy, name, f"of {name}")
        for name in ("acme", "globex"):
            assert (await client.get("/sync", headers=named(name))).json() == name
            assert (await client.get("/stream", headers=named(name))).text == f"{name}:of {name}\n"
            await client.get("/background", headers=named(name))
        with pytest.raises(TenantNotSpecifiedError):
            current_tenant()
    assert in_background == ["acme", "globex"]


async def test_a_request_without_a_tenant_does_not_inherit_the_callers(tmp_path: Path) -> None:
    tenancy = make_tenancy(tmp_path)
    app = make_app(tenancy)

    @app.get("/context")
    async def context() -> str:
        return current_tenant().identifier

    async with running(app) as client:
        await tenancy.create_tenant("acme")
        async with tenancy.use("acme"):
            assert (await client.get("/context")).status_code == 400


def test_websockets_have_a_tenant_and_a_session(tmp_path: Path) -> None:
    tenancy = make_tenancy(tmp_path)
    app = make_app(tenancy)

    @app.post("/tenants")
    async def create() -> None:
        await tenancy.create_tenant("acme")

    @app.websocket("/ws")
    async def talk(socket: WebSocket, tenant: CurrentTenant, session: TenantSession) -> None:
        await socket.accept()
        notes = (await session.scalars(select(Note))).all()
        await socket.send_json([tenant.identifier, current_tenant().identifier, len(notes)])
        await socket.close()

    with TestClient(app) as client:
        client.post("/tenants")
        with client.websocket_connect("/ws", headers=named("acme")) as socket:
            assert socket.receive_json() == ["acme", "acme", 0]


@pytest.mark.parametrize(("headers", "status"), [({}, 400), (named("nobody"), 404), (named("NO"), 400)])
def test_a_refused_websocket_gets_the_denial_response(tmp_path: Path, headers: dict[str, str], status: int) -> None:
    app = make_app(make_tenancy(tmp_path))

    @app.websocket("/ws")
    async def talk(socket: WebSocket, tenant: CurrentTenant) -> None:
        await socket.accept()

    with TestClient(app) as client:
        with pytest.raises(WebSocketDenialResponse) as refused, client.websocket_connect("/ws", headers=headers):
            pass
        assert refused.value.status_code == status
        assert set(refused.value.json()) == {"detail"}


@pytest.mark.parametrize("headers", [{}, named("nobody")])
def test_a_server_without_denial_responses_closes_with_1008(tmp_path: Path, headers: dict[str, str]) -> None:
    app = make_app(make_tenancy(tmp_path))

    @app.websocket("/ws")
    async def talk(socket: WebSocket, tenant: CurrentTenant) -> None:
        await socket.accept()

    async def older_server(scope, receive, send):
        scope.pop("extensions", None)
        await app(scope, receive, send)

    with TestClient(older_server) as client:
        with pytest.raises(WebSocketDisconnect) as refused, client.websocket_connect("/ws", headers=headers):
            pass
        assert refused.value.code == 1008


async def test_plain_starlette_works_without_fastapi(tmp_path: Path) -> None:
    tenancy = make_tenancy(tmp_path, resolvers=[HeaderResolver()])

    async def whoami(request):
        async with request.state.tenancy.lease(current_tenant()) as profile:
            return JSONResponse([request.state.tenant.identifier, profile.tenant.identifier])

    app = Starlette(routes=[Route("/whoami", whoami)], lifespan=tenancy.lifespan)
    app.add_middleware(TenancyMiddleware, tenancy=tenancy)
    async with running(app) as client:
        await tenancy.create_tenant("acme")
        assert (await client.get("/whoami", headers=named("acme"))).json() == ["acme", "acme"]
        assert (await client.get("/whoami")).status_code == 400
