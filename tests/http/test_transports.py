"""Tenants over everything that carries a request: servers, protocols, streams, frameworks, other middleware."""

import asyncio
import json
from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx2 as httpx
import hypercorn.asyncio
import pytest
import uvicorn
import websockets
from fastapi import BackgroundTasks, FastAPI, Request, WebSocket
from fastapi.exception_handlers import http_exception_handler
from fastapi.responses import StreamingResponse
from fastapi.sse import EventSourceResponse
from servers.process import free_port
from sqlalchemy import select
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.base import BaseHTTPMiddleware
from starlette.middleware.gzip import GZipMiddleware
from starlette.responses import JSONResponse
from starlette.routing import Mount, Route, WebSocketRoute
from starlette.testclient import TestClient, WebSocketDenialResponse
from starlette.websockets import WebSocketDisconnect
from support import Note, add_notes, client_of, make_app, make_tenancy, named
from uvicorn.lifespan.off import LifespanOff

from fastapi_tenancy import (
    CookieResolver,
    CurrentTenant,
    HeaderResolver,
    InMemoryTenantStore,
    PathResolver,
    SubdomainResolver,
    Tenancy,
    TenancyMiddleware,
    TenantSession,
    TenantTransaction,
    closed_when_inactive,
    current_tenant,
    tenant_scope,
    while_active,
)

RESOLVERS = (HeaderResolver("X-Tenant-ID"), SubdomainResolver("example.com"), PathResolver("/t"))

STREAMS = ("/events", "/stream")

PATIENCE = 10  # seconds


@pytest.fixture
async def tenancy(tmp_path: Path) -> AsyncIterator[Tenancy]:
    """With acme and globex, a note of each, and all the time in the world for what is leased."""
    store = InMemoryTenantStore()
    async with make_tenancy(tmp_path, resolvers=RESOLVERS, store=store, shutdown_timeout=3600) as tenancy:
        for name in ("acme", "globex"):
            await tenancy.create_tenant(name)
            await add_notes(tenancy, name, f"of {name}")
        yield tenancy


class Steps:
    """Lets the generators that stream to tenants go on when the test says so."""

    def __init__(self) -> None:
        self._of: dict[str, asyncio.Queue[str]] = {}

    def of(self, identifier: str) -> asyncio.Queue[str]:
        return self._of.setdefault(identifier, asyncio.Queue())

    async def notes(self, session: Any) -> AsyncIterator[str]:
        """At each step of the current tenant, who it is and what it reads in `session`."""
        while step := await self.of(current_tenant().identifier).get():
            [note] = await session.scalars(select(Note.text))
            yield f"{step}: {current_tenant().identifier} reads {note}"


@pytest.fixture
def steps() -> Steps:
    return Steps()


def with_link(app: FastAPI) -> FastAPI:
    @app.get("/link")
    async def link(request: Request, tenant: CurrentTenant) -> str:
        return str(request.url_for("whoami"))

    return app


@pytest.fixture
def app(tenancy: Tenancy, steps: Steps) -> FastAPI:
    """One route for each way to answer for long."""
    app = with_link(make_app(tenancy))

    @app.websocket("/live")
    async def live(websocket: WebSocket, session: TenantSession) -> None:
        await websocket.accept()
        async with closed_when_inactive(websocket):
            async for text in websocket.iter_text():
                [note] = await session.scalars(select(Note.text))
                await websocket.send_text(f"{text}: {current_tenant().identifier} reads {note}")

    @app.get("/events", response_class=EventSourceResponse)
    async def events(request: Request, session: TenantSession) -> AsyncIterable[str]:
        async for text in while_active(request, steps.notes(session)):
            yield text

    @app.get("/stream")
    async def stream(request: Request, session: TenantSession) -> StreamingResponse:
        lines = (f"{text}\n" async for text in steps.notes(session))
        return StreamingResponse(while_active(request, lines), media_type="text/plain")

    return app


@asynccontextmanager
async def on_uvicorn(app: Any, **config: Any) -> AsyncIterator[str]:
    """The address of the application on a real server; its Tenancy is open already."""
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_level="error", **config))
    server.config.load()
    server.lifespan = LifespanOff(server.config)
    await server.startup()  # `serve` would look every 0.1 s whether it is over
    try:
        host, port = server.servers[0].sockets[0].getsockname()
        yield f"{host}:{port}"
    finally:
        await server.shutdown()


