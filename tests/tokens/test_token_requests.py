"""Requests with a bearer token: the tenant, the scopes, the operators' routes."""

from collections.abc import AsyncIterator

import httpx2 as httpx
import jwt
import pytest
from fastapi import Depends, FastAPI, WebSocket
from fastapi.testclient import TestClient
from starlette.websockets import WebSocketDisconnect
from support import client_of, make_app, make_tenancy
from tokens.token_support import SECRET

from fastapi_tenancy import CurrentToken, HeaderResolver, Tenancy, TokenResolver, require_scope
from fastapi_tenancy.multitenant.admin import admin_router


def application(tenancy: Tenancy) -> FastAPI:
    app = make_app(tenancy, exclude=["/admin"])
    app.include_router(admin_router(tenancy, dependencies=[Depends(lambda: None)]), prefix="/admin")

    @app.get("/token")
    async def show(token: CurrentToken) -> dict[str, object]:
        return {"name": token.name, "scopes": sorted(token.scopes)}

    @app.get("/write", dependencies=[require_scope("notes:write", "notes:read")])
    async def write() -> str:
        return "written"

    @app.websocket("/ws")
    async def socket(websocket: WebSocket, token: CurrentToken) -> None:
        await websocket.accept()
        await websocket.send_text(token.name)
        await websocket.close()

    return app


@pytest.fixture
async def client(tenancy: Tenancy) -> AsyncIterator[httpx.AsyncClient]:
    async with client_of(application(tenancy)) as client:
        yield client


def bearing(token: str, **others: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}", **others}


@pytest.mark.parametrize("opaque", [False, True])
async def test_a_token_names_its_tenant(client: httpx.AsyncClient, tenancy: Tenancy, opaque: bool) -> None:
    token = (await tenancy.tokens.create("acme", name="ci", opaque=opaque)).token
    for _ in range(2):
        answer = await client.get("/whoami", headers=bearing(token))
        assert (answer.status_code, answer.json()) == (200, {"tenant": "acme"})


@pytest.mark.parametrize("value", ["Bearer", "Bearer x", "Bearer ft_", f"Bearer ft_{'0' * 32}_{'A' * 43}"])
async def test_a_token_that_is_not_valid_is_a_401(client: httpx.AsyncClient, value: str) -> None:
    for path in ("/whoami", "/health"):
        answer = await client.get(path, headers={"Authorization": value})
        assert (answer.status_code, answer.json()) == (401, {"detail": "The token is not valid."})
        assert answer.headers["WWW-Authenticate"] == "Bearer"


async def test_without_a_token_nobody_is_named(client: httpx.AsyncClient) -> None:
    for headers in ({}, {"Authorization": "Basic Og=="}):
        assert (await client.get("/whoami", headers=headers)).status_code == 400
        assert (await client.get("/health", headers=headers)).status_code == 200


async def test_a_suspended_tenants_token_is_a_403_until_it_is_activated(
    client: httpx.AsyncClient, tenancy: Tenancy
) -> None:
    token = (await tenancy.tokens.create("acme", name="ci")).token
    statuses = []
    for step in (tenancy.activate_tenant, tenancy.suspend_tenant, tenancy.activate_tenant):
        await step("acme")
        statuses.append((await client.get("/whoami", headers=bearing(token))).status_code)
    assert statuses == [200, 403, 200]


async def test_a_token_and_a_header_that_disagree_are_refused(tmp_path) -> None:
    async with make_tenancy(tmp_path, resolvers=[HeaderResolver(), TokenResolver()]) as tenancy:
        for name in ("acme", "globex"):
            await tenancy.create_tenant(name)
        token = (await tenancy.tokens.create("acme", name="ci")).token
        async with client_of(make_app(tenancy)) as client:
            for _ in range(2):
                agreed = await client.get("/whoami", headers=bearing(token, **{"X-Tenant-ID": "acme"}))
                assert agreed.json() == {"tenant": "acme"}
                differing = await client.get("/whoami", headers=bearing(token, **{"X-Tenant-ID": "globex"}))
                assert differing.status_code == 400


