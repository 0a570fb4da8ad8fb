"""The admin API shows asterisks for secrets, and takes them back for what they stand for."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Annotated, Any

import httpx2 as httpx
import pytest
from fastapi import Depends, FastAPI, Header
from sealing.sealing_support import NEW, SETTINGS, sealing_tenancy
from support import running

from fastapi_tenancy import Tenancy
from fastapi_tenancy.multitenant.admin import admin_router

SHOWN = {"api_key": "***", "smtp": {"host": "mail", "password": "***"}, "plan": "pro"}


async def require_admin(x_admin_key: Annotated[str, Header()] = "") -> None:
    """Lets everybody in."""


@pytest.fixture
async def served(tmp_path: Path) -> AsyncIterator[tuple[Tenancy, httpx.AsyncClient]]:
    tenancy = sealing_tenancy(tmp_path, NEW)
    app = FastAPI(lifespan=tenancy.lifespan)
    app.include_router(admin_router(tenancy, dependencies=[Depends(require_admin)]))
    async with running(app) as client:
        await tenancy.create_tenant("acme", settings=SETTINGS)
        yield tenancy, client


async def patched(client: httpx.AsyncClient, settings: object) -> httpx.Response:
    return await client.patch("/tenants/acme", json={"settings": settings}, headers={"If-Match": "*"})


async def test_a_tenant_is_shown_with_asterisks(served: tuple[Tenancy, httpx.AsyncClient]) -> None:
    _, client = served
    assert (await client.get("/tenants/acme")).json()["settings"] == SHOWN
    assert [each["settings"] for each in (await client.get("/tenants")).json()["items"]] == [SHOWN]


@pytest.mark.parametrize(
    ("patch", "becomes"),
    [
        (SHOWN, SETTINGS),
        ({"api_key": "***", "plan": "free"}, {**SETTINGS, "plan": "free"}),
        ({"api_key": "new"}, {**SETTINGS, "api_key": "new"}),
        ({"api_key": None}, {"smtp": SETTINGS["smtp"], "plan": "pro"}),
        ({"smtp": {"password": "new"}}, {**SETTINGS, "smtp": {"host": "mail", "password": "new"}}),
        ({}, SETTINGS),
    ],
)
async def test_a_patch_with_asterisks_keeps_the_secrets(
    served: tuple[Tenancy, httpx.AsyncClient], patch: dict[str, Any], becomes: dict[str, Any]
) -> None:
    tenancy, client = served
    assert (await patched(client, patch)).status_code == 200
    assert (await tenancy.get_tenant("acme")).settings == becomes


async def test_asterisks_that_stand_for_nothing_are_refused(served: tuple[Tenancy, httpx.AsyncClient]) -> None:
    tenancy, client = served
    await tenancy.update_tenant("acme", settings={"plan": "pro"})
    made = await client.post("/tenants", json={"identifier": "new", "settings": SHOWN})
    assert ((await patched(client, SHOWN)).status_code, made.status_code) == (422, 422)
    assert (await tenancy.get_tenant("acme")).settings == {"plan": "pro"}


async def test_no_setting_can_be_named_like_the_sealed_ones(served: tuple[Tenancy, httpx.AsyncClient]) -> None:
    tenancy, client = served
    assert (await patched(client, {"$sealed": "tenancy-sealed-1.x"})).status_code == 422
    assert (await tenancy.get_tenant("acme")).settings == SETTINGS