@asynccontextmanager
async def streaming(app: Any) -> AsyncIterator[httpx.AsyncClient]:
    """A client that reads what such a server sends as it comes."""
    async with on_uvicorn(app) as address, httpx.AsyncClient(base_url=f"http://{address}") as client:
        yield client


@asynccontextmanager
async def on_hypercorn(app: Any, **given: Any) -> AsyncIterator[httpx.AsyncClient]:
    """A client that speaks HTTP/2 to the application on a real server, without TLS."""
    config = hypercorn.Config.from_mapping(bind=[f"127.0.0.1:{free_port()}"], loglevel="ERROR", **given)
    done = asyncio.Event()
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(hypercorn.asyncio.serve(app, config, shutdown_trigger=done.wait))
        async with httpx.AsyncClient(http1=False, http2=True, base_url=f"http://{config.bind[0]}") as client:
            while await refuses_connections(client):
                await asyncio.sleep(0)
            yield client
        done.set()


async def refuses_connections(client: httpx.AsyncClient) -> bool:
    try:
        await client.get("/health")
    except httpx.ConnectError:
        return True
    return False


def texts(response: httpx.Response) -> AsyncIterator[str]:
    """What was streamed, be it as events or as lines."""
    return (line.removeprefix("data: ").strip('"') async for line in response.aiter_lines() if line)


async def until(true: Callable[[], bool]) -> None:
    """Wait for what the server has still to notice."""
    async with asyncio.timeout(PATIENCE):
        while not true():
            await asyncio.sleep(0)


def is_idle(tenancy: Tenancy) -> bool:
    """Whether nothing is leased, checked out or watched."""
    stats = tenancy.stats()
    return stats["managers"]["MultitenantManager"]["leased"] == 0 == stats["watched"]["watchers"]


async def test_a_websocket_is_served_for_the_tenant_of_its_handshake(app: FastAPI) -> None:
    async with (
        on_uvicorn(app) as address,
        websockets.connect(f"ws://{address}/live", additional_headers=named("acme")) as acme,
        websockets.connect(f"ws://{address}/t/globex/live") as globex,
    ):
        for text in ("one", "two"):
            await acme.send(text)
            await globex.send(text)
            assert await acme.recv() == f"{text}: acme reads of acme"
            assert await globex.recv() == f"{text}: globex reads of globex"


REFUSED = [
    (named("AC ME"), 400, "The tenant identifier is malformed."),
    (named("nobody"), 404, "Unknown tenant."),
    (named("globex"), 403, "The tenant is suspended."),
    ({}, 400, "No tenant was named in the request."),
]


async def test_a_refused_websocket_gets_status_and_detail_in_the_handshake(app: FastAPI, tenancy: Tenancy) -> None:
    await tenancy.suspend_tenant("globex")
    async with on_uvicorn(app) as address:
        for headers, status, detail in REFUSED:
            with pytest.raises(websockets.InvalidStatus) as refused:
                await websockets.connect(f"ws://{address}/live", additional_headers=headers)
            response = refused.value.response
            assert (response.status_code, json.loads(response.body)) == (status, {"detail": detail})


@pytest.mark.parametrize("identifier", ["nobody", ""])
async def test_a_server_without_denial_responses_closes_a_refused_websocket(app: FastAPI, identifier: str) -> None:
    sent: list[dict[str, Any]] = []

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    async def receive() -> dict[str, Any]:
        return {"type": "websocket.connect"}

    headers = [(b"x-tenant-id", identifier.encode())] if identifier else []
    scope = {"type": "websocket", "path": "/live", "query_string": b"", "headers": headers, "subprotocols": []}
    await app(scope, receive, send)
    assert sent == [{"type": "websocket.close", "code": 1008}]


async def test_a_websocket_of_a_tenant_that_is_suspended_is_closed_with_1008(app: FastAPI, tenancy: Tenancy) -> None:
    async with on_uvicorn(app) as address, websockets.connect(f"ws://{address}/t/acme/live") as socket:
        await socket.send("hello")
        await socket.recv()
        await tenancy.suspend_tenant("acme")
        with pytest.raises(websockets.ConnectionClosed) as closed:
            await socket.recv()
    assert (closed.value.rcvd.code, closed.value.rcvd.reason) == (1008, "The tenant is suspended.")
    assert is_idle(tenancy)


