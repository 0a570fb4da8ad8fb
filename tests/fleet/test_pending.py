"""Tenants that were made ahead are given whole, each to one, and lost ones are cleared away."""

import asyncio
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from places import place_named
from sqlalchemy import MetaData, String, Table, select
from sqlalchemy.schema import Column
from support import Base, Folder, Note, add_notes, make_tenancy, read_notes

from fastapi_tenancy import (
    ConfigurationError,
    InMemoryTenantStore,
    StoreUnavailableError,
    Tenancy,
    TenancyEvent,
    Tenant,
    TenantExistsError,
    TenantNotFoundError,
    TenantStatus,
    VetoedError,
    current_tenant,
)


def files(folder: Path) -> set[str]:
    return {file.name.partition(".")[0] for file in folder.glob("tenants/*")}


async def ids_ready(tenancy: Tenancy) -> set[str]:
    return {each.id for each in await tenancy.store.list_pending() if each.is_ready}


@pytest.fixture(params=["sqlite-basic", "postgresql-schema", "mariadb-schema"])
def server_place(request: pytest.FixtureRequest) -> Iterator[dict[str, Any]]:
    with place_named(request.param, request) as place:
        yield place


async def test_of_many_that_sign_up_at_once_each_gets_a_place_of_its_own(tmp_path: Path, server_place) -> None:
    async with make_tenancy(tmp_path, **server_place) as first, make_tenancy(tmp_path, **server_place) as second:
        assert await first.fill_pending(5) == 5
        ready = await ids_ready(first)
        names = [f"tenant-{number}" for number in range(8)]
        made = await asyncio.gather(
            *((first, second)[number % 2].create_tenant(name) for number, name in enumerate(names))
        )
        assert len({tenant.id for tenant in made}) == 8
        assert ready <= {tenant.id for tenant in made}
        assert await first.pending_tenants() == 0
        for name in names:
            await add_notes(first, name, f"of {name}")
        assert [await read_notes(first, name) for name in names] == [[f"of {name}"] for name in names]
        for name in names:
            await first.delete_tenant(name, drop_data=True)


async def test_workers_that_fill_at_once_make_no_more_than_are_wanted(tmp_path: Path) -> None:
    async with make_tenancy(tmp_path) as first, make_tenancy(tmp_path) as second:
        made = await asyncio.gather(first.fill_pending(4), second.fill_pending(4))
        assert sum(made) == await first.pending_tenants() == len(files(tmp_path)) <= 4
        await first.fill_pending(4)
        assert await second.pending_tenants() == 4


async def test_a_pending_tenant_is_given_as_an_ordinary_one_is_created(tmp_path: Path) -> None:
    told: list[TenancyEvent] = []
    tenancy = make_tenancy(tmp_path)
    tenancy.on("provisioned", "created")(told.append)
    async with tenancy:
        await tenancy.fill_pending(1)
        [ready] = await ids_ready(tenancy)
        acme = await tenancy.create_tenant("acme", name="Acme", settings={"plan": "pro"})
        assert (acme.id, acme.name, acme.settings["plan"], acme.is_active) == (ready, "Acme", "pro", True)
        assert acme == await tenancy.get_tenant("acme")
        entries = (await tenancy.audit_trail("acme")).items
        assert [(each.action, each.tenant_id) for each in entries] == [("created", ready), ("provisioned", ready)]
    assert [(event.kind, event.tenant) for event in told] == [("provisioned", acme), ("created", acme)]


async def test_a_name_that_was_unknown_a_moment_ago_is_known_at_once(tmp_path: Path) -> None:
    async with make_tenancy(tmp_path) as tenancy:
        await tenancy.fill_pending(1)
        with pytest.raises(TenantNotFoundError):
            await tenancy.directory.find("acme")
        acme = await tenancy.create_tenant("acme")
        assert await tenancy.directory.find("acme") == acme


async def test_where_none_is_ready_a_tenant_is_made(tmp_path: Path) -> None:
    async with make_tenancy(tmp_path) as tenancy:
        await tenancy.fill_pending(1)
        for name in ("acme", "globex"):
            await tenancy.create_tenant(name)
            await add_notes(tenancy, name, "works")


