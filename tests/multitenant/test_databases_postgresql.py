"""What only PostgreSQL has: templates, and a role for each tenant."""

import asyncio
from pathlib import Path

import pytest
from multitenant.own_databases import Server
from psycopg.errors import InsufficientPrivilege
from servers import plain_role, rows_of
from sqlalchemy import (
    DDL,
    CheckConstraint,
    Column,
    Connection,
    Engine,
    Enum,
    Integer,
    MetaData,
    String,
    Table,
    event,
    insert,
    make_url,
    select,
    text,
)
from support import add_notes, make_tenancy, read_notes

from fastapi_tenancy import ConfigurationError, Tenancy, TenantUnavailableError
from fastapi_tenancy.multitenant.databases import postgresql as postgresql_databases


@pytest.fixture
async def roles(tmp_path: Path, postgresql: Server):
    """Tenants with roles of their own, made by a user who may do no more than create databases and roles."""
    url = plain_role(postgresql.url, createdb=True, createrole=True)
    async with make_tenancy(tmp_path, database_url=url, tenant_role=True) as tenancy:
        for name in ("acme", "globex"):
            await tenancy.create_tenant(name)
            await add_notes(tenancy, name, f"of {name}")
        yield tenancy
        for name in ("acme", "globex"):
            await tenancy.delete_tenant(name, drop_data=True)
    assert (postgresql.left(), postgresql.roles()) == (set(), set())


async def url_of(tenancy: Tenancy, identifier: str) -> str:
    return str((await tenancy.get_tenant(identifier)).database_url)


async def test_a_database_is_copied_from_the_template(tmp_path: Path, postgresql: Server) -> None:
    template = "CREATE TABLE plans AS SELECT 'pro' AS name", "CREATE TABLE folders (id serial PRIMARY KEY, title text)"
    postgresql.create("template", *template)
    async with make_tenancy(tmp_path, database_url=postgresql.url, tenant_template="template") as tenancy:
        await asyncio.gather(*(tenancy.create_tenant(name) for name in ("acme", "globex", "initech")))
        await add_notes(tenancy, "acme", "kept")  # a table that the template has not
        assert await read_notes(tenancy, "acme") == ["kept"]
        async with tenancy.use("acme") as profile, profile.session() as session:
            assert await session.scalar(text("SELECT name FROM plans")) == "pro"


@pytest.mark.parametrize("driver", ["psycopg", "asyncpg"])
async def test_tables_are_created_as_they_are_written(tmp_path: Path, postgresql: Server, driver: str) -> None:
    pytest.importorskip(driver)
    metadata = MetaData()
    plans = Table(
        "100% ; plans",
        metadata,
        Column("id", Integer, primary_key=True),
        Column("kind", Enum("a", "b", name="kind")),
        Column("rate", String(9), CheckConstraint("rate LIKE '%\\%'"), server_default="10%", comment="it's 100% ; :x"),
    )
    event.listen(plans, "after_create", DDL("COMMENT ON TABLE %(fullname)s IS 'for %% each'"))
    url = make_url(postgresql.url).set(drivername=f"postgresql+{driver}")
    async with make_tenancy(tmp_path, database_url=url, metadata=metadata) as tenancy:
        await tenancy.create_tenant("acme")
        Table("added", metadata, Column("id", Integer, primary_key=True))
        await tenancy.create_tenant("globex")
        for name in ("acme", "globex"):
            async with tenancy.use(name) as profile, profile.session() as session:
                await session.execute(insert(plans).values(kind="a"))
                assert (await session.execute(select(plans))).one() == (1, "a", "10%")
                comments = text("SELECT obj_description(oid) FROM pg_class WHERE relname LIKE '100%plans'")
                assert await session.scalar(comments) == "for % each"


async def test_tables_may_be_filled_by_a_function_of_the_applications(tmp_path: Path, postgresql: Server) -> None:
    metadata = MetaData()
    plans = Table("plans", metadata, Column("name", String(9)))

    def fill(_table: Table, connection: Connection, **_: object) -> None:
        connection.execute(insert(plans).values(name="pro"))

    event.listen(plans, "after_create", fill)
    async with make_tenancy(tmp_path, database_url=postgresql.url, metadata=metadata) as tenancy:
        for name in ("acme", "globex"):
            await tenancy.create_tenant(name)
            async with tenancy.use(name) as profile, profile.session() as session:
                assert await session.scalar(select(plans.c.name)) == "pro"


