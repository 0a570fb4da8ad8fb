"""Endpoints ask for a service by its type, and get that of the request's tenant."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import pytest
from fastapi import Depends, FastAPI, WebSocket
from fastapi.testclient import TestClient
from services.service_support import DATALESS
from sqlalchemy import select
from support import Note, client_of, make_app, make_tenancy, named, read_notes, running

from fastapi_tenancy import ConfigurationError, Profile, Tenancy, TenantService


class CrmClient:
    """As one of a vendor: it has the tenant's key, and the application notes when it is closed."""

    def __init__(self, profile: Profile) -> None:
        self.profile = profile
        self.key = profile.settings.get("crm_key", "none")
        self.closed = False

    def __str__(self) -> str:
        return f"{self.profile.tenant.identifier} with {self.key}"


class Clients(list[CrmClient]):
    """What a factory has made."""

    async def make(self, profile: Profile) -> AsyncIterator[CrmClient]:
        client = CrmClient(profile)
        self.append(client)
        yield client
        client.closed = True


def make_crm_app(tenancy: Tenancy) -> FastAPI:
    app = make_app(tenancy)

    @app.get("/crm")
    async def crm(crm: TenantService[CrmClient]) -> str:
        return str(crm)

    @app.get("/sync/crm")
    def crm_in_a_thread(crm: TenantService[CrmClient]) -> str:
        return str(crm)

    def two_of_a_dependency(crm: TenantService[CrmClient]) -> CrmClient:
        return crm

    @app.get("/twice")
    async def twice(
        one: TenantService[CrmClient], other: Annotated[CrmClient, Depends(two_of_a_dependency)]
    ) -> dict[str, bool]:
        return {"same": one is other}

    @app.websocket("/ws")
    async def websocket(websocket: WebSocket, crm: TenantService[CrmClient]) -> None:
        await websocket.accept()
        await websocket.send_text(str(crm))
        await websocket.close()

    @app.get("/unknown")
    async def unknown(crm: TenantService[int]) -> None: ...

    return app


@pytest.fixture
def clients() -> Clients:
    return Clients()


@pytest.fixture
async def tenancy(tmp_path: Path, clients: Clients) -> AsyncIterator[Tenancy]:
    """Open, with the service and two tenants that have keys; no tenant has data."""
    tenancy = make_tenancy(tmp_path, manager_type=DATALESS, profile_cache_size=1)
    tenancy.service(clients.make)
    async with tenancy:
        await tenancy.create_tenant("acme", settings={"crm_key": "a"})
        await tenancy.create_tenant("globex", settings={"crm_key": "g"})
        yield tenancy


@pytest.mark.parametrize("path", ["/crm", "/sync/crm"])
async def test_an_endpoint_gets_the_service_of_its_tenant(tenancy: Tenancy, path: str) -> None:
    async with client_of(make_crm_app(tenancy)) as client:
        for identifier, answer in (("acme", "acme with a"), ("globex", "globex with g"), ("acme", "acme with a")):
            assert (await client.get(path, headers=named(identifier))).json() == answer


async def test_requests_at_the_same_time_share_one(tenancy: Tenancy, clients: Clients) -> None:
    async with client_of(make_crm_app(tenancy)) as client:
        answers = await asyncio.gather(*(client.get("/crm", headers=named("acme")) for _ in range(20)))
    assert {answer.json() for answer in answers} == {"acme with a"}
    assert len(clients) == 1


async def test_a_request_gets_the_same_in_every_dependency(tenancy: Tenancy) -> None:
    async with client_of(make_crm_app(tenancy)) as client:
        assert (await client.get("/twice", headers=named("acme"))).json() == {"same": True}


def test_a_websocket_gets_it_too(tmp_path: Path, clients: Clients) -> None:
    tenancy = make_tenancy(tmp_path, manager_type=DATALESS)
    tenancy.service(clients.make)
    with TestClient(make_crm_app(tenancy)) as client:
        client.portal.call(tenancy.create_tenant, "acme")  # type: ignore[union-attr]  # it has one inside the block
        with client.websocket_connect("/ws", headers=named("acme")) as websocket:
            assert websocket.receive_text() == "acme with none"
    assert [client.closed for client in clients] == [True]


async def test_without_a_tenant_there_is_none(tenancy: Tenancy, clients: Clients) -> None:
    async with client_of(make_crm_app(tenancy)) as client:
        assert (await client.get("/crm")).status_code == 400
    assert clients == []


async def test_a_type_that_nobody_registered_is_the_applications_mistake(tenancy: Tenancy) -> None:
    async with client_of(make_crm_app(tenancy)) as client:
        with pytest.raises(ConfigurationError, match="no service of the type int is registered, but CrmClient"):
            await client.get("/unknown", headers=named("acme"))