async def test_a_websocket_gives_way_to_the_tenants_deletion(app: FastAPI, tenancy: Tenancy) -> None:
    async with on_uvicorn(app) as address, websockets.connect(f"ws://{address}/t/acme/live") as socket:
        await socket.send("hello")
        await socket.recv()
        assert not is_idle(tenancy)
        async with asyncio.timeout(PATIENCE):  # it would wait an hour for what is leased
            await tenancy.delete_tenant("acme", drop_data=True)


@pytest.mark.parametrize("path", STREAMS)
async def test_a_stream_gives_way_to_the_tenants_deletion(
    app: FastAPI, tenancy: Tenancy, steps: Steps, path: str
) -> None:
    async with streaming(app) as client, client.stream("GET", path, headers=named("acme")) as response:
        steps.of("acme").put_nowait("one")
        await anext(texts(response))
        assert not is_idle(tenancy)
        async with asyncio.timeout(PATIENCE):
            await tenancy.delete_tenant("acme", drop_data=True)


@pytest.mark.parametrize("path", STREAMS)
async def test_a_stream_is_sent_as_it_comes_with_the_tenant_and_its_session(
    app: FastAPI, steps: Steps, path: str
) -> None:
    async with streaming(app) as client, client.stream("GET", path, headers=named("acme")) as response:
        got = texts(response)
        for step in ("one", "two"):
            steps.of("acme").put_nowait(step)  # nothing of it could be sent before
            assert await anext(got) == f"{step}: acme reads of acme"
        steps.of("acme").put_nowait("")
        assert [text async for text in got] == []


@pytest.mark.parametrize("path", STREAMS)
async def test_streams_of_two_tenants_see_only_their_own(app: FastAPI, steps: Steps, path: str) -> None:
    async with (
        streaming(app) as client,
        client.stream("GET", path, headers=named("acme")) as acme,
        client.stream("GET", path, headers=named("globex")) as globex,
    ):
        streams = {"acme": texts(acme), "globex": texts(globex)}
        for step in range(6):
            for name in streams:
                steps.of(name).put_nowait(f"step {step}")
            for name, got in streams.items():
                assert await anext(got) == f"step {step}: {name} reads of {name}"


@pytest.mark.parametrize("path", STREAMS)
async def test_a_client_that_leaves_a_stream_leaves_nothing_behind(
    app: FastAPI, tenancy: Tenancy, steps: Steps, path: str
) -> None:
    async with streaming(app) as client:
        async with client.stream("GET", path, headers=named("acme")) as response:
            steps.of("acme").put_nowait("one")
            await anext(texts(response))
            assert not is_idle(tenancy)
        await until(lambda: is_idle(tenancy))


async def test_a_websocket_that_is_left_leaves_nothing_behind(app: FastAPI, tenancy: Tenancy) -> None:
    async with on_uvicorn(app) as address:
        async with websockets.connect(f"ws://{address}/t/acme/live"):
            await until(lambda: not is_idle(tenancy))
        await until(lambda: is_idle(tenancy))


@pytest.mark.parametrize("path", STREAMS)
async def test_a_stream_of_a_tenant_that_is_suspended_ends(
    app: FastAPI, tenancy: Tenancy, steps: Steps, path: str
) -> None:
    async with streaming(app) as client:
        async with client.stream("GET", path, headers=named("acme")) as response:
            got = texts(response)
            steps.of("acme").put_nowait("one")
            await anext(got)
            await tenancy.suspend_tenant("acme")
            assert [text async for text in got] == []
        assert (await client.get(path, headers=named("acme"))).status_code == 403


async def test_a_transaction_is_over_before_a_streaming_response_begins(tenancy: Tenancy) -> None:
    app = make_app(tenancy)

    @app.get("/stream")
    async def stream(session: TenantTransaction) -> StreamingResponse:
        async def lines() -> AsyncIterator[str]:
            yield str(session.in_transaction())

        await session.scalars(select(Note.text))
        assert session.in_transaction()
        return StreamingResponse(lines())

    async with client_of(app) as client:
        assert (await client.get("/stream", headers=named("acme"))).text == "False"


NAMED = [
    ("/whoami", [("X-Tenant-ID", "acme")]),
    ("/t/acme/whoami", []),
    ("/whoami", [("Host", "acme.example.com")]),  # sent as ":authority"
    ("/whoami", [("Cookie", "theme=dark"), ("Cookie", "tenant=acme")]),
]


