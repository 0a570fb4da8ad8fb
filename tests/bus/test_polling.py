"""The log of changes is read in the order of the commits, and whoever missed a part of it forgets everything."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from prepared_stores import new_store_database, put_store
from servers import new_database
from sqlalchemy import Connection, text
from workers import POLLED, knows, two_workers, until

from fastapi_tenancy import SQLAlchemyTenantStore
from fastapi_tenancy.bus import Change
from fastapi_tenancy.bus.change import Messages
from fastapi_tenancy.store import ChangeStore
from fastapi_tenancy.testing import tenant_named


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[SQLAlchemyTenantStore]:
    put_store(tmp_path / "tenancy.db")
    store = SQLAlchemyTenantStore(f"sqlite:///{tmp_path}/tenancy.db")
    await store.open()
    store.log_changes(Messages().write)
    yield store
    await store.close()


def number_of(entries: object) -> list[int]:
    assert isinstance(entries, list)
    return [number for number, _ in entries]


async def test_the_log_holds_what_was_committed(store: SQLAlchemyTenantStore) -> None:
    assert isinstance(store, ChangeStore)
    assert await store.last_change() == 0
    acme = tenant_named("acme")
    await store.add(acme)
    ((number, message),) = await store.changes_from(0) or ()
    assert (number, await store.last_change()) == (1, 1)
    assert Messages().changes_in(message) == [Change.of_tenant(acme.id, "acme")]


async def test_a_change_that_is_rolled_back_is_not_told(store: SQLAlchemyTenantStore) -> None:
    await store.add(tenant_named("acme"))
    with pytest.raises(Exception, match="taken"):
        await store.add(tenant_named("acme"))
    assert await store.last_change() == 1


async def test_nothing_is_read_while_nothing_is_written(store: SQLAlchemyTenantStore) -> None:
    assert await store.changes_from(0) == []
    assert await store.changes_from(0) is None
    await store.add(tenant_named("acme"))
    assert number_of(await store.changes_from(0)) == [1]
    assert await store.changes_from(0) is None


async def test_the_log_is_pruned_and_its_numbers_go_on(store: SQLAlchemyTenantStore) -> None:
    def work(connection: Connection) -> None:
        for number in range(1203):
            store._tell(connection, Change.of_token(str(number)))

    await store._write(work)
    assert number_of(await store.changes_from(0)) == list(range(201, 1204))


async def test_a_worker_that_missed_a_part_of_the_log_forgets_everything(tmp_path: Path) -> None:
    async with two_workers(tmp_path, **POLLED) as (here, there):
        await here.create_tenant("acme")
        await here.create_tenant("globex")

        async def has_heard_all() -> bool:
            return there.stats()["bus"]["received"] == here.stats()["bus"]["published"]

        await until(has_heard_all)
        assert (await knows(there, "acme"), await knows(there, "initech")) == ("active", None)
        globex = await here.get_tenant("globex")

        def by_hand(connection: Connection) -> None:
            connection.execute(text("UPDATE tenancy_tenants SET identifier = 'initech' WHERE identifier = 'acme'"))
            connection.execute(text("DELETE FROM tenancy_changes"))
            store._tell(connection, Change.of_tenant(globex.id))
            connection.execute(text("UPDATE tenancy_changes SET id = id + 5000"))

        store = here.store
        await store._write(by_hand)

        async def is_renamed() -> bool:
            return await knows(there, "acme") is None and await knows(there, "initech") == "active"

        await until(is_renamed)


@pytest.mark.parametrize(("server", "nap"), [("postgresql_url", "pg_sleep(0.2)"), ("mysql_url", "sleep(0.2)")])
async def test_entries_become_visible_in_the_order_of_their_numbers(
    request: pytest.FixtureRequest, server: str, nap: str
) -> None:
    url = request.getfixturevalue(server)
    store = SQLAlchemyTenantStore(new_store_database(url) if server == "postgresql_url" else new_database(url))
    await store.open()
    store.log_changes(Messages().write)
    await asyncio.gather(store.last_change(), store.last_change())  # opens two connections
    told = asyncio.Event()

    def slow(connection: Connection) -> None:
        store._tell(connection, Change.of_token("first"))
        told.set()
        connection.execute(text(f"SELECT {nap}"))

    first = asyncio.create_task(store._write(slow))
    await told.wait()
    await store._write(lambda connection: store._tell(connection, Change.of_token("second")))
    assert number_of(await store.changes_from(0)) == [1, 2]
    await first
    await store.close()


async def test_a_store_has_an_id_that_stays(tmp_path: Path, store: SQLAlchemyTenantStore) -> None:
    again = SQLAlchemyTenantStore(store.url)
    await again.open()
    assert again.store_id == store.store_id
    assert len(store.store_id) == 32
    await again.close()
