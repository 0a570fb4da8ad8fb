"""A tenant whose key is not stored opens only for who brings the key."""

from collections.abc import AsyncIterator, MutableMapping
from pathlib import Path
from typing import Any

import pytest
from fastapi import WebSocket
from keys.key_support import random_key, read_with, sealing, write_with
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route
from support import client_of, make_app, named

from fastapi_tenancy import (
    HeaderResolver,
    InvalidTenantKeyError,
    Tenancy,
    TenancyMiddleware,
    TenantKeyMissingError,
    TenantSession,
    TokenResolver,
    WrongTenantKeyError,
    current_tenant,
)
from fastapi_tenancy.multitenant.error import WalletKeyMissingError

KEY = "a-key-of-a-tenant-which-is-the-same-alwaysA"
SECRET = "a secret of the deployment, 32+ bytes"


@pytest.fixture(params=["basic", "shared-profile"])
async def tenancy(tmp_path: Path, request: pytest.FixtureRequest) -> AsyncIterator[Tenancy]:
    """With the tenant umbra, which has the key `KEY`, and acme, which has none."""
    resolvers = [HeaderResolver("X-Tenant-ID"), TokenResolver()]
    given = {"manager_type": request.param, "token_secrets": [SECRET], "encryption_keys": ()}
    async with sealing(tmp_path, resolvers=resolvers, **given) as tenancy:
        await tenancy.create_tenant("acme")
        await tenancy.create_tenant("umbra", key_management_mode="unmanaged", key=KEY)
        yield tenancy


@pytest.fixture
async def sealed(tmp_path: Path) -> AsyncIterator[Tenancy]:
    """The same with `encryption_keys`, so that tokens can carry the key."""
    resolvers = [HeaderResolver("X-Tenant-ID"), TokenResolver()]
    async with sealing(tmp_path, resolvers=resolvers, token_secrets=[SECRET]) as tenancy:
        await tenancy.create_tenant("acme")
        for name in ("umbra", "other"):
            await tenancy.create_tenant(name, key_management_mode="unmanaged", key=KEY)
        yield tenancy


def opened_by(key: str | None, name: str = "umbra") -> dict[str, str]:
    return named(name) | ({} if key is None else {"X-Tenant-Key": key})


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


async def test_a_block_opens_with_the_key_and_with_no_other(tenancy: Tenancy) -> None:
    await write_with(tenancy, "umbra", KEY, "mine")
    assert await read_with(tenancy, "umbra", KEY) == ["mine"]
    with pytest.raises(WrongTenantKeyError):
        await read_with(tenancy, "umbra", random_key())
    with pytest.raises(WalletKeyMissingError, match="send it in X-Tenant-Key"):
        await read_with(tenancy, "umbra", None)


@pytest.mark.parametrize("path", ["/notes", "/sync/notes"])
async def test_each_request_brings_the_key_also_while_the_profile_is_open(tenancy: Tenancy, path: str) -> None:
    await write_with(tenancy, "umbra", KEY, "mine")
    async with tenancy.use("umbra", key=KEY), client_of(make_app(tenancy)) as client:
        answers = [
            await client.get(path, headers=opened_by(key)) for key in (KEY, None, random_key(), "", "x", KEY[:-1])
        ]
    assert [answer.status_code for answer in answers] == [200, 401, 401, 401, 401, 401]
    assert answers[0].json()["notes"] == ["mine"]
    assert [answer.json()["detail"] for answer in answers[1:3]] == [
        "The tenant's key is missing.",
        "The tenant's key is wrong.",
    ]
    assert answers[1].headers["www-authenticate"] == "TenantKey"


async def test_a_repeated_header_is_refused(tenancy: Tenancy) -> None:
    async with client_of(make_app(tenancy)) as client:
        twice = [("X-Tenant-ID", "umbra"), ("X-Tenant-Key", KEY), ("X-Tenant-Key", KEY)]
        answer = await client.get("/notes", headers=twice)
    assert (answer.status_code, answer.json()) == (400, {"detail": "A header field is malformed."})


