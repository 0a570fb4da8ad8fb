"""New tenants get what the migrations make, whole or not at all, and their record says at which revision."""

import asyncio
import base64
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from forking import Forking
from multitenant.own_databases import Server
from places import place_named
from provisioning.alembic_folder import ASKS, AlembicFolder
from servers import drop_database, new_database, rows_of
from sqlalchemy import Column, Connection, Integer, MetaData, NullPool, String, Table, create_engine, inspect, make_url
from support import Base, Note, add_notes, make_tenancy, read_notes

from fastapi_tenancy import NamespaceMissingError, Tenancy
from fastapi_tenancy.migrations import MigrationScripts, revision_of
from fastapi_tenancy.testing import tenant_named
from fastapi_tenancy.urls import parse_url, synchronous

PLACES = (
    *("sqlite-basic", "sqlite-row", "postgresql-basic", "postgresql-schema", "postgresql-rls"),
    *("mariadb-basic", "mariadb-schema"),
)


@pytest.fixture
def folder(tmp_path: Path) -> AlembicFolder:
    return AlembicFolder(tmp_path / "migrations")


@pytest.fixture(params=PLACES)
def given(request: pytest.FixtureRequest, folder: AlembicFolder):
    with place_named(request.param, request) as place:
        yield {**place, "migrations": str(folder)}
        if request.param == "postgresql-basic":
            drop_templates(place["database_url"])


def templates_at(url: str) -> list[str]:
    query = "SELECT datname FROM pg_database WHERE datname LIKE 'tenancy\\_template\\_%' ORDER BY 1"
    return [name for (name,) in rows_of(url, query)]


def drop_templates(url: str) -> None:
    for name in templates_at(url):
        drop_database(make_url(url).set(database=name).render_as_string(hide_password=False))


async def looked_at(tenancy: Tenancy, identifier: str) -> tuple[str | None, set[str]]:
    """The revision that the tenant's tables are at, and their names."""
    tenant = await tenancy.get_tenant(identifier)
    tables = await tenancy.provider.for_tenant(tenant).tables(tenant)

    def look() -> tuple[str | None, set[str]]:
        with tables.connect() as connection:
            return revision_of(connection), set(inspect(connection).get_table_names())

    return await asyncio.to_thread(look)


async def test_a_new_tenant_has_what_the_migrations_make(tmp_path: Path, given: Mapping[str, Any]) -> None:
    async with make_tenancy(tmp_path, **given) as tenancy:
        for name in ("acme", "globex"):
            assert (await tenancy.create_tenant(name)).revision == "b2"
            revision, tables = await looked_at(tenancy, name)
            assert (revision, "made_by_migration" in tables) == ("b2", True)
            await add_notes(tenancy, name, f"of {name}")
        assert [await read_notes(tenancy, name) for name in ("acme", "globex")] == [["of acme"], ["of globex"]]


async def test_what_asks_the_database_is_run_in_the_tenants_own_place(
    tmp_path: Path, folder: AlembicFolder, given: Mapping[str, Any]
) -> None:
    folder.add("c3", "b2", ASKS)
    async with make_tenancy(tmp_path, **given) as tenancy:
        assert (await tenancy.create_tenant("acme")).revision == "c3"
        assert "made_online" in (await looked_at(tenancy, "acme"))[1]
        await add_notes(tenancy, "acme", "works")
        await tenancy.delete_tenant("acme", drop_data=True)


async def test_the_next_tenants_follow_when_the_migrations_go_on(tmp_path: Path, folder: AlembicFolder) -> None:
    async with make_tenancy(tmp_path, migrations=str(folder)) as tenancy:
        await tenancy.create_tenant("acme")
        folder.add("c3", "b2", ASKS)
        tenancy.provider.root_profile.scripts.refresh()
        assert (await tenancy.create_tenant("globex")).revision == "c3"
        assert [(await looked_at(tenancy, name))[0] for name in ("acme", "globex")] == ["b2", "c3"]


async def test_without_a_revision_the_tables_are_those_of_the_models(tmp_path: Path) -> None:
    empty = tmp_path / "empty"
    (empty / "versions").mkdir(parents=True)
    (empty / "env.py").write_text((AlembicFolder(tmp_path / "other").path / "env.py").read_text())
    async with make_tenancy(tmp_path, migrations=str(empty)) as tenancy:
        assert (await tenancy.create_tenant("acme")).revision is None
        await add_notes(tenancy, "acme", "works")


