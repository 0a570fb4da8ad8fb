"""What an attacker, or a developer in a hurry, would run in one tenant's session to reach another's rows."""

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import Any

import pytest
from isolation.rls_models import (
    DRIVERS,
    A,
    Author,
    B,
    Country,
    Database,
    Note,
    Tenants,
    guarded,
    not_of,
    planted_database,
    seen_by,
    texts,
)
from sqlalchemy import (
    DDL,
    Column,
    Connection,
    Integer,
    MetaData,
    Result,
    Sequence,
    String,
    Table,
    bindparam,
    column,
    create_engine,
    delete,
    func,
    insert,
    literal_column,
    or_,
    select,
    table,
    text,
    true,
    union_all,
    update,
)
from sqlalchemy.dialects.postgresql import insert as upsert
from sqlalchemy.exc import DBAPIError, SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession
from sqlalchemy.orm import aliased, make_transient, make_transient_to_detached, selectinload
from sqlalchemy.schema import CreateSchema, CreateTable, DropTable

from fastapi_tenancy.errors import IsolationError
from fastapi_tenancy.multitenant.isolation.sessions import TENANT_OPTION

notes = Note.__table__
other = aliased(Note)
lookalike = Table("notes", MetaData(), Column("id", Integer, primary_key=True), Column("text", String))
theirs = lookalike.alias("theirs")
settings_view = table("pg_settings", column("name"), column("setting"))
quiet_upsert = upsert(Note).values(id=101, text="mine")

BECOME_B = f"set_config('tenancy.tenant_id', '{B}', true)"

# Statements whose meaning is to reach further: each by `text()` and by the driver. More are in test_rls_text.py.
REACHING = [
    f"SET tenancy.tenant_id = '{B}'",
    f"set /**/ local tenancy.tenant_id to '{B}'",
    "RESET tenancy.tenant_id",
    "SET ROLE postgres",
    "SET SESSION AUTHORIZATION postgres",
    "SET row_security = off",
    "DISCARD ALL",
    f"SELECT {BECOME_B}",
    f"SELECT text FROM notes, (SELECT {BECOME_B}) AS s",
    f"WITH s AS MATERIALIZED (SELECT {BECOME_B}) SELECT text FROM s, notes",
    f"SELECT \"set_config\"('tenancy.tenant_id', '{B}', false)",
    f"SELECT pg_catalog.SET_CONFIG('tenancy' || '.tenant_id', '{B}', true)",
    f"SELECT U&\"set\\005fconfig\"('tenancy.tenant_id', '{B}', true)",
    f"SELECT E'\\' , ' , {BECOME_B} -- '",
    f"SELECT 1; SELECT {BECOME_B}",
    f"UPDATE notes SET text = {BECOME_B} WHERE id = 1",
    "SELECT query_to_xml('SELECT set' || '_config(…)', true, true, '')",
    "UPDATE pg_settings SET setting = 'off' WHERE name = 'row_security'",
    f"DO $$ BEGIN PERFORM {BECOME_B}; END $$",
    "COMMIT",
    "ROLLBACK",
    "COMMIT; SELECT * FROM notes",
    "BEGIN",
    f"PREPARE q AS SELECT {BECOME_B}",
    "COPY notes TO STDOUT",
    "COPY notes FROM STDIN",
    "COPY (SELECT 1) TO PROGRAM 'true'",
    "DECLARE c CURSOR WITH HOLD FOR SELECT * FROM notes",
    "ALTER TABLE notes DISABLE ROW LEVEL SECURITY",
    "ALTER TABLE notes NO FORCE ROW LEVEL SECURITY",
    "DROP POLICY tenancy_isolation ON notes",
    "CREATE POLICY all_of_them ON notes USING (true)",
    f"CREATE FUNCTION become() RETURNS text LANGUAGE sql AS $$ SELECT {BECOME_B} $$",
    "CREATE TEMP TABLE notes (id int, text text)",
    "SELECT * INTO TEMP notes FROM notes",
    "CREATE VIEW all_notes AS SELECT * FROM notes",
    "TRUNCATE notes",
    "DROP TABLE notes",
    "EXPLAIN ANALYZE CREATE TABLE stolen AS SELECT * FROM notes",
    "SELECT query FROM pg_stat_activity",
]