async def test_only_a_plain_creation_takes_what_was_made_ahead(tmp_path: Path) -> None:
    async with make_tenancy(tmp_path) as tenancy:
        await tenancy.fill_pending(1)
        await tenancy.create_tenant("own", database_url=f"sqlite:///{tmp_path}/own.db")
        await tenancy.create_tenant("row", manager_type="shared-profile")
        assert await tenancy.pending_tenants() == 1


async def test_what_ends_a_creation_before_it_begins_costs_no_place(tmp_path: Path) -> None:
    tenancy = make_tenancy(tmp_path)

    @tenancy.on("created", veto=True)
    def refuse(event: TenancyEvent) -> None:
        if event.tenant.identifier == "spam":
            raise ValueError("no")

    async with tenancy:
        await tenancy.create_tenant("acme")
        await tenancy.fill_pending(1)
        with pytest.raises(VetoedError):
            await tenancy.create_tenant("spam")
        with pytest.raises(TenantExistsError):
            await tenancy.create_tenant("acme")
        assert await tenancy.pending_tenants() == 1


async def test_whoever_hears_of_a_reserved_tenant_hears_its_id_and_can_stop_it(tmp_path: Path) -> None:
    heard: list[Tenant] = []

    async def stop(tenant: Tenant) -> None:
        heard.append(await tenancy.get_tenant("acme"))
        raise RuntimeError("stop")

    async with make_tenancy(tmp_path) as tenancy:
        await tenancy.fill_pending(1)
        [ready] = await ids_ready(tenancy)
        with pytest.raises(RuntimeError, match="stop"):
            await tenancy.create_tenant("acme", on_reserved=stop)
        assert [(each.id, each.status) for each in heard] == [(ready, TenantStatus.PROVISIONING)]
        assert (files(tmp_path), await tenancy.store.list_pending()) == (set(), [])
        with pytest.raises(TenantNotFoundError):
            await tenancy.get_tenant("acme")


@pytest.mark.parametrize("ready", [0, 1])
async def test_seeds_are_in_every_new_tenant(tmp_path: Path, ready: int) -> None:
    tenancy = make_tenancy(tmp_path)

    @tenancy.seed
    async def folders(session, tenant: Tenant) -> None:
        session.add(Folder(title=f"Inbox of {tenant.name}"))

    @tenancy.seed
    def notes(session, _tenant: Tenant) -> None:
        inbox = session.scalars(select(Folder)).one()
        session.add(Note(text=f"{inbox.title}, {current_tenant().identifier}", folder_id=inbox.id))

    async with tenancy:
        await tenancy.fill_pending(ready)
        assert (await tenancy.create_tenant("acme", name="Acme")).is_active
        assert await read_notes(tenancy, "acme") == ["Inbox of Acme, acme"]


@pytest.mark.parametrize("ready", [0, 1])
@pytest.mark.parametrize("manager_type", ["basic", "shared-profile"])
async def test_a_seed_that_fails_leaves_nothing(tmp_path: Path, manager_type: str, ready: int) -> None:
    tenancy = make_tenancy(tmp_path, manager_type=manager_type)
    fails = [True]

    @tenancy.seed
    async def notes(session, _tenant: Tenant) -> None:
        session.add(Note(text="first"))

    @tenancy.seed
    async def second(session, _tenant: Tenant) -> None:
        await session.flush()
        if fails.pop():
            raise RuntimeError("broken")

    async with tenancy:
        if manager_type == "basic":
            await tenancy.fill_pending(ready)
        with pytest.raises(RuntimeError, match="broken"):
            await tenancy.create_tenant("acme")
        with pytest.raises(TenantNotFoundError):
            await tenancy.get_tenant("acme")
        assert files(tmp_path) == set()
        fails.append(False)
        await tenancy.create_tenant("acme")
        assert await read_notes(tenancy, "acme") == ["first"]


async def test_seeds_are_registered_before_the_start(on_sqlite: Tenancy) -> None:
    with pytest.raises(ConfigurationError, match="before its lifespan"):
        on_sqlite.seed(lambda _session, _tenant: None)