async def test_http_2_names_the_tenant_in_every_way(tmp_path: Path) -> None:
    tenancy = make_tenancy(tmp_path, resolvers=[*RESOLVERS, CookieResolver("tenant")])
    async with on_hypercorn(make_app(tenancy)) as client:
        await tenancy.create_tenant("acme")
        for url, headers in NAMED:
            answer = await client.get(url, headers=headers)
            assert (answer.http_version, answer.json()) == ("HTTP/2", {"tenant": "acme"})
        twice = await client.get("/whoami", headers=[("Cookie", "tenant=acme"), ("Cookie", "tenant=globex")])
        assert twice.status_code == 400


async def test_http_2_requests_of_one_connection_do_not_mix(tmp_path: Path) -> None:
    tenancy = make_tenancy(tmp_path)
    app = make_app(tenancy)
    arrived = asyncio.Barrier(2)

    @app.get("/together")
    async def together(tenant: CurrentTenant) -> list[str]:
        await arrived.wait()
        return [tenant.identifier, current_tenant().identifier]

    async with on_hypercorn(app) as client:
        names = ("acme", "globex")
        for name in names:
            await tenancy.create_tenant(name)
        for _ in range(5):
            answers = await asyncio.gather(*(client.get("/together", headers=named(name)) for name in names))
            assert [answer.json() for answer in answers] == [["acme", "acme"], ["globex", "globex"]]


def http_scope(path: str, *headers: tuple[bytes, bytes], **given: Any) -> dict[str, Any]:
    return {
        "type": "http",
        "http_version": "2",
        "method": "GET",
        "path": path,
        "query_string": b"",
        "root_path": "",
        "headers": list(headers),
        **given,
    }


@pytest.mark.parametrize("headers", [[], [(b"host", b"")], [(b"host", b":8000")]])
async def test_a_request_without_a_host_names_no_subdomain(
    tenancy: Tenancy, headers: list[tuple[bytes, bytes]]
) -> None:
    statuses: list[int] = []

    async def send(message: dict[str, Any]) -> None:
        statuses.append(message.get("status", 0))

    await make_app(tenancy)(http_scope("/whoami", *headers), None, send)
    assert statuses[0] == 400


async def test_below_a_root_path_of_uvicorn_the_prefix_is_found_and_kept(app: FastAPI) -> None:
    async with on_uvicorn(app, root_path="/app") as address, httpx.AsyncClient(base_url=f"http://{address}") as client:
        assert (await client.get("/t/acme/whoami")).json() == {"tenant": "acme"}
        assert (await client.get("/t/acme/link")).json() == f"http://{address}/app/t/acme/whoami"
        async with websockets.connect(f"ws://{address}/t/acme/live") as socket:
            await socket.send("hello")
            assert await socket.recv() == "hello: acme reads of acme"


async def test_below_a_root_path_of_hypercorn_too(tmp_path: Path) -> None:
    """Its path does not hold the root path, as when a proxy strips it and FastAPI is told with `root_path=`."""
    tenancy = make_tenancy(tmp_path, resolvers=RESOLVERS)
    async with on_hypercorn(with_link(make_app(tenancy)), root_path="/app") as client:
        await tenancy.create_tenant("acme")
        assert (await client.get("/t/acme/whoami")).json() == {"tenant": "acme"}
        assert (await client.get("/t/acme/link")).json() == f"{client.base_url}/app/t/acme/whoami"


@pytest.mark.parametrize("start", ["", "/app"])
async def test_below_a_root_path_of_fastapi_whether_a_proxy_strips_it_or_not(app: FastAPI, start: str) -> None:
    app.root_path = "/app"
    async with client_of(app) as client:
        assert (await client.get(f"{start}/t/acme/link")).json() == "http://testserver/app/t/acme/whoami"


async def whoami(request: Request) -> JSONResponse:
    assert request.state.tenant is current_tenant()
    return JSONResponse({"tenant": current_tenant().identifier, "link": str(request.url_for("whoami"))})


INNER = [Route("/whoami", whoami, name="whoami")]


async def test_the_prefix_is_found_and_kept_around_a_mounted_application(tenancy: Tenancy) -> None:
    middleware = [Middleware(TenancyMiddleware, tenancy=tenancy)]
    outer = Starlette(routes=[Mount("/inner", Starlette(routes=INNER))], middleware=middleware)
    async with client_of(outer) as client:
        assert (await client.get("/t/acme/inner/whoami")).json() == {
            "tenant": "acme",
            "link": "http://testserver/t/acme/inner/whoami",
        }