def test_it_is_no_parameter_in_the_document(tmp_path: Path) -> None:
    app = make_crm_app(make_tenancy(tmp_path))
    for path in ("/crm", "/sync/crm", "/twice"):
        operation = app.openapi()["paths"][path]["get"]
        assert "parameters" not in operation
        assert "requestBody" not in operation


async def test_it_is_closed_when_its_profile_makes_room(tenancy: Tenancy, clients: Clients) -> None:
    async with tenancy.use("acme") as profile:
        await profile.service(CrmClient)
        async with tenancy.use("globex") as other:
            await other.service(CrmClient)
        assert [client.closed for client in clients] == [False, True]
    async with tenancy.use("globex"):
        assert [client.closed for client in clients] == [True, True]


async def test_changed_settings_make_a_new_one_and_who_has_the_old_goes_on(tenancy: Tenancy, clients: Clients) -> None:
    async with tenancy.use("acme") as profile:
        before = await profile.service(CrmClient)
        await tenancy.update_tenant("acme", settings={"crm_key": "b"})
        async with tenancy.use("acme") as newer:
            assert (await newer.service(CrmClient)).key == "b"
        assert await profile.service(CrmClient) is before
        assert (before.key, before.closed) == ("a", False)
    assert before.closed


async def test_a_worker_that_reads_a_newer_record_makes_a_new_one(tenancy: Tenancy) -> None:
    async with tenancy.use("acme") as profile:
        await profile.service(CrmClient)
    tenant = await tenancy.get_tenant("acme")
    await tenancy.store.save(replace(tenant, settings={"crm_key": "b"}))  # as another worker does
    async with tenancy.lease(await tenancy.get_tenant("acme")) as profile:
        assert (await profile.service(CrmClient)).key == "b"


@pytest.mark.parametrize("end", ["suspend", "delete"])
async def test_it_is_closed_when_its_tenant_is_no_longer_served(tenancy: Tenancy, clients: Clients, end: str) -> None:
    async with tenancy.use("acme") as profile:
        await profile.service(CrmClient)
    await getattr(tenancy, f"{end}_tenant")("acme")
    await asyncio.sleep(0)
    await tenancy.provider.aclose()
    assert [client.closed for client in clients] == [True]


async def test_it_is_closed_at_shutdown(tmp_path: Path, clients: Clients) -> None:
    tenancy = make_tenancy(tmp_path)
    tenancy.service(clients.make)
    async with running(make_crm_app(tenancy)) as client:
        await tenancy.create_tenant("acme")
        await client.get("/crm", headers=named("acme"))
        assert [each.closed for each in clients] == [False]
    assert [each.closed for each in clients] == [True]


async def test_every_manager_has_services_of_each_tenant(tmp_path: Path, manager_type: str, clients: Clients) -> None:
    tenancy = make_tenancy(tmp_path, manager_type=manager_type)
    tenancy.service(clients.make)
    async with tenancy:
        for identifier in ("acme", "globex"):
            await tenancy.create_tenant(identifier)
        async with tenancy.use("acme") as acme, tenancy.use("globex") as globex:
            assert str(await acme.service(CrmClient)) == "acme with none"
            assert str(await globex.service(CrmClient)) == "globex with none"


class Outbox(list[str]):
    """Notes that are written when the outbox is closed."""


async def test_a_service_reaches_its_tenants_data_also_as_it_closes(tmp_path: Path, manager_type: str) -> None:
    tenancy = make_tenancy(tmp_path, manager_type=manager_type)

    @tenancy.service
    async def outbox(profile: Profile) -> AsyncIterator[Outbox]:
        async with profile.session() as session:
            outbox = Outbox(await session.scalars(select(Note.text)))
        yield outbox
        async with profile.transaction() as session:
            session.add_all(Note(text=text) for text in outbox)

    for _ in range(2):
        async with tenancy:
            if not (await tenancy.list_tenants()).items:
                await tenancy.create_tenant("acme")
            async with tenancy.use("acme") as profile:
                (await profile.service(Outbox)).append("x")
    async with tenancy:
        assert await read_notes(tenancy, "acme") == ["x", "x", "x"]


async def test_a_profile_that_may_be_closed_any_time_gives_services_until_then(tenancy: Tenancy) -> None:
    manager: Any = tenancy.provider.provide({})
    profile = await manager.get_tenant_profile(await tenancy.get_tenant("acme"), {"extra": 1})
    assert (await profile.service(CrmClient)).key == "a"
