"""An application with the admin API, and ways to hold up what it does."""

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Annotated

import httpx2 as httpx
import pytest
from fastapi import Depends, FastAPI, Header, HTTPException
from support import make_tenancy, running

from fastapi_tenancy import Tenancy
from fastapi_tenancy.multitenant.admin import admin_router


async def require_admin(authorization: Annotated[str, Header()] = "") -> None:
    if authorization != "Bearer admin":
        raise HTTPException(401)


async def caller(x_caller: Annotated[str | None, Header()] = None) -> str | None:
    return x_caller


def make_admin_app(tenancy: Tenancy, **given) -> FastAPI:
    app = FastAPI(lifespan=tenancy.lifespan)
    app.include_router(
        admin_router(tenancy, dependencies=[Depends(require_admin)], actor=caller, **given), prefix="/admin"
    )
    return app


@pytest.fixture
def tenancy(tmp_path: Path) -> Tenancy:
    return make_tenancy(tmp_path)


@pytest.fixture
async def client(tenancy: Tenancy) -> AsyncIterator[httpx.AsyncClient]:
    async with running(make_admin_app(tenancy)) as client:
        client.headers["Authorization"] = "Bearer admin"
        yield client


@pytest.fixture
def admin_app() -> Callable[..., FastAPI]:
    return make_admin_app


class HeldUp:
    """Creations that wait: `reached` tells that one began, `go_on` lets them go on."""

    def __init__(self, tenancy: Tenancy, monkeypatch: pytest.MonkeyPatch) -> None:
        self.reached, self.go_on, self.times = asyncio.Event(), asyncio.Event(), 0
        manager = tenancy.provider.provide({})
        self._real = manager.create_tenant
        monkeypatch.setattr(manager, "create_tenant", self._slow)

    async def _slow(self, tenant):
        self.times += 1
        self.reached.set()
        await self.go_on.wait()
        await self._real(tenant)


@pytest.fixture
def held_up(tenancy: Tenancy, monkeypatch: pytest.MonkeyPatch) -> Callable[..., HeldUp]:
    return lambda other=None: HeldUp(other or tenancy, monkeypatch)