async def test_bytes_that_are_no_text_are_refused(tenancy: Tenancy) -> None:
    async with client_of(make_app(tenancy)) as client:
        answer = await client.get("/notes", headers=[(b"X-Tenant-ID", b"umbra"), (b"X-Tenant-Key", b"\xff\xfe")])
    assert answer.status_code == 401


async def test_who_asks_for_no_data_needs_no_key(tenancy: Tenancy) -> None:
    async with client_of(make_app(tenancy)) as client:
        assert (await client.get("/whoami", headers=named("umbra"))).status_code == 200


async def test_a_tenant_without_a_key_of_its_own_does_not_look_at_one(tenancy: Tenancy) -> None:
    assert await read_with(tenancy, "acme", "nonsense") == []
    async with client_of(make_app(tenancy)) as client:
        twice = [("X-Tenant-ID", "acme"), ("X-Tenant-Key", "a"), ("X-Tenant-Key", "b")]
        assert (await client.get("/notes", headers=twice)).status_code == 200


async def test_the_key_opens_no_tenant_by_way_of_a_manager(tenancy: Tenancy) -> None:
    umbra = await tenancy.get_tenant("umbra")
    manager = tenancy.provider.for_tenant(umbra)
    with pytest.raises(TenantKeyMissingError):
        manager.lease(umbra)
    with pytest.raises(TenantKeyMissingError):
        await manager.get_tenant_profile(umbra)
    assert (await manager.get_tenant_profile(umbra, provision=True, key=KEY)).tenant == umbra


async def test_a_suspended_tenant_stays_closed_for_who_has_the_key(tenancy: Tenancy) -> None:
    await tenancy.suspend_tenant("umbra")
    async with client_of(make_app(tenancy)) as client:
        assert (await client.get("/notes", headers=opened_by(KEY))).status_code == 403


async def test_another_key_takes_the_place_of_the_first(tenancy: Tenancy) -> None:
    await write_with(tenancy, "umbra", KEY, "mine")
    other = random_key()
    with pytest.raises(TenantKeyMissingError):
        await tenancy.rekey_tenant("umbra", new_key=other)
    with pytest.raises(WrongTenantKeyError):
        await tenancy.rekey_tenant("umbra", key=other, new_key=random_key())
    with pytest.raises(TenantKeyMissingError):
        await tenancy.rekey_tenant("umbra", key=KEY)
    with pytest.raises(InvalidTenantKeyError):
        await tenancy.rekey_tenant("umbra", key=KEY, new_key="x")
    async with tenancy.use("umbra", key=KEY):
        await tenancy.rekey_tenant("umbra", key=KEY, new_key=other)
        with pytest.raises(WrongTenantKeyError):
            await read_with(tenancy, "umbra", KEY)
        assert await read_with(tenancy, "umbra", other) == ["mine"]


async def test_what_can_be_no_key_makes_no_tenant(tenancy: Tenancy) -> None:
    with pytest.raises(InvalidTenantKeyError):
        await tenancy.create_tenant("new", key_management_mode="unmanaged", key="too short")
    with pytest.raises(TenantKeyMissingError):
        await tenancy.create_tenant("new", key_management_mode="unmanaged")
    with pytest.raises(ValueError, match="choose from"):
        await tenancy.create_tenant("new", key_management_mode="none")
    assert [tenant.identifier for tenant in (await tenancy.list_tenants()).items] == ["acme", "umbra"]


async def test_a_deletion_needs_no_key(tenancy: Tenancy) -> None:
    await tenancy.delete_tenant("umbra", drop_data=True)
    await tenancy.create_tenant("umbra")
    assert await read_with(tenancy, "umbra", None) == []