async def test_the_prefix_is_found_inside_a_mounted_application(tenancy: Tenancy) -> None:
    inner = Starlette(routes=INNER, middleware=[Middleware(TenancyMiddleware, tenancy=tenancy)])
    async with client_of(Starlette(routes=[Mount("/inner", inner)])) as client:
        answer = (await client.get("/inner/t/acme/whoami")).json()
    # Starlette makes links from the outermost application, which knows of no prefix.
    assert answer == {"tenant": "acme", "link": "http://testserver/inner/whoami"}


async def test_a_middleware_inside_a_mounted_application_leaves_the_others_alone(tenancy: Tenancy) -> None:
    async def is_scoped(request: Request) -> JSONResponse:
        return JSONResponse("tenant" in request.state)

    inner = Starlette(routes=INNER, middleware=[Middleware(TenancyMiddleware, tenancy=tenancy, required=True)])
    outer = Starlette(routes=[Mount("/inner", inner), Route("/outside", is_scoped)])
    async with client_of(outer) as client:
        assert (await client.get("/inner/whoami")).status_code == 400
        assert (await client.get("/inner/whoami", headers=named("acme"))).json()["tenant"] == "acme"
        assert (await client.get("/outside", headers=named("nobody"))).json() is False


def starlette_app(tenancy: Tenancy, **given: Any) -> Starlette:
    """An application without FastAPI."""

    async def notes(request: Request) -> JSONResponse:
        async with request.state.tenancy.lease(current_tenant()) as profile, profile.session() as session:
            return JSONResponse(list(await session.scalars(select(Note.text))))

    async def notes_of(request: Request) -> JSONResponse:
        async with request.state.tenancy.use(request.path_params["name"]) as profile, profile.session() as session:
            return JSONResponse([current_tenant().identifier, *await session.scalars(select(Note.text))])

    async def live(websocket: WebSocket) -> None:
        current_tenant()
        await websocket.accept()
        async with closed_when_inactive(websocket):
            async for text in websocket.iter_text():
                await websocket.send_text(f"{text}: {current_tenant().identifier}")

    return Starlette(
        routes=[
            *INNER,
            Route("/notes", notes, methods=["GET", "POST"]),
            Route("/notes-of/{name}", notes_of),
            WebSocketRoute("/live", live),
        ],
        middleware=[Middleware(TenancyMiddleware, tenancy=tenancy)],
        **given,
    )


async def test_starlette_without_fastapi_reads_the_tenants_rows(tenancy: Tenancy) -> None:
    async with client_of(starlette_app(tenancy)) as client:
        assert (await client.get("/whoami", headers=named("acme"))).json()["tenant"] == "acme"
        assert (await client.get("/notes", headers=named("acme"))).json() == ["of acme"]
        assert (await client.get("/notes-of/globex", headers=named("acme"))).json() == ["globex", "of globex"]


@pytest.mark.parametrize("path", ["/notes", "/notes-of/nobody"])
async def test_an_error_in_a_route_of_starlette_is_text_unless_fastapis_handler_writes_it(
    tenancy: Tenancy, path: str
) -> None:
    status, detail = {"/notes": (400, "No tenant was named in the request.")}.get(path, (404, "Unknown tenant."))
    async with client_of(starlette_app(tenancy)) as client:
        answer = await client.get(path)
        assert (answer.status_code, answer.text) == (status, detail)
    handled = starlette_app(tenancy, exception_handlers={HTTPException: http_exception_handler})
    async with client_of(handled) as client:
        answer = await client.get(path)
        assert (answer.status_code, answer.json()) == (status, {"detail": detail})


def test_the_test_client_runs_lifespan_requests_and_websockets(tmp_path: Path) -> None:
    tenancy = make_tenancy(tmp_path)
    with TestClient(starlette_app(tenancy, lifespan=tenancy.lifespan)) as client:
        client.portal.call(tenancy.create_tenant, "acme")
        assert client.get("/whoami", headers=named("acme")).json()["tenant"] == "acme"
        with pytest.raises(WebSocketDenialResponse) as refused, client.websocket_connect("/live"):
            pass
        assert refused.value.status_code == 400
        with client.websocket_connect("/live", headers=named("acme")) as socket:
            socket.send_text("hello")
            assert socket.receive_text() == "hello: acme"
            client.portal.call(tenancy.suspend_tenant, "acme")
            with pytest.raises(WebSocketDisconnect) as closed:
                socket.receive_text()
        assert (closed.value.code, closed.value.reason) == (1008, "The tenant is suspended.")
    assert tenancy.stats()["watched"] == {"tenants": 0, "watchers": 0}