# Whatever these do, they do it to the tenant's own rows, or not at all.
STATEMENTS: dict[str, Any] = {
    "the other's id in Core": select(notes).where(notes.c.tenant_id == B),
    "the other's id in the ORM": select(Note).where(Note.tenant_id == B),
    "the other's key": select(Note).where(Note.id == 101),
    "a condition that is always true": select(notes).where(or_(true(), notes.c.tenant_id == A)),
    "text in a condition": select(Note).where(text("1 = 1 OR 1 = 1")),
    "a text column": select(literal_column("(SELECT string_agg(text, ',') FROM notes)")),
    "a lookalike table": select(lookalike),
    "a lightweight table": select(column("text")).select_from(table("notes")),
    "an alias": select(other).where(other.tenant_id != A),
    "a join": select(Note.text, other.text).join(other, true(), full=True),
    "a union": union_all(select(Note.text), select(lookalike.c.text)),
    "a subquery": select(select(func.string_agg(Note.text, ",")).scalar_subquery()),
    "an aggregate": select(func.string_agg(Note.text, ",")),
    "a lateral": select(lookalike.c.text).join(select(Note.text).lateral(), true()),
    "from_statement": select(Note).from_statement(text("SELECT * FROM notes")),
    "text with columns": text("SELECT id, text FROM notes").columns(Note.id, Note.text),
    "a prefix": select(Note.text).prefix_with("ALL"),
    "an error that tells": text("SELECT 1 / (id - 101) FROM notes"),
    "a cast that tells": text("SELECT text::int FROM notes WHERE text LIKE 'bravo%'"),
    "text by its owner": text("SELECT * FROM public.notes WHERE tenant_id <> current_setting('tenancy.tenant_id')"),
    "a sample": text("SELECT * FROM notes TABLESAMPLE system (100)"),
    "a row lock": text("SELECT * FROM notes FOR UPDATE"),
    "the keys' own query": text("SELECT * FROM authors WHERE id IN (SELECT author_id FROM notes)"),
    "an update of all": update(Note).values(text="mine"),
    "an update of all in text": text("UPDATE notes SET text = 'mine' RETURNING text"),
    "an update of the other's": update(Note).where(Note.tenant_id == B).values(text="mine"),
    "an update from a lookalike": update(Note).where(Note.id == theirs.c.id - 100).values(text=theirs.c.text),
    "a delete of all": delete(Note).returning(Note.text),
    "a delete of all in text": text("DELETE FROM notes"),
    "a delete of the other's": delete(notes).where(notes.c.id == 101),
    "a delete through a lookalike": delete(lookalike),
    "giving a row away": update(Note).where(Note.id == 1).values(tenant_id=B),
    "giving a row away in text": text(f"UPDATE notes SET tenant_id = '{B}'"),
    "an insert for the other": insert(Note).values(id=103, text="planted", tenant_id=B),
    "an insert for the other in text": text(f"INSERT INTO notes (id, text, tenant_id) VALUES (103, 'x', '{B}')"),
    "an insert from a select": insert(Note).from_select(["id", "text"], select(Note.id + 50, Note.text)),
    "an insert for the other from a select": insert(Note).from_select(
        ["id", "text", "tenant_id"], select(Note.id + 50, Note.text, literal_column(f"'{B}'"))
    ),
    "an upsert of the other's": quiet_upsert.on_conflict_do_update(index_elements=["id"], set_={"text": "mine"}),
    "an upsert that returns": quiet_upsert.on_conflict_do_nothing().returning(Note.text),
    "an upsert in text": text(
        f"INSERT INTO notes (id, text, tenant_id) VALUES (101, 'x', '{A}') ON CONFLICT (id) DO UPDATE SET text = 'x'"
    ),
    "a merge": text(
        "MERGE INTO notes USING (SELECT 101 AS id) AS s ON notes.id = s.id WHEN MATCHED THEN UPDATE SET text = 'x' "
        "WHEN NOT MATCHED THEN DO NOTHING"
    ),
    "a shared table": update(Country).values(name="mine"),
    "a shared table's rows": delete(Country),
    "a shared table through an alias": update(aliased(Country)).values(name="mine"),
    "a shared table through a lookalike": update(table("countries", column("name"))).values(name="mine"),
    "a shared table in text": text("WITH gone AS (DELETE FROM countries RETURNING *) SELECT * FROM gone"),
    "func.set_config": select(func.set_config("tenancy.tenant_id", B, True)),
    "func.pg_catalog.set_config": select(func.pg_catalog.set_config("tenancy.tenant_id", B, True), Note.text),
    "set_config in a condition": select(Note).where(func.set_config("tenancy.tenant_id", B, True) == B),
    "set_config in RETURNING": update(Note).values(text="x").returning(func.set_config("tenancy.tenant_id", B, True)),
    "set_config as a literal column": select(literal_column(BECOME_B)),
    "set_config by bound values": text("SELECT set_config(:name, :value, true)").bindparams(
        bindparam("name", "tenancy.tenant_id"), bindparam("value", B)
    ),
    "set_config in an operator": select(Note.text.op(f"|| {BECOME_B} ||")("x")),
    "set_config in a suffix": select(Note.text).suffix_with(f", {BECOME_B}"),
    "set_config in a label": select(Note.text.label("set_config")),
    "settings in Core": update(settings_view).where(settings_view.c.name == "row_security").values(setting="off"),
    "a tenant in the statement's options": select(Note).execution_options(**{TENANT_OPTION: B}),
    "DDL": DDL("ALTER TABLE notes DISABLE ROW LEVEL SECURITY"),
    "CREATE TABLE": CreateTable(Table("stolen", MetaData(), Column("id", Integer))),
    "CREATE SCHEMA": CreateSchema("stolen"),
    "DROP TABLE": DropTable(notes),
    "a sequence": select(Sequence('notes_id_seq"); RESET ALL; --').next_value()),
}


