"""A database for each tenant, on PostgreSQL and on MariaDB: it is the tenant's, or it is not touched."""

import asyncio
from dataclasses import replace
from pathlib import Path

import pytest
from multitenant.own_databases import Server
from servers import drop_database, rows_of
from sqlalchemy import make_url, select
from support import Note, add_notes, make_tenancy, read_notes

from fastapi_tenancy import (
    NamespaceExistsError,
    NamespaceMissingError,
    Tenancy,
    TenantNotFoundError,
    TenantUnavailableError,
)

THEIRS = ("CREATE TABLE notes (secret VARCHAR(9))", "INSERT INTO notes VALUES ('theirs')")


@pytest.fixture
async def tenancy(tmp_path: Path, server: Server):
    async with make_tenancy(tmp_path, database_url=server.url, pool_timeout=30) as tenancy:
        yield tenancy


async def test_each_tenant_has_a_database_that_goes_with_it(tenancy: Tenancy, server: Server) -> None:
    acme, globex = [await tenancy.create_tenant(name) for name in ("acme", "globex")]
    await add_notes(tenancy, "acme", "of acme")
    assert (await read_notes(tenancy, "acme"), await read_notes(tenancy, "globex")) == (["of acme"], [])
    assert acme.namespace == f"basic/{acme.id}"
    assert server.left() == {f"t_{acme.id}", f"t_{globex.id}"}
    await tenancy.delete_tenant("acme", drop_data=True)
    assert server.left() == {f"t_{globex.id}"}


async def test_a_database_holds_the_tenants_tables_and_its_mark_only(tenancy: Tenancy, server: Server) -> None:
    acme = await tenancy.create_tenant("acme")
    assert server.tables(f"t_{acme.id}") == {"folders", "notes", "tenancy_owner"}


async def test_unicode_is_kept(tenancy: Tenancy) -> None:
    await tenancy.create_tenant("acme")
    await add_notes(tenancy, "acme", "株式会社 🎉")
    assert await read_notes(tenancy, "acme") == ["株式会社 🎉"]


async def test_tables_of_the_same_name_in_the_deployments_own_database_are_neither_read_nor_in_the_way(
    tenancy: Tenancy, server: Server
) -> None:
    for statement in THEIRS:
        rows_of(server.url, statement)
    await tenancy.create_tenant("acme")
    await add_notes(tenancy, "acme", "mine")
    assert await read_notes(tenancy, "acme") == ["mine"]
    assert rows_of(server.url, "SELECT * FROM notes") == [("theirs",)]


async def test_twenty_are_created_at_once_within_a_small_budget(tmp_path: Path, server: Server) -> None:
    async with make_tenancy(
        tmp_path, database_url=server.url, connection_budget=3, pool_timeout=60, store_timeout=60
    ) as tenancy:
        tenants = await asyncio.gather(*(tenancy.create_tenant(f"n{number}") for number in range(20)))
    assert server.left() == {f"t_{tenant.id}" for tenant in tenants}


@pytest.mark.parametrize("statements", [(), THEIRS], ids=["empty", "with tables"])
async def test_a_database_that_is_there_already_is_neither_used_nor_touched(
    tenancy: Tenancy, server: Server, statements: tuple[str, ...]
) -> None:
    url = server.create("theirs", *statements)
    for _ in range(2):
        with pytest.raises(NamespaceExistsError, match="move it away"):
            await tenancy.create_tenant("acme", database_url=url)
        with pytest.raises(TenantNotFoundError):
            await tenancy.get_tenant("acme")
    assert server.left() == {"theirs"}
    assert server.tables("theirs") == ({"notes"} if statements else set())


async def test_a_database_that_another_application_has_in_a_derived_place_is_not_touched(
    tenancy: Tenancy, server: Server
) -> None:
    manager, acme = tenancy.provider.provide({}), await tenancy.create_tenant("acme")
    globex = replace(acme, id="7" * 32)
    url = server.create(f"t_{globex.id}", "CREATE TABLE tenancy_owner (tenant_id VARCHAR(32))", *THEIRS)
    rows_of(url, "INSERT INTO tenancy_owner VALUES ('somebody else')")
    for act in (manager.create_tenant, manager.drop_tenant):
        with pytest.raises(NamespaceExistsError):
            await act(globex)
    assert rows_of(url, "SELECT * FROM notes") == [("theirs",)]
    assert server.left() == {f"t_{acme.id}", f"t_{globex.id}"}


async def test_the_librarys_own_database_cannot_be_a_tenants(tenancy: Tenancy, server: Server) -> None:
    with pytest.raises(NamespaceExistsError):
        await tenancy.create_tenant("acme", database_url=server.url)
    assert "tenancy_tenants" in server.tables(make_url(server.url).database or "")


async def test_a_database_url_belongs_to_one_tenant_however_it_is_spelt(tenancy: Tenancy, server: Server) -> None:
    acme = await tenancy.create_tenant("acme", database_url=server.named("own"))
    assert (
        acme.namespace
        == f"{'postgresql' if server.is_postgresql else 'mysql'}/127.0.0.1:{make_url(server.url).port}/own"
    )
    # Nobody can know that a name and an address lead to one server; the mark inside the database tells.
    for spelling in (server.named("own"), server.named("own", host="localhost")):
        with pytest.raises(NamespaceExistsError):
            await tenancy.create_tenant("globex", database_url=spelling)
    await add_notes(tenancy, "acme", "kept")
    assert await read_notes(tenancy, "acme") == ["kept"]
    await tenancy.delete_tenant("acme", drop_data=True)
    assert server.left() == set()


