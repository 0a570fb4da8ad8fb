"""Probes: alive while the event loop runs, ready while requests can be served."""

import asyncio
from pathlib import Path
from typing import Any

import httpx2 as httpx
import pytest
from sqlalchemy import create_engine, text
from support import make_app, make_tenancy, running

from fastapi_tenancy import InMemoryTenantStore, Tenancy, health_router
from fastapi_tenancy.health import Readiness


def with_probes(tenancy: Tenancy) -> Any:
    app = make_app(tenancy, required=True, exclude=["/livez", "/readyz"])
    app.include_router(health_router(tenancy))
    return app


async def readiness(client: httpx.AsyncClient) -> tuple[int, str]:
    answer = await client.get("/readyz")
    return answer.status_code, answer.json()["store"]


async def test_a_worker_that_is_well_is_alive_and_ready(tmp_path: Path) -> None:
    async with running(with_probes(make_tenancy(tmp_path))) as client:
        assert (await client.get("/livez")).json() == {"status": "alive"}
        answer = await client.get("/readyz")
        assert (answer.status_code, answer.headers["cache-control"]) == (200, "no-store")
        assert answer.json() == {
            "status": "ready",
            "draining": False,
            "store": "ok",
            "bus": "poll",
            "bus_connected": True,
            "redis": "none",
        }


async def test_probes_may_ask_by_head_and_stand_in_no_document(tmp_path: Path) -> None:
    app = with_probes(make_tenancy(tmp_path))
    async with running(app) as client:
        assert (await client.head("/readyz")).status_code == 200
        assert not {"/livez", "/readyz"} & set((await client.get("/openapi.json")).json().get("paths", {}))


async def test_a_worker_that_drains_is_not_ready_and_serves(tmp_path: Path) -> None:
    tenancy = make_tenancy(tmp_path)
    async with running(with_probes(tenancy)) as client:
        await tenancy.create_tenant("acme")
        tenancy.drain()
        answer = await client.get("/readyz")
        assert (answer.status_code, answer.json()["draining"]) == (503, True)
        assert (await client.get("/livez")).status_code == 200
        assert (await client.get("/notes", headers={"X-Tenant-ID": "acme"})).status_code == 200


async def test_a_worker_that_has_not_started_is_not_ready(tmp_path: Path) -> None:
    is_ready, parts = await make_tenancy(tmp_path).readiness.look()
    assert (is_ready, parts["store"]) == (False, "closed")


async def test_a_worker_whose_tables_are_behind_the_code_is_not_ready(tmp_path: Path) -> None:
    async with running(with_probes(make_tenancy(tmp_path))) as client:
        engine = create_engine(f"sqlite:///{tmp_path}/tenancy.db")
        with engine.begin() as connection:
            connection.execute(text("DELETE FROM tenancy_revisions WHERE revision > 1"))
        engine.dispose()
        assert await readiness(client) == (503, "behind")


class Unwell(InMemoryTenantStore):
    """A store of one's own, that fails or hangs when it is told to."""

    asked = 0
    error: Exception | None = None
    hangs = False

    async def get(self, tenant_id: str) -> Any:
        self.asked += 1
        if self.hangs:
            await asyncio.Event().wait()
        if self.error is not None:
            raise self.error
        return None


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def store() -> Unwell:
    return Unwell()


def clocked(tenancy: Tenancy) -> Clock:
    """A readiness that counts its seconds by a clock."""
    clock = Clock()
    tenancy.readiness = Readiness(
        tenancy.directory, tenancy.store, tenancy.settings, lambda: {"kind": "none", "connected": False}, clock
    )
    tenancy.readiness.is_open = True
    return clock


async def test_a_failing_store_makes_a_worker_unready_until_it_is_back(tmp_path: Path, store: Unwell) -> None:
    tenancy = make_tenancy(tmp_path, store=store)
    async with running(with_probes(tenancy)) as client:
        clock = clocked(tenancy)
        store.error = OSError("secret-host is away")
        answer = await client.get("/readyz")
        assert (answer.status_code, answer.json()["store"]) == (503, "failing")
        assert "secret" not in answer.text
        store.error, clock.now = None, 1
        assert await readiness(client) == (200, "ok")


async def test_many_probes_in_a_second_ask_the_store_once(tmp_path: Path, store: Unwell) -> None:
    tenancy = make_tenancy(tmp_path, store=store)
    async with running(with_probes(tenancy)) as client:
        clock = clocked(tenancy)
        for clock.now in (0, 0.5, 0.9):
            await asyncio.gather(*(client.get("/readyz") for _ in range(10)))
        assert store.asked == 1
        clock.now = 1
        await client.get("/readyz")
        assert store.asked == 2


async def test_a_hanging_store_is_asked_once_and_keeps_no_probe_waiting(
    tmp_path: Path, store: Unwell, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fastapi_tenancy.health._PATIENCE", 0.01)
    tenancy = make_tenancy(tmp_path, store=store)
    async with running(with_probes(tenancy)) as client:
        clock = clocked(tenancy)
        store.hangs = True
        for clock.now in (0, 2):
            assert await readiness(client) == (503, "slow")
        assert store.asked == 1
        await tenancy.readiness.aclose()


async def test_redis_is_reported_and_does_not_decide(tmp_path: Path, redis_url: str) -> None:
    for url, said in ((redis_url, "ok"), ("redis://127.0.0.1:1/0", "failing")):
        async with running(with_probes(make_tenancy(tmp_path, redis_url=url, bus="none"))) as client:
            answer = await client.get("/readyz")
            assert (answer.status_code, answer.json()["redis"]) == (200, said)