async def test_deployments_on_one_server_have_templates_of_their_own(
    tmp_path: Path, folder: AlembicFolder, postgresql_url: str, request: pytest.FixtureRequest
) -> None:
    with place_named("postgresql-basic", request) as one, place_named("postgresql-basic", request) as other:
        for place in (one, other):
            async with make_tenancy(tmp_path, **place, migrations=str(folder)) as tenancy:
                await tenancy.create_tenant("acme")
        assert len(templates_at(postgresql_url)) == 2
        drop_templates(postgresql_url)


async def test_a_template_gives_way_to_that_of_a_newer_head_and_comes_back_where_it_is_missed(
    tmp_path: Path, folder: AlembicFolder, postgresql_url: str, request: pytest.FixtureRequest
) -> None:
    with place_named("postgresql-basic", request) as place:
        async with make_tenancy(tmp_path, **place, migrations=str(folder)) as old:
            await old.create_tenant("acme")
            [first] = templates_at(postgresql_url)
            folder.add("c3", "b2", ASKS)
            async with make_tenancy(tmp_path, **place, migrations=str(folder)) as new:
                assert (await new.create_tenant("globex")).revision == "c3"
            assert first not in templates_at(postgresql_url)
            assert (await old.create_tenant("initech")).revision == "b2"
            assert first in templates_at(postgresql_url)
            assert len(templates_at(postgresql_url)) == 2
        drop_templates(postgresql_url)


async def test_migrations_go_on_from_what_the_deployments_own_template_has(
    tmp_path: Path, folder: AlembicFolder, postgresql_url: str, request: pytest.FixtureRequest
) -> None:
    with place_named("postgresql-basic", request) as place:
        template = new_database(postgresql_url)
        engine = create_engine(template, poolclass=NullPool)
        with engine.begin() as connection:
            MigrationScripts(str(folder)).upgrade(connection, "a1")
            connection.exec_driver_sql("CREATE TABLE of_the_template (id int)")
        name = make_url(template).database
        async with make_tenancy(tmp_path, **place, migrations=str(folder), tenant_template=name) as tenancy:
            assert (await tenancy.create_tenant("acme")).revision == "b2"
            revision, tables = await looked_at(tenancy, "acme")
        assert (revision, tables >= {"of_the_template", "made_by_migration"}) == ("b2", True)
        drop_database(template)


@pytest.mark.parametrize("name", ["postgresql-schema", "mariadb-schema"])
async def test_a_schema_that_was_cut_short_is_not_taken_for_whole_and_is_made_anew(
    tmp_path: Path, name: str, folder: AlembicFolder, request: pytest.FixtureRequest
) -> None:
    folder.add("c3", "b2", ASKS)
    scripts = MigrationScripts(str(folder))

    def dies_half_way(connection: Connection) -> None:
        scripts.upgrade(connection, "a1")
        raise KeyboardInterrupt

    with place_named(name, request) as place:
        async with make_tenancy(tmp_path, **place, migrations=str(folder)) as tenancy:
            manager = tenancy.provider.provide({})
            acme = await manager.place(tenant_named("acme"))
            isolation = manager._of(acme).isolation
            url = synchronous(parse_url(place["database_url"], "database_url"))
            with pytest.raises(KeyboardInterrupt):
                isolation.create_by(url, acme, dies_half_way)
            with pytest.raises(NamespaceMissingError):
                async with manager.unserved(acme):
                    pass
            await manager.create_tenant(acme)
            async with manager.unserved(acme) as profile, profile.transaction() as session:
                session.add(Note(text="works"))
            await manager.drop_tenant(acme)
            with pytest.raises(KeyboardInterrupt):
                isolation.create_by(url, acme, dies_half_way)
            await manager.drop_tenant(acme)
            left = rows_of(place["database_url"], "SELECT schema_name FROM information_schema.schemata")
            assert not any(acme.id in schema for (schema,) in left)


