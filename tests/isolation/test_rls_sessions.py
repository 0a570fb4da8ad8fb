"""A session under row-level security has the tenant's rows and no others, whatever it runs and whatever came before."""

from collections.abc import AsyncIterator, Iterator

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
    connected,
    guarded,
    guarded_sync,
    planted_database,
    sync_session_of,
    texts,
)
from sqlalchemy import delete, func, insert, make_url, select, text, update
from sqlalchemy.dialects.postgresql import insert as upsert
from sqlalchemy.exc import DBAPIError, IntegrityError, ProgrammingError
from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine
from sqlalchemy.orm import selectinload

from fastapi_tenancy.errors import IsolationError
from fastapi_tenancy.testing.tenants import tenant_named

ALPHA, BRAVO = ["alpha-1", "alpha-2"], ["bravo-101", "bravo-102"]


@pytest.fixture(scope="module")
def database(postgresql_url: str) -> Iterator[Database]:
    """Nothing that these tests do in it is committed."""
    with planted_database(postgresql_url) as database:
        yield database


@pytest.fixture
def own_database(postgresql_url: str) -> Iterator[Database]:
    with planted_database(postgresql_url) as database:
        yield database


@pytest.fixture(scope="module", params=DRIVERS)
async def tenants(request: pytest.FixtureRequest, database: Database) -> AsyncIterator[Tenants]:
    async with guarded(database, request.param) as tenants:
        yield tenants


@pytest.fixture
async def session(tenants: Tenants) -> AsyncIterator[AsyncSession]:
    async with tenants.session_of(A) as session:
        yield session


async def test_the_orm_reads_the_tenants_rows(session: AsyncSession) -> None:
    assert sorted(await session.scalars(select(Note.text))) == ALPHA


async def test_core_reads_the_tenants_rows(session: AsyncSession) -> None:
    assert await session.scalar(select(func.count()).select_from(Note.__table__)) == 2


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT text FROM notes ORDER BY 1",
        "  select n.text from notes as n join authors on authors.id = n.author_id order by n.id;  ",
        "(SELECT text FROM notes) ORDER BY text -- the tenant's",
        "WITH mine AS (SELECT * FROM public.notes) SELECT text FROM mine ORDER BY 1",
        "SELECT text FROM notes WHERE 1 = 1 OR true ORDER BY id",
        "UPDATE notes SET text = text RETURNING text",
        "DELETE FROM notes RETURNING text",
        "SELECT text FROM ONLY notes ORDER BY text FOR UPDATE",
    ],
)
async def test_text_reads_the_tenants_rows(session: AsyncSession, sql: str) -> None:
    assert sorted(await session.scalars(text(sql))) == ALPHA


async def test_driver_sql_reads_the_tenants_rows(session: AsyncSession) -> None:
    connection = await session.connection()
    assert sorted((await connection.exec_driver_sql("TABLE notes")).scalars("text")) == ALPHA


async def test_a_new_object_is_the_tenants(session: AsyncSession) -> None:
    session.add(note := Note(id=3, text="new"))
    await session.flush()
    assert note.tenant_id == A


async def test_an_insert_is_stamped(session: AsyncSession) -> None:
    await session.execute(insert(Note), [{"id": 3, "text": "new"}, {"id": 4, "text": "newer"}])
    assert await texts(session) == [*ALPHA, "new", "newer"]


async def test_a_raw_insert_names_the_setting(session: AsyncSession) -> None:
    await session.execute(
        text("INSERT INTO notes (id, text, tenant_id) VALUES (3, 'new', current_setting('tenancy.tenant_id'))")
    )
    assert await texts(session) == [*ALPHA, "new"]


async def test_rows_are_changed_and_deleted(session: AsyncSession) -> None:
    await session.execute(update(Note).where(Note.id == 1).values(text="changed"))
    await session.execute(delete(Note).where(Note.id == 2))
    assert await texts(session) == ["changed"]


async def test_an_upsert_changes_the_tenants_row(session: AsyncSession) -> None:
    statement = upsert(Note).values(id=1, text="changed")
    statement = statement.on_conflict_do_update(index_elements=["id"], set_={"text": statement.excluded.text})
    await session.execute(statement)
    assert await texts(session) == ["alpha-2", "changed"]


async def test_relationships_are_loaded(session: AsyncSession) -> None:
    author = (await session.scalars(select(Author).options(selectinload(Author.notes)))).one()
    assert sorted(note.text for note in author.notes) == ALPHA


async def test_rows_are_streamed(session: AsyncSession) -> None:
    assert sorted([row.text async for row in await session.stream(select(Note.text))]) == ALPHA


async def test_shared_tables_are_read(session: AsyncSession) -> None:
    assert (await session.scalars(select(Country.name))).all() == ["Norway"]
    assert (await session.scalars(text("SELECT name FROM countries"))).all() == ["Norway"]


async def test_a_rolled_back_savepoint_leaves_the_tenant(session: AsyncSession) -> None:
    with pytest.raises(DBAPIError):
        async with session.begin_nested():
            await session.execute(text("SELECT 1 / 0"))
    assert await texts(session) == ALPHA


async def test_savepoints_in_text_leave_the_tenant(session: AsyncSession) -> None:
    for statement in ("SAVEPOINT here", "ROLLBACK TO SAVEPOINT here", "RELEASE SAVEPOINT here"):
        await session.execute(text(statement))
    assert await texts(session) == ALPHA


async def test_after_a_commit_the_session_is_still_the_tenants(session: AsyncSession) -> None:
    assert await texts(session) == ALPHA
    await session.commit()
    assert await texts(session) == ALPHA