async def bulk_insert(session: AsyncSession) -> object:
    return await session.execute(insert(Note), [{"id": i, "text": "planted", "tenant_id": B} for i in (103, 104)])


async def bulk_update(session: AsyncSession) -> object:
    return await session.execute(update(Note), [{"id": i, "text": "mine", "tenant_id": A} for i in (101, 102)])


async def bulk_give_away(session: AsyncSession) -> object:
    return await session.execute(update(Note), [{"id": i, "tenant_id": B} for i in (1, 2)])


async def legacy_bulk(session: AsyncSession) -> object:
    return await session.run_sync(lambda sync: sync.bulk_insert_mappings(Note, [{"text": "planted", "tenant_id": B}]))


async def driver_many(session: AsyncSession) -> object:
    connection = await session.connection()
    return await connection.exec_driver_sql(
        f"INSERT INTO notes (id, text, tenant_id) VALUES (103, 'x', '{B}') ON CONFLICT DO NOTHING", [(), ()]
    )


async def get(session: AsyncSession) -> object:
    return await session.get(Note, 101)


async def flush_new(session: AsyncSession) -> object:
    session.add(Note(id=103, text="planted", tenant_id=B))
    return await session.flush()


async def flush_changed(session: AsyncSession) -> object:
    note = await session.get_one(Note, 1)
    note.tenant_id = B
    return await session.flush()


async def flush_detached(session: AsyncSession) -> object:
    note = Note(id=101, text="bravo-101", tenant_id=B)
    make_transient_to_detached(note)
    session.add(note)
    note.text = "mine"
    return await session.flush()


async def delete_detached(session: AsyncSession) -> object:
    note = Note(id=101, tenant_id=A)
    make_transient_to_detached(note)
    await session.delete(note)
    return await session.flush()


async def merge(session: AsyncSession) -> object:
    await session.merge(Note(id=101, text="mine"))
    return await session.flush()


async def refresh(session: AsyncSession) -> object:
    note = Note(id=101)
    make_transient_to_detached(note)
    session.add(note)
    await session.refresh(note)
    return note.text


