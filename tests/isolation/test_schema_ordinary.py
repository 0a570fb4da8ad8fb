"""What an application does every day has the tenant's rows under schema isolation, with the same ids for all."""

from collections.abc import AsyncIterator
from typing import Any

import pytest
from isolation.schema_databases import DRIVERS, A, B, C, D, Deployment, planted, rows_of
from isolation.schema_models import Animal, Author, Climate, Country, Dog, Mood, Note, Tag, Ticket, note_tags
from sqlalchemy import ARRAY, String, any_, cast, delete, func, insert, literal, select, text, union_all, update
from sqlalchemy.dialects import mysql, postgresql
from sqlalchemy.exc import DBAPIError, IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import aliased, joinedload, selectin_polymorphic, selectinload, subqueryload, with_polymorphic

every_driver = pytest.mark.parametrize("deployment", DRIVERS, indirect=True)
on_postgresql = pytest.mark.parametrize("deployment", ["psycopg", "asyncpg"], indirect=True)


@pytest.fixture(scope="module")
async def deployment(request: pytest.FixtureRequest) -> AsyncIterator[Deployment]:
    """Planted once: who commits something takes it back."""
    async with planted(request.param, request, A, B) as deployment:
        yield deployment


@pytest.fixture
async def session(deployment: Deployment) -> AsyncIterator[AsyncSession]:
    async with deployment.session(A) as session:
        yield session


READS: dict[str, tuple[Any, list[Any]]] = {
    "columns": (select(Note.text), ["alpha-1", "alpha-2"]),
    "entities": (select(Author), ["alpha"]),
    "core": (select(note_tags.c.note_id), [2]),
    "count": (select(func.count()).select_from(Note), [2]),
    "join": (select(Author.name).join(Author.notes), ["alpha"]),
    "many to many": (select(Tag.label).join(note_tags).join(Note), ["alpha"]),
    "outer join": (select(Note.text).outerjoin(Author), ["alpha-1", "alpha-2"]),
    "shared": (select(Country.name).join(Note, Note.country_id == Country.id), ["Norway"]),
    "subquery": (select(select(Note.text).subquery()), ["alpha-1", "alpha-2"]),
    "cte": (select(select(Note.text).cte("notes")), ["alpha-1", "alpha-2"]),
    "alias": (select(aliased(Note).text), ["alpha-1", "alpha-2"]),
    "union": (union_all(select(Note.text), select(Author.name)), ["alpha", "alpha-1", "alpha-2"]),
    "exists": (select(Author.name).where(Author.notes.any(Note.id == 1)), ["alpha"]),
    "enum": (select(Note.text).where(Note.mood == Mood.sad), ["alpha-2"]),
    "enum value": (select(Note.mood).order_by(Note.id), [Mood.glad, Mood.sad]),
    "json": (select(Note.text).where(Note.data["word"].as_string() == "alpha"), ["alpha-2"]),
    "window": (select(func.row_number().over(order_by=Note.id)), [1, 2]),
    "joined inheritance": (select(Dog.trick), ["alpha-trick"]),
    "polymorphic": (select(with_polymorphic(Animal, "*").name), ["alpha-cat", "alpha-dog"]),
    "locked": (select(Note.text).with_for_update(), ["alpha-1", "alpha-2"]),
    "text of no table": (text("SELECT 1 + 1"), [2]),
}


@every_driver
@pytest.mark.parametrize("name", READS)
async def test_a_read_has_the_tenants_rows(session: AsyncSession, name: str) -> None:
    statement, expected = READS[name]
    found = [getattr(value, "name", value) for value in (await session.scalars(statement)).unique()]
    assert sorted(map(str, found)) == sorted(str(getattr(value, "name", value)) for value in expected)


@every_driver
@pytest.mark.parametrize("load", [selectinload, joinedload, subqueryload])
async def test_relationships_load_the_tenants_rows(session: AsyncSession, load: Any) -> None:
    authors = (
        (await session.scalars(select(Author).options(load(Author.notes).joinedload(Note.country)))).unique().all()
    )
    assert [(note.text, note.country.name) for author in authors for note in author.notes] == [("alpha-1", "Norway")]


@every_driver
async def test_a_lazy_load_has_the_tenants_rows(session: AsyncSession) -> None:
    note = await session.get_one(Note, 2)
    assert [tag.label for tag in await note.awaitable_attrs.tags] == ["alpha"]


@every_driver
async def test_subclasses_are_loaded_from_their_own_tables(session: AsyncSession) -> None:
    animals = await session.scalars(select(Animal).options(selectin_polymorphic(Animal, [Dog])).order_by(Animal.id))
    assert [getattr(animal, "trick", None) for animal in animals] == [None, "alpha-trick"]


@every_driver
async def test_a_refresh_reads_the_tenants_row(session: AsyncSession) -> None:
    note = await session.get_one(Note, 1)
    note.text = "changed"
    await session.flush()
    await session.refresh(note)
    assert note.text == "changed"


@every_driver
async def test_rows_are_streamed(session: AsyncSession) -> None:
    result = await session.stream_scalars(select(Note.text).order_by(Note.id).execution_options(yield_per=1))
    assert [value async for value in result] == ["alpha-1", "alpha-2"]