async def test_another_tenants_token_gives_no_scopes_where_the_header_decides(tmp_path) -> None:
    async with make_tenancy(tmp_path, resolvers=[HeaderResolver(), TokenResolver()], conflict="first") as tenancy:
        for name in ("acme", "globex"):
            await tenancy.create_tenant(name)
        token = (await tenancy.tokens.create("acme", name="ci", scopes=["notes:read", "notes:write"])).token
        async with client_of(application(tenancy)) as client:
            answer = await client.get("/write", headers=bearing(token, **{"X-Tenant-ID": "acme"}))
            assert answer.status_code == 200
            answer = await client.get("/write", headers=bearing(token, **{"X-Tenant-ID": "globex"}))
            assert (answer.status_code, answer.json()) == (401, {"detail": "The token is not valid."})
            assert (await client.get("/write", headers={"X-Tenant-ID": "acme"})).status_code == 401


async def test_an_endpoint_sees_the_token(client: httpx.AsyncClient, tenancy: Tenancy) -> None:
    token = (await tenancy.tokens.create("acme", name="ci", scopes=["b", "a"])).token
    assert (await client.get("/token", headers=bearing(token))).json() == {"name": "ci", "scopes": ["a", "b"]}
    assert (await client.get("/token")).status_code == 400


@pytest.mark.parametrize(
    ("scopes", "status"),
    [
        (["notes:read", "notes:write"], 200),
        (["notes:read", "notes:write", "more"], 200),
        (["notes:write"], 403),
        (["notes", "NOTES:WRITE", "notes:read"], 403),
        ([], 403),
    ],
)
async def test_an_endpoint_can_require_scopes(
    client: httpx.AsyncClient, tenancy: Tenancy, scopes: list[str], status: int
) -> None:
    token = (await tenancy.tokens.create("acme", name="ci", scopes=scopes)).token
    answer = await client.get("/write", headers=bearing(token))
    assert answer.status_code == status
    assert status == 200 or answer.json() == {"detail": "The token does not allow this."}


async def test_scopes_cost_no_look_up(client: httpx.AsyncClient, tenancy: Tenancy, store) -> None:
    token = (await tenancy.tokens.create("acme", name="ci", scopes=["notes:read", "notes:write"])).token
    for _ in range(5):
        await client.get("/write", headers=bearing(token))
    assert len(store.asked) == 1


def test_a_websocket_brings_a_token_as_a_request_does(tmp_path) -> None:
    tenancy = make_tenancy(tmp_path, resolvers=[TokenResolver()], token_secrets=[SECRET])
    with TestClient(application(tenancy)) as client:
        client.post("/admin/tenants", json={"identifier": "acme"})
        token = client.post("/admin/tenants/acme/tokens", json={"name": "ci"}).json()["token"]
        with client.websocket_connect("/ws", headers=bearing(token)) as socket:
            assert socket.receive_text() == "ci"
        with pytest.raises(WebSocketDisconnect), client.websocket_connect("/ws", headers=bearing("x")):
            pass


async def test_the_token_is_in_the_openapi_document(tmp_path) -> None:
    tenancy = make_tenancy(tmp_path, resolvers=[TokenResolver()])
    with TestClient(application(tenancy)) as client:
        schema = client.get("/openapi.json").json()
    schemes = schema["components"]["securitySchemes"]
    assert [(each["type"], each["scheme"]) for each in schemes.values()] == [("http", "bearer")]
    for path in ("/whoami", "/token"):
        assert schema["paths"][path]["get"]["security"] == [{name: []} for name in schemes]


async def test_a_providers_token_names_its_tenant(tmp_path) -> None:
    resolver = TokenResolver(claim="tenant", key=SECRET, algorithms=["HS256"])
    async with make_tenancy(tmp_path, resolvers=[resolver], cache_ttl=7) as tenancy:
        assert tenancy.resolvers.resolvers[0]._foreign.ttl == 7
        await tenancy.create_tenant("acme")
        async with client_of(application(tenancy)) as client:
            answers = {}
            for claim in ("acme", "unknown", "NO", "a\x00b", ""):
                token = jwt.encode({"tenant": claim, "exp": 9_999_999_999}, SECRET, "HS256")
                answers[claim] = (await client.get("/whoami", headers=bearing(token))).status_code
            assert answers == {"acme": 200, "unknown": 404, "NO": 400, "a\x00b": 400, "": 400}
            without = bearing(jwt.encode({"exp": 9_999_999_999}, SECRET, "HS256"))
            assert (await client.get("/whoami", headers=without)).status_code == 400
            assert (await client.get("/health", headers=without)).status_code == 200


