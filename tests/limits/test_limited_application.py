"""An application with limits, from its front door on."""

import asyncio
from pathlib import Path

import pytest
from starlette.testclient import TestClient, WebSocketDenialResponse
from starlette.websockets import WebSocket
from support import Base, make_app, named, running

from fastapi_tenancy import HeaderResolver, Limit, Tenancy, TenancySettings, TenantLimits

PLANS = {"free": Limit(rate="2/minute", concurrency=1, queue=0), "pro": Limit(concurrency=5)}


def limited(folder: Path, limits: TenantLimits | None = None) -> Tenancy:
    settings = TenancySettings(database_url=f"sqlite:///{folder}/tenancy.db", default_settings={"plan": "free"})
    limits = limits or TenantLimits(PLANS, default="free")
    return Tenancy(settings, resolvers=[HeaderResolver()], metadata=Base.metadata, limits=limits)


async def test_the_rate_of_the_tenants_plan_holds_and_another_plan_from_the_next_request_on(tmp_path: Path) -> None:
    tenancy = limited(tmp_path)
    async with running(make_app(tenancy)) as client:
        for name in ("acme", "globex"):
            await tenancy.create_tenant(name)
        answers = [await client.get("/whoami", headers=named("acme")) for _ in range(3)]
        assert [answer.status_code for answer in answers] == [200, 200, 429]
        assert answers[2].json() == {"detail": "Too many requests."}
        assert int(answers[2].headers["Retry-After"]) >= 1
        assert (await client.get("/whoami", headers=named("globex"))).status_code == 200
        assert (await client.get("/health")).status_code == 200
        await tenancy.update_tenant("acme", settings={"plan": "pro"})
        assert (await client.get("/whoami", headers=named("acme"))).status_code == 200
        assert tenancy.stats()["limits"] == {"running": 0, "queued": 0, "refused_by_rate": 1, "refused_as_busy": 0}


async def test_a_tenant_keeps_its_count_under_another_name(tmp_path: Path) -> None:
    tenancy = limited(tmp_path)
    async with running(make_app(tenancy)) as client:
        await tenancy.create_tenant("acme")
        for _ in range(2):
            await client.get("/whoami", headers=named("acme"))
        await tenancy.update_tenant("acme", identifier="acme-inc")
        assert (await client.get("/whoami", headers=named("acme-inc"))).status_code == 429


async def test_with_all_places_of_one_tenant_taken_another_is_served(tmp_path: Path) -> None:
    tenancy = limited(tmp_path)
    app, finish = make_app(tenancy), asyncio.Event()

    @app.get("/slow")
    async def slow() -> None:
        await finish.wait()

    async with running(app) as client:
        for name in ("acme", "globex"):
            await tenancy.create_tenant(name)
        blocked = asyncio.create_task(client.get("/slow", headers=named("acme")))
        while not tenancy.stats()["limits"]["running"]:
            await asyncio.sleep(0)
        busy = await client.get("/whoami", headers=named("acme"))
        assert (busy.status_code, busy.json()) == (429, {"detail": "Too many requests at once."})
        assert (await client.get("/whoami", headers=named("globex"))).status_code == 200
        finish.set()
        assert (await blocked).status_code == 200


def test_a_websocket_beyond_the_rate_is_refused_at_the_handshake(tmp_path: Path) -> None:
    tenancy = limited(tmp_path)
    app = make_app(tenancy)

    @app.websocket("/ws")
    async def echo(websocket: WebSocket) -> None:
        await websocket.accept()
        await websocket.close()

    with TestClient(app, headers=named("acme")) as client:
        assert client.portal is not None
        client.portal.call(tenancy.create_tenant, "acme")
        for _ in range(2):
            with client.websocket_connect("/ws"):
                pass
        with pytest.raises(WebSocketDenialResponse) as refused, client.websocket_connect("/ws"):
            pass
        assert (refused.value.status_code, refused.value.json()) == (429, {"detail": "Too many requests."})


def test_without_limits_the_application_is_not_wrapped(tmp_path: Path) -> None:
    settings = TenancySettings(database_url=f"sqlite:///{tmp_path}/tenancy.db")
    tenancy = Tenancy(settings, resolvers=[HeaderResolver()], metadata=Base.metadata)
    assert (tenancy.limits, tenancy.stats()["limits"]) == (None, {})