async def replant(session: AsyncSession) -> object:
    note = await session.get_one(Note, 1)
    make_transient(note)
    note.id, note.tenant_id = 105, B
    session.add(note)
    return await session.flush()


async def lead_by_a_foreign_key(session: AsyncSession) -> object:
    session.add(Note(id=3, text="new", author_id=101))
    await session.flush()
    note = (await session.scalars(select(Note).where(Note.id == 3).options(selectinload(Note.author)))).one()
    return note.author


async def autocommit(session: AsyncSession) -> object:
    await session.connection(execution_options={"isolation_level": "AUTOCOMMIT"})
    return await session.execute(text("SELECT * FROM notes"))


async def autocommit_of_a_bind(session: AsyncSession) -> object:
    engine = AsyncEngine(session.get_bind().execution_options(isolation_level="AUTOCOMMIT"))  # type: ignore[arg-type]
    return await _run_beside(session, engine)


async def other_tenant_on_the_connection(session: AsyncSession) -> object:
    connection = await session.connection()
    await connection.execution_options(**{TENANT_OPTION: B})
    return await connection.execute(select(notes))


async def other_tenant_in_the_session(session: AsyncSession) -> object:
    await session.connection(execution_options={TENANT_OPTION: B})
    return await session.execute(select(Note))


async def other_tenant_in_the_statement(session: AsyncSession) -> object:
    return await session.execute(insert(Note).values(id=103, text="x"), execution_options={TENANT_OPTION: B})


async def other_tenant_of_a_bind(session: AsyncSession) -> object:
    return await _run_beside(session, AsyncEngine(session.get_bind().execution_options(**{TENANT_OPTION: B})))  # type: ignore[arg-type]


async def no_tenant_of_a_bind(session: AsyncSession) -> object:
    return await _run_beside(session, AsyncEngine(session.get_bind().execution_options(**{TENANT_OPTION: None})))  # type: ignore[arg-type]


async def the_bind_itself(session: AsyncSession) -> object:
    return await _run_beside(session, AsyncEngine(session.get_bind()))  # type: ignore[arg-type]


async def two_phases(session: AsyncSession) -> object:
    await session.close()
    engine = AsyncEngine(session.get_bind())  # type: ignore[arg-type]
    async with engine.connect() as connection:
        return await connection.run_sync(lambda sync: (sync.begin_twophase("x"), sync.execute(select(notes)).all())[1])


async def a_savepoint_from_before(session: AsyncSession) -> object:
    async with session.begin_nested() as savepoint:
        await savepoint.rollback()
    return await session.execute(text("SELECT * FROM notes"))


async def on_after_a_commit(session: AsyncSession) -> object:
    await session.commit()
    return await session.execute(text("SELECT * FROM notes"))


async def on_after_an_error(session: AsyncSession) -> object:
    with pytest.raises(DBAPIError):
        await session.execute(text("SELECT 1 / 0"))
    await session.rollback()
    return await session.execute(text("UPDATE notes SET text = 'mine' RETURNING *"))


async def bytes_for_the_driver(session: AsyncSession) -> object:
    return await (await session.connection()).exec_driver_sql(f"SELECT {BECOME_B}".encode())  # type: ignore[arg-type]


async def no_parameters(session: AsyncSession) -> object:
    connection = await session.connection()
    sql = f"SELECT 1 %(a'b) , {BECOME_B} --'"
    return await connection.exec_driver_sql(sql, execution_options={"no_parameters": True})


async def a_parameter_with_a_quote(session: AsyncSession) -> object:
    return await (await session.connection()).exec_driver_sql(f"SELECT %(a'b)s, {BECOME_B} -- '", {"a'b": 1})


async def a_bound_value_with_a_quote(session: AsyncSession) -> object:
    return await session.execute(select(Note).where(Note.text == bindparam("a'b", f"' OR {BECOME_B} --")))


async def create_all(session: AsyncSession) -> object:
    metadata = MetaData()
    Table("stolen", metadata, Column("id", Integer))
    return await (await session.connection()).run_sync(metadata.create_all)