ONE = "/admin/tenants/acme/tokens"


async def test_the_life_of_a_token_over_http(client: httpx.AsyncClient, time) -> None:
    made = await client.post(ONE, json={"name": "ci", "scopes": ["b", "a"], "expires_in": 60})
    issued = made.json()
    assert (made.status_code, set(issued)) == (201, {"token_id", "token"})
    assert (await client.get("/whoami", headers=bearing(issued["token"]))).json() == {"tenant": "acme"}
    listed = (await client.get(ONE)).json()
    assert listed["next"] is None
    assert listed["items"] == [
        {
            "token_id": issued["token_id"],
            "name": "ci",
            "scopes": ["a", "b"],
            "created_at": "2026-01-02T00:00:00Z",
            "expires_at": "2026-01-02T00:01:00Z",
            "last_used_at": "2026-01-02T00:00:00Z",
            "impersonated_by": None,
        }
    ]
    assert (await client.delete(f"{ONE}/{issued['token_id']}")).status_code == 204
    assert (await client.delete(f"{ONE}/{issued['token_id']}")).status_code == 404
    assert (await client.get("/whoami", headers=bearing(issued["token"]))).status_code == 401
    assert (await client.get(ONE)).json() == {"items": [], "next": None}


async def test_lists_come_in_pages(client: httpx.AsyncClient, time) -> None:
    for name in "abc":
        await client.post(ONE, json={"name": name})
        time.passed += 1
    first = (await client.get(f"{ONE}?limit=2")).json()
    second = (await client.get(ONE, params={"limit": 2, "after": first["next"]})).json()
    assert [[item["name"] for item in page["items"]] for page in (first, second)] == [["a", "b"], ["c"]]
    assert second["next"] is None


BODIES = (
    {},
    {"name": ""},
    {"name": "  "},
    {"name": "x" * 201},
    {"name": "\x00"},
    {"name": 7},
    {"name": "ci", "scopes": "write"},
    {"name": "ci", "scopes": ["a b"]},
    {"name": "ci", "scopes": [7]},
    {"name": "ci", "scopes": [f"s{number}" for number in range(33)]},
    {"name": "ci", "expires_in": 0},
    {"name": "ci", "expires_in": 315_360_001},
    {"name": "ci", "expires_in": 10**30},
    {"name": "ci", "expires_in": "soon"},
    {"name": "ci", "opaque": True},
    {"name": "ci", "tenant_id": "x"},
)


async def test_a_wrong_body_is_a_422_and_leaves_nothing(client: httpx.AsyncClient) -> None:
    answers = [await client.post(ONE, json=body) for body in BODIES]
    assert [body for body, answer in zip(BODIES, answers, strict=True) if answer.status_code != 422] == []
    assert all("detail" in answer.json() for answer in answers)
    assert (await client.get(ONE)).json()["items"] == []


REQUESTS = (
    ("GET", "/admin/tenants/nobody/tokens", 404),
    ("GET", "/admin/tenants/NO/tokens", 400),
    ("GET", f"{ONE}?after=x", 422),
    ("GET", f"{ONE}?after=%00", 422),
    ("GET", f"{ONE}?after={'0' * 32}%0A", 422),
    ("GET", f"{ONE}?limit=0", 422),
    ("DELETE", f"{ONE}/{'0' * 32}", 404),
    ("DELETE", f"{ONE}/x%00", 404),
    ("DELETE", f"/admin/tenants/nobody/tokens/{'0' * 32}", 404),
)


async def test_a_wrong_request_is_a_4xx(client: httpx.AsyncClient) -> None:
    for method, path, status in REQUESTS:
        answer = await client.request(method, path)
        assert (path, answer.status_code, "detail" in answer.json()) == (path, status, True)