async def test_after_an_error_the_session_is_still_the_tenants(session: AsyncSession) -> None:
    with pytest.raises(DBAPIError):
        await session.execute(text("SELECT 1 / 0"))
    await session.rollback()
    assert await texts(session) == ALPHA


async def test_after_a_refusal_the_transaction_goes_on(session: AsyncSession) -> None:
    await session.execute(insert(Note).values(id=3, text="new"))
    with pytest.raises(IsolationError):
        await session.execute(text("RESET ALL"))
    assert await texts(session) == [*ALPHA, "new"]


@pytest.mark.parametrize("statement", [insert(Country).values(id=2, name="x"), update(Country).values(name="x")])
async def test_writing_a_shared_table_is_refused(session: AsyncSession, statement: object) -> None:
    with pytest.raises(IsolationError, match=r"'countries' is shared by all tenants: they read it and none writes it"):
        await session.execute(statement)


async def test_a_shared_object_cannot_be_flushed(session: AsyncSession) -> None:
    session.add(Country(id=2, name="x"))
    with pytest.raises(IsolationError, match="shared by all tenants"):
        await session.flush()


async def test_an_insert_of_text_into_a_shared_table_fails(session: AsyncSession) -> None:
    with pytest.raises(ProgrammingError, match="row-level security"):
        await session.execute(text("INSERT INTO countries VALUES (2, 'x')"))


@pytest.mark.parametrize("sql", ["UPDATE countries SET name = 'x'", "DELETE FROM countries"])
async def test_text_finds_no_shared_row_to_change(session: AsyncSession, sql: str) -> None:
    assert (await session.execute(text(sql))).rowcount == 0


def test_the_operator_writes_shared_tables(own_database: Database) -> None:
    with connected(own_database.role) as connection:
        connection.execute(update(Country).values(name="Norge"))
    with sync_session_of(own_database, A) as session:
        assert session.scalars(select(Country.name)).all() == ["Norge"]


async def test_one_connection_serves_one_tenant_after_the_other(tenants: Tenants) -> None:
    backends = set()
    for tenant, expected in ((A, ALPHA), (B, BRAVO), (A, ALPHA), ("c" * 32, [])):
        async with tenants.session_of(tenant) as session:
            assert await texts(session) == expected
            backends.add(await session.scalar(text("SELECT pg_backend_pid()")))
    assert len(backends) == 1


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # psycopg's, about that very cursor
async def test_a_cursor_left_open_gives_the_next_tenant_nothing(tenants: Tenants) -> None:
    async with tenants.session_of(A) as session:
        rows = await session.stream(text("SELECT text FROM notes"), execution_options={"yield_per": 1})
        await anext(aiter(rows))
    async with tenants.session_of(B) as session:
        assert await texts(session) == BRAVO


async def test_a_prepared_statement_follows_the_tenant(tenants: Tenants) -> None:
    for _ in range(8):  # psycopg prepares what it has run five times, and the server plans it anew so often
        for tenant, expected in ((A, ALPHA), (B, BRAVO)):
            async with tenants.session_of(tenant) as session:
                assert sorted(await session.scalars(select(Note.text))) == expected


async def test_a_connection_of_no_tenant_runs_nothing(tenants: Tenants) -> None:
    async with tenants.engine.connect() as connection:
        with pytest.raises(IsolationError, match="belongs to no tenant"):
            await connection.execute(text("SELECT 1"))


def test_without_a_tenant_nothing_is_read(database: Database) -> None:
    with connected(database.role) as connection, pytest.raises(ProgrammingError, match=r"tenancy\.tenant_id"):
        connection.execute(select(Note.text))


def test_where_a_tenant_was_nothing_is_read(database: Database) -> None:
    with guarded_sync(database) as (isolation, engine):
        with isolation.sessionmaker(engine, AsyncSession, A)() as session:
            assert session.scalars(select(Note.text)).all() == ALPHA
        driver = engine.raw_connection()
        rows = driver.cursor().execute("SELECT * FROM notes").fetchall()
        driver.close()
    assert rows == []


def test_a_synchronous_session_has_the_tenants_rows(database: Database) -> None:
    with sync_session_of(database, A) as session:
        assert sorted(session.scalars(text("SELECT text FROM notes"))) == ALPHA
        assert sorted(session.scalars(select(Note.text))) == ALPHA


def test_dropping_a_tenant_deletes_its_rows_alone(own_database: Database) -> None:
    with connected(own_database.role) as connection:
        own_database.isolation().drop(connection, tenant_named(id=A))
        assert connection.execute(select(Note.text)).all() == []
        connection.execute(update(Country).values(name="Norway"))  # the operator's again
    with sync_session_of(own_database, A) as session:
        assert session.scalars(select(Note.text)).all() == []
    with sync_session_of(own_database, B) as session:
        assert sorted(session.scalars(select(Note.text))) == BRAVO


@pytest.mark.parametrize("driver", DRIVERS)
async def test_either_driver_prepares_and_drops(own_database: Database, driver: str) -> None:
    engine = create_async_engine(make_url(own_database.role).set(drivername=f"postgresql+{driver}"))
    async with engine.begin() as connection:
        await connection.run_sync(own_database.isolation().prepare)
        await connection.run_sync(own_database.isolation().drop, tenant_named(id=A))
    await engine.dispose()


async def test_a_foreign_unique_key_is_in_the_way(session: AsyncSession) -> None:
    with pytest.raises(IntegrityError):
        await session.execute(insert(Note).values(id=101, text="mine"))