DEEDS: list[Callable[[AsyncSession], Awaitable[object]]] = [
    bulk_insert,
    bulk_update,
    bulk_give_away,
    legacy_bulk,
    driver_many,
    get,
    flush_new,
    flush_changed,
    flush_detached,
    delete_detached,
    merge,
    refresh,
    replant,
    lead_by_a_foreign_key,
    autocommit,
    autocommit_of_a_bind,
    other_tenant_on_the_connection,
    other_tenant_in_the_session,
    other_tenant_in_the_statement,
    other_tenant_of_a_bind,
    no_tenant_of_a_bind,
    the_bind_itself,
    two_phases,
    a_savepoint_from_before,
    on_after_a_commit,
    on_after_an_error,
    bytes_for_the_driver,
    no_parameters,
    a_parameter_with_a_quote,
    a_bound_value_with_a_quote,
    create_all,
]


@pytest.fixture(scope="module")
def database(postgresql_url: str) -> Iterator[Database]:
    with planted_database(postgresql_url) as database:
        yield database


@pytest.fixture(scope="module")
def superuser(database: Database) -> Iterator[Connection]:
    engine = create_engine(database.superuser, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        yield connection
    engine.dispose()


@pytest.fixture(scope="module")
def others(superuser: Connection) -> list[Any]:
    return not_of(superuser, A)


@pytest.fixture(scope="module", params=DRIVERS)
async def tenants(request: pytest.FixtureRequest, database: Database) -> AsyncIterator[Tenants]:
    async with guarded(database, request.param) as tenants:
        yield tenants


@pytest.fixture(autouse=True)
def unharmed(superuser: Connection, others: list[Any]) -> Iterator[None]:
    """Nothing of what was tried outlives its transaction."""
    yield
    assert not_of(superuser, A) == others


@pytest.mark.parametrize("sql", REACHING)
async def test_sql_that_reaches_further_is_refused(tenants: Tenants, sql: str) -> None:
    async with tenants.session_of(A) as session:
        with pytest.raises(IsolationError):
            await session.execute(text(sql))
        with pytest.raises(IsolationError):
            await (await session.connection()).exec_driver_sql(sql)
        assert await texts(session) == ["alpha-1", "alpha-2"]


@pytest.mark.parametrize("name", STATEMENTS)
async def test_a_statement_ends_at_the_tenants_rows(tenants: Tenants, name: str) -> None:
    await _try(tenants, lambda session: session.execute(STATEMENTS[name]))


@pytest.mark.parametrize("deed", DEEDS)
async def test_a_deed_ends_at_the_tenants_rows(
    tenants: Tenants, deed: Callable[[AsyncSession], Awaitable[object]]
) -> None:
    await _try(tenants, deed)


async def _try(tenants: Tenants, deed: Callable[[AsyncSession], Awaitable[object]]) -> None:
    """Do it, and look at what it says, at what became of the other tenant's rows, and at what the next tenant gets."""
    async with tenants.session_of(A) as session:
        try:
            said = _words(await deed(session))
            connection = await session.connection()
            current = await connection.scalar(text("SELECT current_setting('tenancy.tenant_id')"))
            rows_of_b = _words(await connection.run_sync(seen_by, B))
        except IsolationError:
            said, current, rows_of_b = "", A, "bravo bravo bravo"
        except SQLAlchemyError as error:
            said, current, rows_of_b = str(error.__cause__), A, "bravo bravo bravo"
    assert "bravo" not in said
    assert current == A
    assert rows_of_b.count("bravo") == 3
    assert not {"planted", "mine"}.intersection(rows_of_b.split())
    async with tenants.session_of(B) as session:
        assert await texts(session) == ["bravo-101", "bravo-102"]


async def _run_beside(session: AsyncSession, engine: AsyncEngine) -> object:
    await session.close()  # there is one connection
    async with engine.connect() as connection:
        return (await connection.execute(text("SELECT * FROM notes"))).all()


def _words(value: Any) -> str:
    if isinstance(value, Result):
        return _words(value.all() if getattr(value, "returns_rows", True) else [])
    if isinstance(value, Note | Author):
        return str(vars(value))
    if isinstance(value, list | tuple) or hasattr(value, "_fields"):
        return " ".join(_words(item) for item in value)
    return str(value)