@every_driver
async def test_the_unit_of_work_writes_the_tenants_rows(deployment: Deployment) -> None:
    async with deployment.session(A) as session:
        author = Author(id=7, name="new", notes=[Note(id=7, text="new", tags=[Tag(id=7, label="new")])])
        session.add(author)
        await session.commit()
        author.name = "renamed"
        await session.commit()
        async with deployment.session(B) as theirs:
            assert await theirs.get(Author, 7) is None
        for note in await author.awaitable_attrs.notes:
            (await note.awaitable_attrs.tags).clear()
        await session.delete(author)
        await session.execute(delete(Tag).where(Tag.id == 7))
        await session.commit()
    async with deployment.session(A) as session:
        assert await session.get(Author, 7) is None


NOTES, TAGS = Note.__table__, Tag.__table__
WRITES: dict[str, tuple[Any, int]] = {
    "update": (update(Note).values(text="x"), 2),
    "update by key": (update(Note).where(Note.id == 1).values(text="x", mood=Mood.sad), 1),
    "update of a table": (update(NOTES).values(text="x"), 2),
    "update from": (update(Note).where(Note.author_id == Author.id).values(text=Author.name), 1),
    "update from a subquery": (update(Note).values(text=select(Author.name).scalar_subquery()), 2),
    "delete": (delete(note_tags), 1),
    "delete where": (delete(Ticket).where(Ticket.title.in_(["alpha", "bravo"])), 1),
    "insert": (insert(TAGS).values(id=8, label="x"), 1),
    "insert of many": (insert(Tag).values([{"id": 8, "label": "x"}, {"id": 9, "label": "y"}]), 2),
    "insert from": (insert(Tag).from_select(["id", "label"], select(Note.id + 7, Note.text)), 2),
    "insert of a stamped row": (insert(Animal).values(id=8, kind="animal", name="x"), 1),
}


@every_driver
@pytest.mark.parametrize("name", WRITES)
async def test_a_write_finds_the_tenants_rows(session: AsyncSession, name: str) -> None:
    statement, count = WRITES[name]
    result: Any = await session.execute(statement)
    assert result.rowcount in (count, -1 if name.startswith("insert") else count)  # unknown where rows are returned


@pytest.mark.parametrize("driver", DRIVERS)
async def test_writes_change_no_other_tenants_rows(driver: str, request: pytest.FixtureRequest) -> None:
    async with planted(driver, request) as deployment:
        before = await rows_of(deployment, D)
        for statement, _ in WRITES.values():
            async with deployment.session(C) as session, session.begin():
                await session.execute(statement)
                await session.execute(delete(Tag).where(Tag.id > 7))
        assert await rows_of(deployment, D) == before


@every_driver
async def test_many_rows_are_written_at_once(session: AsyncSession) -> None:
    await session.execute(insert(Tag), [{"id": number, "label": "x"} for number in range(10, 20)])
    await session.execute(update(Tag), [{"id": number, "label": "y"} for number in range(10, 20)])
    assert await session.scalar(select(func.count()).where(Tag.label == "y")) == 10


@every_driver
async def test_a_new_object_gets_the_tenants_id(session: AsyncSession) -> None:
    session.add(dog := Dog(id=8, name="x", trick="x"))
    await session.flush()
    assert dog.tenant_id == A


@every_driver
async def test_numbers_come_from_the_tenants_sequence(session: AsyncSession) -> None:
    session.add(ticket := Ticket(title="x"))
    await session.flush()
    before = ticket.id
    await session.execute(insert(Ticket).values(title="y"))
    assert sorted(await session.scalars(select(Ticket.id).where(Ticket.title.in_(["x", "y"])))) == [before, before + 1]


@on_postgresql
async def test_an_upsert_finds_the_tenants_row(session: AsyncSession) -> None:
    upsert = postgresql.insert(Author).values(id=1, name="x")
    statement = upsert.on_conflict_do_update(index_elements=["id"], set_={"name": upsert.excluded.name})
    assert await session.scalar(statement.returning(Author.name)) == "x"


@pytest.mark.parametrize("deployment", ["mariadb"], indirect=True)
async def test_mysqls_upsert_finds_the_tenants_row(session: AsyncSession) -> None:
    upsert = mysql.insert(Author).values(id=1, name="x")
    await session.execute(upsert.on_duplicate_key_update(name=upsert.inserted.name))
    assert await session.scalar(select(Author.name)) == "x"


@on_postgresql
async def test_rows_are_returned_by_what_writes_them(session: AsyncSession) -> None:
    gone = delete(Ticket).returning(Ticket.title).cte("gone")
    assert list(await session.scalars(select(gone))) == ["alpha"]


@on_postgresql
async def test_arrays_are_searched(session: AsyncSession) -> None:
    assert list(
        await session.scalars(select(Note.text).where(literal("alpha") == any_(cast(Note.words, ARRAY(String)))))
    ) == ["alpha-1"]


