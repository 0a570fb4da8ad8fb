"""The admin API makes a token that carries the key which the request brings."""

from collections.abc import AsyncIterator
from pathlib import Path

import httpx2 as httpx
import pytest
from fastapi import Depends, FastAPI
from keys.key_support import random_key, sealing

from fastapi_tenancy import Tenancy
from fastapi_tenancy.multitenant.admin import admin_router

KEY = random_key()
TOKENS = "/tenants/umbra/tokens"


@pytest.fixture
async def tenancy(tmp_path: Path) -> AsyncIterator[Tenancy]:
    async with sealing(tmp_path) as tenancy:
        await tenancy.create_tenant("umbra", key_management_mode="unmanaged", key=KEY)
        yield tenancy


@pytest.fixture
async def client(tenancy: Tenancy) -> AsyncIterator[httpx.AsyncClient]:
    app = FastAPI()
    app.include_router(admin_router(tenancy, dependencies=[Depends(lambda: None)]))
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app=app), base_url="http://testserver") as client:
        yield client


async def test_the_token_opens_the_tenant(client: httpx.AsyncClient, tenancy: Tenancy) -> None:
    made = await client.post(TOKENS, json={"name": "job"}, headers={"X-Tenant-Key": KEY})
    assert made.status_code == 201
    assert KEY not in made.text
    async with tenancy.get_profile_for_token(made.json()["token"]) as profile:
        assert profile.tenant.identifier == "umbra"


async def test_another_key_and_several_make_no_token(client: httpx.AsyncClient) -> None:
    body = {"name": "job"}
    wrong = await client.post(TOKENS, json=body, headers={"X-Tenant-Key": random_key()})
    twice = await client.post(TOKENS, json=body, headers=[("X-Tenant-Key", KEY), ("X-Tenant-Key", KEY)])
    assert (wrong.status_code, twice.status_code) == (401, 400)
    assert (await client.get(TOKENS)).json()["items"] == []


async def test_the_document_tells_of_the_header(client: httpx.AsyncClient) -> None:
    document = (await client.get("/openapi.json")).json()
    parameters = document["paths"]["/tenants/{identifier}/tokens"]["post"]["parameters"]
    assert "X-Tenant-Key" in [each["name"] for each in parameters]