async def test_a_name_may_have_any_characters(tenancy: Tenancy, server: Server) -> None:
    name = "x 'y\" `z` 100% %s {id}: -- é"
    acme = await tenancy.create_tenant("acme", database_url=server.named(name))
    await add_notes(tenancy, "acme", "kept")
    assert await read_notes(tenancy, "acme") == ["kept"]
    assert server.left() == {name.replace("{id}", acme.id)}
    await tenancy.delete_tenant("acme", drop_data=True)
    assert server.left() == set()


async def test_a_password_may_have_any_characters(tmp_path: Path, server: Server) -> None:
    password = "p@:/%?#[] {id}\"'"
    make = (
        "CREATE ROLE dba LOGIN CREATEDB PASSWORD '{}'" if server.is_postgresql else "CREATE USER dba IDENTIFIED BY '{}'"
    )
    rows_of(server.url, make.replace("{}", password.replace("'", "''")))
    if not server.is_postgresql:
        rows_of(server.url, "GRANT ALL ON *.* TO dba")
    url = make_url(server.url).set(username="dba", password=password, database="own")
    async with make_tenancy(tmp_path) as tenancy:
        acme = await tenancy.create_tenant("acme", database_url=url)
        assert make_url(str(acme.database_url)) == url
        await add_notes(tenancy, "acme", "kept")
        assert await read_notes(tenancy, "acme") == ["kept"]
        await tenancy.delete_tenant("acme", drop_data=True)
    rows_of(server.url, f"DROP {'ROLE' if server.is_postgresql else 'USER'} dba")


async def test_tenants_are_placed_on_several_servers(tmp_path: Path, server: Server) -> None:
    async def place(tenant):
        spelling = {"acme": "127.0.0.1", "globex": "localhost"}.get(tenant.identifier)
        return spelling and make_url(server.named("of_{id}", host=spelling))

    async with make_tenancy(tmp_path, database_url=server.url, placement=place) as tenancy:
        acme, globex, derived = [await tenancy.create_tenant(name) for name in ("acme", "globex", "initech")]
        for name in ("acme", "globex", "initech"):
            await add_notes(tenancy, name, name)
            assert await read_notes(tenancy, name) == [name]
        assert [make_url(each.database_url).host for each in (acme, globex)] == ["127.0.0.1", "localhost"]
        assert (derived.database_url, derived.namespace) == (None, f"basic/{derived.id}")
        assert len(tenancy.stats()["servers"]) == 2
        assert server.left() == {f"of_{acme.id}", f"of_{globex.id}", f"t_{derived.id}"}


async def test_what_was_restored_under_another_tenants_name_is_not_served(tenancy: Tenancy, server: Server) -> None:
    acme = await tenancy.create_tenant("acme")
    rows_of(server.named(f"t_{acme.id}"), "UPDATE tenancy_owner SET tenant_id = 'another'")
    with pytest.raises(NamespaceMissingError, match="belongs to another"):
        await read_notes(tenancy, "acme")
    with pytest.raises(NamespaceExistsError):
        await tenancy.delete_tenant("acme", drop_data=True)
    assert server.left() == {f"t_{acme.id}"}


async def test_what_has_no_mark_is_not_served(tenancy: Tenancy, server: Server) -> None:
    acme = await tenancy.create_tenant("acme")
    rows_of(server.named(f"t_{acme.id}"), "DROP TABLE tenancy_owner")
    with pytest.raises(NamespaceMissingError, match="belongs to nobody"):
        await read_notes(tenancy, "acme")


async def test_a_missing_database_is_an_error_and_not_an_empty_tenant(tenancy: Tenancy, server: Server) -> None:
    acme = await tenancy.create_tenant("acme")
    drop_database(server.named(f"t_{acme.id}"))
    with pytest.raises(NamespaceMissingError):
        await read_notes(tenancy, "acme")
    assert server.left() == set()
    await tenancy.delete_tenant("acme", drop_data=True)


async def test_a_server_that_is_away_is_a_503(tmp_path: Path, server: Server) -> None:
    away = make_url(server.url).set(port=1, database="t_{id}")
    settings = {"database_url": f"sqlite:///{tmp_path}/tenancy.db"}
    async with make_tenancy(tmp_path, **settings, tenant_database_url=server.named("t_{id}")) as tenancy:
        await tenancy.create_tenant("acme")
    text = away.render_as_string(hide_password=False).replace("%7Bid%7D", "{id}")
    async with make_tenancy(tmp_path, **settings, tenant_database_url=text) as tenancy:
        with pytest.raises(TenantUnavailableError) as caught:
            await read_notes(tenancy, "acme")
        assert (caught.value.status, type(caught.value)) == (503, TenantUnavailableError)
        with pytest.raises(TenantUnavailableError):
            await tenancy.create_tenant("globex")


async def test_who_is_still_connected_cannot_hold_up_the_deletion(tenancy: Tenancy, server: Server, tmp_path) -> None:
    acme = await tenancy.create_tenant("acme")
    other_worker = make_tenancy(tmp_path, database_url=server.url)
    async with other_worker, other_worker.lease(acme) as profile, profile.session() as session:
        await session.scalars(select(Note))
        await asyncio.wait_for(tenancy.delete_tenant("acme", drop_data=True), 5)
        await session.invalidate()
    assert server.left() == set()