@pytest.mark.parametrize("name", ["sqlite-row", "postgresql-rls"])
async def test_shared_tables_that_are_behind_are_left_to_be_migrated(
    tmp_path: Path, name: str, folder: AlembicFolder, request: pytest.FixtureRequest
) -> None:
    metadata = MetaData()
    for table in Base.metadata.tables.values():
        table.to_metadata(metadata)
    Table("later", metadata, Column("tenant_id", String(32), nullable=False, index=True), Column("id", Integer))
    later = (
        'op.create_table("later", sa.Column("id", sa.Integer), sa.Column("tenant_id", sa.String(32), nullable=False))'
    )
    with place_named(name, request) as place:
        async with make_tenancy(tmp_path, **place, migrations=str(folder)) as tenancy:
            await tenancy.create_tenant("acme")
        folder.add("c3", "b2", later)
        async with make_tenancy(tmp_path, **place, migrations=str(folder), metadata=metadata) as tenancy:
            assert (await tenancy.create_tenant("globex")).revision == "b2"
            revision, tables = await looked_at(tenancy, "acme")
            assert (revision, "later" in tables) == ("b2", False)
            acme = await tenancy.get_tenant("acme")
            manager = tenancy.provider.for_tenant(acme)
            with (await manager.tables(acme)).connect() as connection:
                tenancy.provider.root_profile.scripts.upgrade(connection)
            await manager.migrated(acme)
            if name.endswith("rls"):
                query = "SELECT relrowsecurity AND relforcerowsecurity FROM pg_class WHERE relname = 'later'"
                assert [tuple(row) for row in rows_of(place["database_url"], query)] == [(True,)]


async def test_tables_that_nobody_stamped_are_left_alone(tmp_path: Path, folder: AlembicFolder) -> None:
    async with make_tenancy(tmp_path, manager_type="shared-profile") as tenancy:
        await tenancy.create_tenant("acme")
        await add_notes(tenancy, "acme", "kept")
    given = {"manager_type": "shared-profile", "migrations": str(folder)}
    async with make_tenancy(tmp_path, **given) as tenancy:
        assert (await tenancy.create_tenant("globex")).revision is None
        assert (await looked_at(tenancy, "acme"))[0] is None
        assert "made_by_migration" not in (await looked_at(tenancy, "acme"))[1]
        assert await read_notes(tenancy, "acme") == ["kept"]


async def test_an_encrypted_tenant_has_what_the_migrations_make(tmp_path: Path, folder: AlembicFolder) -> None:
    pytest.importorskip("sqlcipher3")
    given = {
        "encryption_keys": [base64.urlsafe_b64encode(os.urandom(32)).decode()],
        "encrypt_tenants": True,
        "migrations": str(folder),
    }
    async with make_tenancy(tmp_path, **given) as tenancy:
        assert (await tenancy.create_tenant("acme")).encrypted
        revision, tables = await looked_at(tenancy, "acme")
        assert (revision, "made_by_migration" in tables) == ("b2", True)


async def test_a_pending_tenant_of_an_older_revision_is_not_given(tmp_path: Path, folder: AlembicFolder) -> None:
    async with make_tenancy(tmp_path, migrations=str(folder)) as tenancy:
        await tenancy.fill_pending(2)
        assert (await tenancy.create_tenant("acme")).revision == "b2"
    folder.add("c3", "b2", ASKS)
    async with make_tenancy(tmp_path, migrations=str(folder)) as tenancy:
        assert (await tenancy.create_tenant("globex")).revision == "c3"


async def test_the_event_loop_goes_on_while_a_template_is_built(tmp_path: Path, folder: AlembicFolder) -> None:
    folder.add("c3", "b2", "import time\nfor _ in range(50):\n    time.sleep(0.002)")
    async with make_tenancy(tmp_path, migrations=str(folder)) as tenancy:
        creation, turns = asyncio.create_task(tenancy.create_tenant("acme")), 0
        while not creation.done():
            await asyncio.sleep(0.001)
            turns += 1
        assert turns > 20
        assert (await creation).revision == "c3"


def test_what_was_killed_while_the_template_was_made_is_ended_by_the_same_call(
    tmp_path: Path, folder: AlembicFolder, postgresql_url: str, forked: Forking
) -> None:
    with Server.at(postgresql_url) as server:
        places = {"database_url": f"sqlite:///{tmp_path}/tenancy.db", "tenant_database_url": server.named("t_{id}")}
        settings = {**places, "migrations": str(folder)}
        order = {"server": server.url, "settings": settings, "before": sorted(server.before)}
        process = forked.run(Path(__file__).with_name("kill_template.py"), json.dumps(order))
    assert process.returncode == 0, process.stderr