@pytest.mark.parametrize("opaque", [True, False])
async def test_a_token_carries_the_key(sealed: Tenancy, opaque: bool) -> None:
    await write_with(sealed, "umbra", KEY, "mine")
    bare = (await sealed.tokens.create("umbra", name="bare", opaque=opaque)).token
    full = (await sealed.tokens.create("umbra", name="full", opaque=opaque, key=KEY)).token
    assert full.startswith("ft_") == opaque
    async with client_of(make_app(sealed)) as client:
        answers = [
            await client.get("/notes", headers={"Authorization": f"Bearer {each}"}) for each in (full, bare, full)
        ]
        with_both = await client.get("/notes", headers={"Authorization": f"Bearer {bare}", "X-Tenant-Key": KEY})
        cut = await client.get("/notes", headers={"Authorization": f"Bearer {full[:-4]}"})
    assert [answer.status_code for answer in (*answers, with_both, cut)] == [200, 401, 200, 200, 401]
    async with sealed.get_profile_for_token(full) as profile:
        assert profile.tenant.identifier == "umbra"
    with pytest.raises(TenantKeyMissingError):
        async with sealed.get_profile_for_token(bare):
            pass
    async with sealed.get_profile_for_token(bare, key=KEY):
        pass


async def test_a_token_is_made_for_who_has_the_key(sealed: Tenancy) -> None:
    with pytest.raises(WrongTenantKeyError):
        await sealed.create_auth_token("umbra", key=random_key())
    assert (await sealed.tokens.list("umbra")).items == []
    assert await sealed.create_auth_token("acme", key="not looked at")


async def test_a_token_opens_no_other_tenant_not_even_one_with_the_same_key(sealed: Tenancy) -> None:
    token = await sealed.create_auth_token("umbra", key=KEY)
    umbra, other = await sealed.get_tenant("umbra"), await sealed.get_tenant("other")
    assert await sealed.tokens.key_in(token, other) is None
    assert await sealed.tokens.key_in("ft_" + "0" * 32 + "_" + "x" * 43, umbra) is None


async def test_a_token_that_is_revoked_or_of_an_old_key_opens_nothing(sealed: Tenancy) -> None:
    revoked = await sealed.tokens.create("umbra", name="revoked", key=KEY)
    await sealed.tokens.revoke("umbra", revoked.token_id)
    old = await sealed.create_auth_token("umbra", key=KEY)
    new_key = random_key()
    await sealed.rekey_tenant("umbra", key=KEY, new_key=new_key)
    new = await sealed.create_auth_token("umbra", key=new_key)
    async with client_of(make_app(sealed)) as client:
        answers = [
            await client.get("/notes", headers={"Authorization": f"Bearer {each}"})
            for each in (revoked.token, old, new)
        ]
    assert [(answer.status_code, answer.json().get("detail")) for answer in answers] == [
        (401, "The token is not valid."),
        (401, "The tenant's key is wrong."),
        (200, None),
    ]


@pytest.mark.parametrize(("key", "first"), [(KEY, "websocket.accept"), (None, "http.response.start")])
async def test_a_websocket_needs_the_key(tenancy: Tenancy, key: str | None, first: str) -> None:
    app, sent = make_app(tenancy), []

    @app.websocket("/live")
    async def live(websocket: WebSocket, session: TenantSession) -> None:
        await websocket.accept()
        await websocket.close()

    async def receive() -> dict[str, str]:
        return {"type": "websocket.connect"}

    async def send(message: MutableMapping[str, Any]) -> None:
        sent.append(message["type"].replace("websocket.http.", "http."))

    headers = [(name.lower().encode(), value.encode()) for name, value in opened_by(key).items()]
    scope = {"type": "websocket", "path": "/live", "query_string": b"", "headers": headers, "subprotocols": []}
    await app({**scope, "extensions": {"websocket.http.response": {}}}, receive, send)
    assert sent[0] == first


async def test_plain_starlette_asks_the_tenancy_for_the_key(tenancy: Tenancy) -> None:
    async def notes(request: Request) -> JSONResponse:
        tenant = current_tenant()
        async with tenancy.lease(tenant, await tenancy.key_in(request.scope, tenant)) as profile, profile.session():
            return JSONResponse("open")

    app = TenancyMiddleware(Starlette(routes=[Route("/notes", notes)]), tenancy=tenancy)
    async with client_of(app) as client:
        answers = [await client.get("/notes", headers=opened_by(key)) for key in (KEY, None, random_key())]
    assert [answer.status_code for answer in answers] == [200, 401, 401]