async def test_head_and_options_are_requests_like_any_other(tenancy: Tenancy) -> None:
    async with client_of(starlette_app(tenancy)) as client:
        assert (await client.head("/notes", headers=named("acme"))).status_code == 200
        assert (await client.head("/notes", headers=named("nobody"))).status_code == 404
        assert (await client.options("/notes", headers=named("nobody"))).status_code == 404
        assert (await client.options("/notes", headers=named("acme"))).headers["allow"]


async def test_a_background_task_has_the_tenant_and_the_open_session(tenancy: Tenancy) -> None:
    app = make_app(tenancy)
    seen: list[Any] = []

    @app.get("/later")
    async def later(tasks: BackgroundTasks, session: TenantSession) -> None:
        async def read() -> None:
            seen.append((current_tenant().identifier, *await session.scalars(select(Note.text))))

        def read_in_a_thread() -> None:
            seen.append(current_tenant().identifier)

        tasks.add_task(read)
        tasks.add_task(read_in_a_thread)

    async with client_of(app) as client:
        await client.get("/later", headers=named("acme"))
    assert seen == [("acme", "of acme"), "acme"]
    assert is_idle(tenancy)


class SeesTheTenant(BaseHTTPMiddleware):
    """Says who the tenant is before and after the application, in the context and in the request's state."""

    async def dispatch(self, request: Request, call_next: Callable[[Request], Awaitable[Any]]) -> Any:
        before = _tenant_in_context()
        response = await call_next(request)
        response.headers["X-Seen"] = f"{before} {_tenant_in_context()} {request.state.tenant.identifier}"
        return response


def _tenant_in_context() -> str:
    try:
        return current_tenant().identifier
    except HTTPException:
        return "nobody"


@pytest.mark.parametrize(("around", "seen"), [(True, "nobody nobody acme"), (False, "acme acme acme")])
async def test_other_middleware_sees_the_tenant_where_it_lies_behind(tenancy: Tenancy, around: bool, seen: str) -> None:
    app = make_app(tenancy)
    app.user_middleware.insert(0 if around else 1, Middleware(SeesTheTenant))
    async with client_of(app) as client:
        answer = await client.get("/notes", headers=named("acme"))
    assert (answer.headers["x-seen"], answer.json()["notes"]) == (seen, ["of acme"])


@pytest.mark.parametrize("around", [False, True])
async def test_compressed_answers_are_the_tenants(tenancy: Tenancy, steps: Steps, app: FastAPI, around: bool) -> None:
    app.user_middleware.insert(0 if around else 1, Middleware(GZipMiddleware, minimum_size=1))
    async with client_of(app) as client:
        for name in ("acme", "globex"):
            plain = await client.get("/notes", headers=named(name))
            steps.of(name).put_nowait("one")
            steps.of(name).put_nowait("")
            streamed = await client.get("/stream", headers=named(name))
            assert plain.headers["content-encoding"] == streamed.headers["content-encoding"] == "gzip"
            assert plain.json()["notes"] == [f"of {name}"]
            assert streamed.text == f"one: {name} reads of {name}\n"
        refused = await client.get("/notes", headers=named("nobody"))
        assert (refused.status_code, "content-encoding" in refused.headers) == (404, around)


@pytest.mark.parametrize("kind", ["lifespan", "webtransport"])
async def test_what_is_no_request_passes_through_untouched(tenancy: Tenancy, kind: str) -> None:
    passed: list[Any] = []

    async def inner(*arguments: Any) -> None:
        passed.extend(arguments)

    scope = {"type": kind}
    given = (scope, object(), object())
    await TenancyMiddleware(inner, tenancy=tenancy, required=True)(*given)
    assert [one is other for one, other in zip(passed, given, strict=True)] == [True] * 3
    assert scope == {"type": kind}


async def test_an_outer_context_is_what_it_was_after_the_request(tenancy: Tenancy) -> None:
    acme = await tenancy.get_tenant("acme")
    async with client_of(make_app(tenancy)) as client:
        with tenant_scope(acme):
            assert (await client.get("/whoami", headers=named("globex"))).json() == {"tenant": "globex"}
            assert current_tenant() is acme