async def test_what_was_made_by_other_models_is_not_given_and_is_dropped(tmp_path: Path) -> None:
    async with make_tenancy(tmp_path) as tenancy:
        await tenancy.fill_pending(2)
    old = files(tmp_path)
    metadata = MetaData()
    for table in Base.metadata.tables.values():
        table.to_metadata(metadata)
    Table("added", metadata, Column("tenant_id", String(32), nullable=False, index=True), Column("x", String(1)))
    later = datetime.now(UTC) + timedelta(seconds=11)
    async with make_tenancy(tmp_path, metadata=metadata, now=lambda: later) as tenancy:
        assert await tenancy.pending_tenants() == 0
        assert (await tenancy.create_tenant("acme")).id not in old
        assert await tenancy.fill_pending(1) == 1
        assert files(tmp_path).isdisjoint(old)
        assert len(await tenancy.store.list_pending()) == 1


async def test_a_failed_filling_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with make_tenancy(tmp_path) as tenancy:
        manager = tenancy.provider.provide({})
        real = manager.create_tenant

        async def fails_at_the_end(tenant: Tenant) -> None:
            await real(tenant)
            raise RuntimeError("disk full")

        monkeypatch.setattr(manager, "create_tenant", fails_at_the_end)
        with pytest.raises(RuntimeError, match="disk full"):
            await tenancy.fill_pending(1)
        assert (files(tmp_path), await tenancy.store.list_pending()) == (set(), [])


class HesitantStore(InMemoryTenantStore):
    """Records a claim, and says so only when it is told to."""

    def __init__(self) -> None:
        super().__init__()
        self.claimed, self.go_on = asyncio.Event(), asyncio.Event()

    async def claim_pending(self, *args: Any, **kw: Any) -> Tenant | None:
        made = await super().claim_pending(*args, **kw)
        self.claimed.set()
        await self.go_on.wait()
        return made


async def test_a_cancelled_sign_up_gives_back_what_it_had_claimed(tmp_path: Path) -> None:
    store = HesitantStore()
    async with make_tenancy(tmp_path, store=store) as tenancy:
        await tenancy.fill_pending(1)
        creation = asyncio.create_task(tenancy.create_tenant("acme"))
        await store.claimed.wait()
        creation.cancel()
        store.go_on.set()
        with pytest.raises(asyncio.CancelledError):
            await creation
        with pytest.raises(TenantNotFoundError):
            await tenancy.get_tenant("acme")
        assert files(tmp_path) == set()


async def test_a_claim_that_is_answered_too_late_is_undone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fastapi_tenancy.claims._UNDO_PATIENCE", 0.01)
    store = HesitantStore()
    async with make_tenancy(tmp_path, store=store, store_timeout=0.05) as tenancy:
        await tenancy.fill_pending(1)
        with pytest.raises(StoreUnavailableError):
            await tenancy.create_tenant("acme")
        store.go_on.set()
        async with asyncio.timeout(20):
            while await store.get_by_identifier("acme") is not None:
                await asyncio.sleep(0.001)
        assert files(tmp_path) == set()


@pytest.mark.parametrize(
    "given", [{"manager_type": "shared-profile"}, {"placement": lambda _: None}], ids=["rows", "placement"]
)
async def test_what_cannot_be_made_ahead_is_refused(tmp_path: Path, given: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError, match="made ahead"):
        make_tenancy(tmp_path, pending_tenants=1, **given)
    async with make_tenancy(tmp_path, **given) as tenancy:
        with pytest.raises(ConfigurationError, match="made ahead"):
            await tenancy.fill_pending(1)
        await tenancy.create_tenant("acme")


async def test_a_store_that_keeps_none_is_refused(tmp_path: Path) -> None:
    class Plain:
        """Has the methods of a store of tenants only."""

        def __init__(self, store: InMemoryTenantStore) -> None:
            for name in ("open", "close", "add", "get", "get_by_identifier", "page", "save", "remove", "retained"):
                setattr(self, name, getattr(store, name))

    with pytest.raises(ConfigurationError, match="keeps no pending tenants"):
        make_tenancy(tmp_path, store=Plain(InMemoryTenantStore()), pending_tenants=1)


async def test_the_application_ends_also_right_after_a_sign_up(tmp_path: Path) -> None:
    async with asyncio.timeout(20):
        for number in range(5):
            async with make_tenancy(tmp_path, pending_tenants=1) as tenancy:
                while not await tenancy.pending_tenants():
                    await asyncio.sleep(0.002)
                await tenancy.create_tenant(f"tenant-{number}")
