"""A tenant that takes long to create goes on in the background, and whoever asked can see how far it is."""

import asyncio

import httpx2 as httpx
import pytest
from support import make_tenancy, running

from fastapi_tenancy import Tenancy, TenantNotFoundError, TenantUnavailableError

NEW = {"identifier": "acme", "name": "Acme"}


async def created(client: httpx.AsyncClient) -> None:
    while (await client.get("/admin/tenants/acme")).json().get("status") == "provisioning":
        await asyncio.sleep(0)


@pytest.mark.parametrize(
    ("headers", "query"),
    [
        ({"Prefer": "respond-async"}, ""),
        ({"Prefer": "handling=lenient, Respond-Async; x=y,wait=0"}, ""),
        ({}, "?wait=0"),
        ({"Prefer": "respond-async, wait=9"}, "?wait=0.01"),
    ],
)
async def test_a_client_that_does_not_want_to_wait_gets_a_status_to_poll(
    client: httpx.AsyncClient, held_up, headers: dict[str, str], query: str
) -> None:
    creation = held_up()
    answer = await client.post(f"/admin/tenants{query}", json=NEW, headers=headers)
    assert (answer.status_code, answer.headers["location"]) == (202, "/admin/tenants/acme")
    assert answer.headers["preference-applied"] == "respond-async"
    polled = await client.get(answer.headers["location"])
    assert (answer.json()["status"], polled.json()["status"]) == ("provisioning", "provisioning")
    creation.go_on.set()
    await created(client)
    assert (await client.get(answer.headers["location"])).json()["status"] == "active"


@pytest.mark.parametrize(
    "headers", [{}, {"Prefer": "wait=0"}, {"Prefer": "respond-async, wait=60"}, {"Prefer": '"=;,'}]
)
async def test_a_creation_that_ends_in_time_is_answered_as_always(
    client: httpx.AsyncClient, headers: dict[str, str]
) -> None:
    answer = await client.post("/admin/tenants", json=NEW, headers=headers)
    assert (answer.status_code, answer.json()["status"]) == (201, "active")
    assert answer.headers["location"] == "/admin/tenants/acme"


async def test_what_can_be_refused_at_once_is_refused_at_once(client: httpx.AsyncClient) -> None:
    await client.post("/admin/tenants", json=NEW)
    assert (await client.post("/admin/tenants?wait=0", json=NEW)).status_code == 409


async def test_a_creation_that_fails_in_the_background_leaves_nothing_but_a_line_in_the_log(
    client: httpx.AsyncClient, tenancy: Tenancy, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    go_on = asyncio.Event()

    async def fails(_):
        await go_on.wait()
        raise OSError("disk full")

    monkeypatch.setattr(tenancy.provider.provide({}), "create_tenant", fails)
    assert (await client.post("/admin/tenants?wait=0", json=NEW)).status_code == 202
    go_on.set()
    await created(client)
    assert (await client.get("/admin/tenants/acme")).status_code == 404
    assert "tenant not created in the background" in caplog.text
    monkeypatch.undo()
    assert (await client.post("/admin/tenants", json=NEW)).status_code == 201


async def test_the_end_of_the_application_waits_for_a_creation(tmp_path, admin_app, held_up) -> None:
    tenancy = make_tenancy(tmp_path)
    creation = held_up(tenancy)
    async with running(admin_app(tenancy)) as client:
        client.headers["Authorization"] = "Bearer admin"
        await client.post("/admin/tenants?wait=0", json=NEW)
        asyncio.get_running_loop().call_soon(creation.go_on.set)
    async with make_tenancy(tmp_path) as tenancy:
        assert (await tenancy.get_tenant("acme")).is_active


async def test_a_creation_that_takes_longer_than_that_is_cancelled_and_leaves_nothing(
    tmp_path, admin_app, held_up
) -> None:
    tenancy = make_tenancy(tmp_path, shutdown_timeout=0)
    held_up(tenancy)
    async with running(admin_app(tenancy)) as client:
        client.headers["Authorization"] = "Bearer admin"
        await client.post("/admin/tenants?wait=0", json=NEW)
    async with make_tenancy(tmp_path) as tenancy:
        with pytest.raises(TenantNotFoundError):
            await tenancy.get_tenant("acme")
        await tenancy.create_tenant("acme")


async def test_a_client_that_leaves_does_not_end_the_creation(client: httpx.AsyncClient, held_up) -> None:
    creation = held_up()
    request = asyncio.create_task(client.post("/admin/tenants", json=NEW))
    await creation.reached.wait()
    request.cancel()
    with pytest.raises(asyncio.CancelledError):
        await request
    creation.go_on.set()
    await created(client)
    assert (await client.get("/admin/tenants/acme")).json()["status"] == "active"


async def test_nothing_is_begun_after_the_end(tmp_path) -> None:
    async def never() -> None:
        raise AssertionError

    tenancy = make_tenancy(tmp_path)
    async with tenancy:
        pass
    with pytest.raises(TenantUnavailableError, match="closed"):
        tenancy.background.start(never())