async def test_an_application_may_have_no_tables(tmp_path: Path, postgresql: Server) -> None:
    async with make_tenancy(tmp_path, database_url=postgresql.url, metadata=MetaData()) as tenancy:
        acme = await tenancy.create_tenant("acme")
    assert postgresql.tables(f"t_{acme.id}") == {"tenancy_owner"}


async def test_a_template_that_is_not_there_is_named(tmp_path: Path, postgresql: Server) -> None:
    async with make_tenancy(tmp_path, database_url=postgresql.url, tenant_template="nowhere") as tenancy:
        with pytest.raises(ConfigurationError, match="'nowhere', which tenant_template names"):
            await tenancy.create_tenant("acme")
    assert postgresql.left() == set()


async def test_a_template_that_somebody_is_connected_to_is_a_503(
    tmp_path: Path, postgresql: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(postgresql_databases, "_TRIES", 1)  # of 5 s each, which the server waits
    template = postgresql.create("template")
    async with make_tenancy(tmp_path / "other", database_url=template) as somebody:
        assert (await somebody.list_tenants()).items == []
        async with make_tenancy(tmp_path, database_url=postgresql.url, tenant_template="template") as tenancy:
            with pytest.raises(TenantUnavailableError, match="accessed by other users"):
                await tenancy.create_tenant("acme")
    assert postgresql.left() == {"template"}


async def test_a_tenants_database_is_no_template(tmp_path: Path, postgresql: Server) -> None:
    async with make_tenancy(tmp_path, database_url=postgresql.url) as tenancy:
        acme = await tenancy.create_tenant("acme")
    async with make_tenancy(tmp_path, database_url=postgresql.url, tenant_template=f"t_{acme.id}") as tenancy:
        with pytest.raises(ConfigurationError, match="belongs to nobody"):
            await tenancy.create_tenant("globex")
    assert postgresql.left() == {f"t_{acme.id}"}


async def test_a_role_reads_and_writes_its_own_tables(roles: Tenancy) -> None:
    acme = await roles.get_tenant("acme")
    assert acme.namespace == f"basic/{acme.id}"
    assert await read_notes(roles, "acme") == ["of acme"]
    async with roles.use("acme") as profile, profile.session() as session:
        assert await session.scalar(text("SELECT current_user")) == f"t_{acme.id}"


async def test_a_role_can_connect_to_no_other_tenants_database(roles: Tenancy) -> None:
    mine, theirs = make_url(await url_of(roles, "acme")), make_url(await url_of(roles, "globex"))
    other = mine.set(database=theirs.database).render_as_string(hide_password=False)
    with pytest.raises(Exception, match="permission denied for database"):
        rows_of(other, "SELECT 1")


async def test_a_role_can_connect_to_no_database_of_a_tenant_without_a_role(roles: Tenancy, postgresql: Server) -> None:
    deployment = make_url(roles.settings.database_url)
    await roles.create_tenant("own", database_url=deployment.set(database="own"))
    other = make_url(await url_of(roles, "acme")).set(database="own").render_as_string(hide_password=False)
    with pytest.raises(Exception, match="permission denied for database"):
        rows_of(other, "SELECT 1")
    await roles.delete_tenant("own", drop_data=True)


async def test_a_role_cannot_read_the_librarys_own_tables(roles: Tenancy) -> None:
    own = make_url(roles.settings.database_url).database
    here = make_url(await url_of(roles, "acme")).set(database=own).render_as_string(hide_password=False)
    with pytest.raises(InsufficientPrivilege, match="permission denied for table tenancy_tenants"):
        rows_of(here, "SELECT * FROM tenancy_tenants")


async def test_a_role_is_nothing_more(roles: Tenancy) -> None:
    rights = "SELECT rolsuper, rolcreatedb, rolcreaterole, rolreplication, rolbypassrls FROM pg_roles WHERE rolname = "
    url = await url_of(roles, "acme")
    assert rows_of(url, f"{rights} current_user") == [(False,) * 5]
    assert rows_of(url, "SELECT rolname FROM pg_roles WHERE pg_has_role(oid, 'member') AND rolname LIKE 't\\_%'") == [
        (make_url(url).username,)
    ]


@pytest.mark.parametrize("schema", ["public", "later"])
async def test_a_role_uses_tables_that_a_migration_adds(roles: Tenancy, schema: str) -> None:
    url = await url_of(roles, "acme")
    deployment = make_url(roles.settings.database_url).set(database=make_url(url).database)
    admin = deployment.render_as_string(hide_password=False)
    if schema == "later":
        rows_of(admin, "CREATE SCHEMA later")
    rows_of(admin, f"CREATE TABLE {schema}.added (id serial PRIMARY KEY, text varchar)")
    rows_of(url, f"INSERT INTO {schema}.added (text) VALUES ('mine')")
    assert rows_of(url, f"SELECT * FROM {schema}.added") == [(1, "mine")]


async def test_a_role_uses_what_the_template_brings(tmp_path: Path, postgresql: Server) -> None:
    postgresql.create("template", "CREATE SCHEMA more", "CREATE TABLE more.plans (id serial PRIMARY KEY)")
    async with make_tenancy(
        tmp_path, database_url=postgresql.url, tenant_template="template", tenant_role=True
    ) as tenancy:
        await tenancy.create_tenant("acme")
        url = await url_of(tenancy, "acme")
        rows_of(url, "INSERT INTO more.plans DEFAULT VALUES")
        assert rows_of(url, "SELECT * FROM more.plans") == [(1,)]
        await tenancy.delete_tenant("acme", drop_data=True)


async def test_a_role_that_is_connected_does_not_hold_up_its_deletion(
    tmp_path: Path, postgresql: Server, roles: Tenancy
) -> None:
    acme = await roles.create_tenant("connected")
    other_worker = make_tenancy(tmp_path, database_url=roles.settings.database_url)
    async with other_worker, other_worker.lease(acme) as profile, profile.session() as session:
        await session.execute(text("SELECT 1"))
        await roles.delete_tenant("connected", drop_data=True)
        await session.invalidate()
    assert f"t_{acme.id}" not in postgresql.roles()


async def test_the_password_of_a_role_is_never_sent_in_clear_text(roles: Tenancy) -> None:
    statements: list[str] = []

    def note(_connection: object, _cursor: object, statement: str, *_: object) -> None:
        statements.append(statement)

    event.listen(Engine, "before_cursor_execute", note)
    try:
        acme = await roles.create_tenant("secret")
    finally:
        event.remove(Engine, "before_cursor_execute", note)
    await roles.delete_tenant("secret", drop_data=True)
    assert any(statement.startswith("CREATE ROLE") for statement in statements)
    assert not any(str(make_url(str(acme.database_url)).password) in statement for statement in statements)


async def test_a_tenant_keeps_its_role_when_roles_are_given_up(tmp_path: Path, postgresql: Server) -> None:
    async with make_tenancy(tmp_path, database_url=postgresql.url, tenant_role=True) as tenancy:
        await tenancy.create_tenant("acme")
        await add_notes(tenancy, "acme", "kept")
    async with make_tenancy(tmp_path, database_url=postgresql.url) as tenancy:
        assert await read_notes(tenancy, "acme") == ["kept"]
        await tenancy.delete_tenant("acme", drop_data=True)
    assert (postgresql.left(), postgresql.roles()) == (set(), set())


@pytest.mark.parametrize("may", [{"createdb": False}, {"createdb": True}], ids=["no database", "no role"])
async def test_who_may_not_create_is_told_what_to_grant(
    tmp_path: Path, postgresql: Server, may: dict[str, bool]
) -> None:
    url = plain_role(postgresql.url, **may)
    async with make_tenancy(tmp_path, database_url=url, tenant_role=may["createdb"]) as tenancy:
        with pytest.raises(ConfigurationError, match="ALTER ROLE"):
            await tenancy.create_tenant("acme")
    assert (postgresql.left(), postgresql.roles()) == (set(), set())


async def test_asyncpg_does_the_same(tmp_path: Path, postgresql: Server) -> None:
    pytest.importorskip("asyncpg")
    url = make_url(postgresql.url).set(drivername="postgresql+asyncpg")
    async with make_tenancy(tmp_path, database_url=url, tenant_role=True) as tenancy:
        acme = await tenancy.create_tenant("acme")
        await tenancy.create_tenant("globex", database_url=url.set(database='x %s "y"'))
        for name in ("acme", "globex"):
            await add_notes(tenancy, name, name)
            assert await read_notes(tenancy, name) == [name]
            await tenancy.delete_tenant(name, drop_data=True)
        with pytest.raises(ConfigurationError, match="at most 63 bytes"):
            await tenancy.create_tenant("long", database_url=url.set(database="x" * 64))
        assert acme.namespace == f"basic/{acme.id}"
    assert (postgresql.left(), postgresql.roles()) == (set(), set())