@on_postgresql
async def test_an_enum_is_compared_by_the_tenants_type(session: AsyncSession) -> None:
    statement = select(Note.text).where(Note.mood.in_([Mood.sad]), cast(literal("sad"), Note.mood.type) == Note.mood)
    assert list(await session.scalars(statement)) == ["alpha-2"]


@on_postgresql
async def test_the_enum_of_a_shared_table_is_found(session: AsyncSession) -> None:
    assert list(await session.scalars(select(Country.name).where(Country.climate == Climate.cold))) == ["Norway"]


@every_driver
async def test_a_commit_leaves_the_session_with_its_tenant(session: AsyncSession) -> None:
    for _ in range(3):
        assert await session.scalar(select(func.max(Note.text))) == "alpha-2"
        await session.commit()


@every_driver
async def test_a_savepoint_leaves_the_session_with_its_tenant(session: AsyncSession) -> None:
    with pytest.raises(IntegrityError):
        async with session.begin_nested():
            await session.execute(insert(Author).values(id=1, name="x"))
    async with session.begin_nested():
        assert await session.scalar(select(Author.name)) == "alpha"
    assert await session.scalar(select(func.max(Note.text))) == "alpha-2"


@every_driver
async def test_a_rollback_leaves_the_session_with_its_tenant(session: AsyncSession) -> None:
    await session.execute(update(Note).values(text="x"))
    await session.rollback()
    assert await session.scalar(select(func.max(Note.text))) == "alpha-2"


@every_driver
async def test_autocommit_stays_in_the_tenants_schema(session: AsyncSession) -> None:
    await session.connection(execution_options={"isolation_level": "AUTOCOMMIT"})
    assert await session.scalar(select(func.max(Note.text))) == "alpha-2"


@every_driver
async def test_a_connection_of_the_session_has_the_tenants_rows(session: AsyncSession) -> None:
    connection = await session.connection()
    assert await connection.scalar(select(func.max(NOTES.c.text))) == "alpha-2"


@pytest.mark.parametrize("driver", DRIVERS)
async def test_tenants_take_turns_on_one_connection(driver: str, request: pytest.FixtureRequest) -> None:
    async with planted(driver, request, pool_size=1) as deployment:
        for tenant_id, word in [(C, "alpha"), (D, "bravo")] * 8:
            async with deployment.session(tenant_id) as session:
                assert sorted(await session.scalars(select(Note.text))) == [f"{word}-1", f"{word}-2"]


# One tenant is a migration ahead: a column more, one of another type, and an enum that has changed.
MIGRATION = {
    "postgresql": [
        "ALTER TABLE t_{0}.notes ADD COLUMN extra integer DEFAULT 5",
        "ALTER TABLE t_{0}.authors ALTER COLUMN name TYPE text",
        "ALTER TABLE t_{0}.tags ALTER COLUMN id TYPE bigint",
        "ALTER TYPE t_{0}.mood RENAME TO old_mood",
        "CREATE TYPE t_{0}.mood AS ENUM ('sad', 'glad', 'angry')",
        "ALTER TABLE t_{0}.notes ALTER COLUMN mood TYPE t_{0}.mood USING mood::text::t_{0}.mood",
        "DROP TYPE t_{0}.old_mood",
    ],
    "mysql": [
        "ALTER TABLE t_{0}.notes ADD COLUMN extra integer DEFAULT 5",
        "ALTER TABLE t_{0}.authors MODIFY name text",
        "ALTER TABLE t_{0}.notes MODIFY mood ENUM('sad', 'glad', 'angry') NOT NULL",
    ],
}


@pytest.mark.parametrize("driver", DRIVERS)
async def test_a_tenant_may_be_a_migration_ahead(driver: str, request: pytest.FixtureRequest) -> None:
    async with planted(driver, request, pool_size=1) as deployment:

        async def use(tenant_id: str, word: str) -> None:
            async with deployment.session(tenant_id) as session:
                assert (await session.scalars(select(Author))).one().name == word
                assert sorted((await session.scalars(select(Note.mood))).all(), key=str) == [Mood.glad, Mood.sad]
                assert await session.scalar(select(Tag.label).where(Tag.id == 1)) == word
                await session.execute(update(Note).where(Note.mood == Mood.sad).values(mood=Mood.sad))
                await session.commit()

        await deployment.execute(*(line.format(D) for line in MIGRATION[deployment.url.get_backend_name()]))
        # Often enough that the driver prepares the statements on the one connection.
        for _ in range(8):
            await use(C, "alpha")
            await use(D, "bravo")


@pytest.mark.parametrize("driver", ["psycopg", "asyncpg"])
async def test_a_migration_costs_a_connection_one_statement(driver: str, request: pytest.FixtureRequest) -> None:
    async with planted(driver, request, pool_size=1) as deployment:

        async def use() -> None:
            async with deployment.session(C) as session:
                assert (await session.get_one(Tag, 1)).label == "alpha"
                await session.commit()  # a rollback makes psycopg forget what it has prepared

        for _ in range(8):
            await use()
        await deployment.execute(*(line.format(C) for line in MIGRATION["postgresql"]))
        with pytest.raises(DBAPIError, match="cached"):
            await use()
        await use()
