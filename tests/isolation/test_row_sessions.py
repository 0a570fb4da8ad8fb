"""Sessions, objects and connections of one tenant cannot be turned on another's rows."""

from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

import pytest
from isolation.row_databases import Database, guarded, session_of
from isolation.row_models import (
    A,
    Author,
    B,
    Base,
    Country,
    Dog,
    Note,
    Tag,
    ledger,
    words,
)
from sqlalchemy import Integer, cast, delete, exists, insert, inspect, make_url, select, text, update
from sqlalchemy.exc import IntegrityError, InvalidRequestError, PendingRollbackError
from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine
from sqlalchemy.orm import joinedload, make_transient, make_transient_to_detached, selectinload, subqueryload
from sqlalchemy.orm.exc import ObjectDeletedError, StaleDataError

from fastapi_tenancy.errors import IsolationError
from fastapi_tenancy.multitenant.isolation import RowIsolation

NOBODY = "c" * 32  # a tenant without rows

Action = Callable[[AsyncSession], Awaitable[Any]]


def forged(**values: Any) -> Note:
    """An object that claims to be the tenant's own, with another tenant's key."""
    note = Note(id=101, tenant_id=A, **values)
    make_transient_to_detached(note)
    return note


async def of_b(database: Database) -> Note:
    async with session_of(database, B) as session:
        note = await session.get_one(Note, 101)
        session.expunge(note)
        return note


async def get(session: AsyncSession) -> Any:
    return await session.get(Note, 101)


async def get_and_populate(session: AsyncSession) -> Any:
    return await session.get(Note, 101, populate_existing=True)


async def refresh(session: AsyncSession) -> None:
    note = forged()
    session.add(note)
    await session.refresh(note)


async def change(session: AsyncSession) -> None:
    note = forged()
    session.add(note)
    note.text = "stolen"
    await session.flush()


async def change_several(session: AsyncSession) -> None:
    note, own = forged(), await session.get_one(Note, 1)
    session.add(note)
    note.text = own.text = "stolen"
    await session.flush()


async def remove(session: AsyncSession) -> None:
    note = forged(text="x", author_id=None)
    session.add(note)
    await session.delete(note)
    await session.flush()


async def merge(session: AsyncSession) -> None:
    await session.merge(Note(id=101, text="stolen"))
    await session.flush()


async def merge_forged(session: AsyncSession) -> None:
    await session.merge(forged(text="stolen"))
    await session.flush()


async def merge_without_loading(session: AsyncSession) -> None:
    note = forged()
    merged = await session.merge(note, load=False)
    merged.text = "stolen"
    await session.flush()


async def add_for_the_other(session: AsyncSession) -> None:
    session.add(Note(text="x", tenant_id=B))
    await session.flush()


async def give_away_new(session: AsyncSession) -> None:
    note = Note(text="x")
    session.add(note)
    note.tenant_id = B
    await session.flush()


async def give_away(session: AsyncSession) -> None:
    note = await session.get_one(Note, 1)
    note.tenant_id = B
    await session.flush()


async def give_away_a_part(session: AsyncSession) -> None:
    dog = await session.get_one(Dog, 1)
    dog.own_tenant_id = B
    await session.flush()


async def add_with_the_others_key(session: AsyncSession) -> None:
    session.add(Note(id=101, text="stolen"))
    await session.flush()


async def bulk_update(session: AsyncSession) -> None:
    await session.execute(update(Note), [{"id": 101, "text": "stolen"}])


async def bulk_update_many(session: AsyncSession) -> None:
    await session.execute(update(Note), [{"id": 1, "text": "x"}, {"id": 101, "text": "stolen"}])


async def bulk_update_tenant(session: AsyncSession) -> None:
    await session.execute(update(Note), [{"id": 1, "tenant_id": B}])


async def bulk_update_mappings(session: AsyncSession) -> None:
    await session.run_sync(lambda sync: sync.bulk_update_mappings(Note, [{"id": 101, "text": "stolen"}]))


async def bulk_insert(session: AsyncSession) -> None:
    await session.execute(insert(Note), [{"text": "x", "tenant_id": B}])


async def bulk_insert_second(session: AsyncSession) -> None:
    await session.execute(insert(Note), [{"text": "x", "tenant_id": A}, {"text": "x", "tenant_id": B}])


async def bulk_insert_child(session: AsyncSession) -> None:
    await session.execute(insert(Dog), [{"name": "x", "kind": "dog", "bark": "x", "own_tenant_id": B}])


async def bulk_insert_core(session: AsyncSession) -> None:
    await session.execute(insert(ledger), [{"amount": 1, "memo": "x", "owner": B}])


async def bulk_insert_mappings(session: AsyncSession) -> None:
    await session.run_sync(lambda sync: sync.bulk_insert_mappings(Note, [{"text": "x", "tenant_id": B}]))


async def bulk_save(session: AsyncSession) -> None:
    await session.run_sync(lambda sync: sync.bulk_save_objects([Note(text="x", tenant_id=B)]))


async def bulk_save_forged(session: AsyncSession) -> None:
    note = forged()
    note.text = "stolen"
    await session.run_sync(lambda sync: sync.bulk_save_objects([note]))


async def driver_sql(session: AsyncSession) -> Any:
    connection = await session.connection()
    return (await connection.exec_driver_sql("SELECT text FROM notes")).all()


async def text_on_the_connection(session: AsyncSession) -> Any:
    return (await (await session.connection()).execute(text("SELECT text FROM notes"))).all()


async def text_on_the_engine(session: AsyncSession) -> Any:
    async with session.bind.connect() as connection:
        return (await connection.execute(text("SELECT text FROM notes"))).all()


async def option_on_the_connection(session: AsyncSession) -> Any:
    connection = await session.connection()
    await connection.execution_options(tenancy_tenant_id=B)
    return (await connection.execute(select(Note))).all()


async def option_for_the_connection(session: AsyncSession) -> Any:
    await session.connection(execution_options={"tenancy_tenant_id": B})
    return (await session.scalars(select(Note))).all()


async def option_on_the_engine(session: AsyncSession) -> Any:
    async with session.bind.execution_options(tenancy_tenant_id=B).connect() as connection:
        return (await connection.execute(select(Note))).all()


async def option_without_a_tenant(session: AsyncSession) -> Any:
    async with session.bind.execution_options(tenancy_tenant_id=None).connect() as connection:
        return (await connection.execute(select(Note))).all()


async def another_schema(session: AsyncSession) -> Any:
    return (await session.scalars(select(Note), execution_options={"schema_translate_map": {None: "main"}})).all()


async def another_schema_of_a_statement(session: AsyncSession) -> Any:
    connection = await session.connection()
    return (await connection.execute(select(Note), execution_options={"schema_translate_map": {None: "main"}})).all()


async def another_schema_of_the_connection(session: AsyncSession) -> Any:
    await session.connection(execution_options={"schema_translate_map": {None: "main"}})
    return (await session.scalars(select(Note))).all()


async def inspection(session: AsyncSession) -> Any:
    return await session.run_sync(lambda sync: inspect(sync.connection()).get_table_names())


async def create_tables(session: AsyncSession) -> None:
    await session.run_sync(lambda sync: Base.metadata.create_all(sync.connection()))


async def drop_tables(session: AsyncSession) -> None:
    await session.run_sync(lambda sync: Base.metadata.drop_all(sync.connection()))


async def parameters_in_the_place_of_ours(session: AsyncSession) -> Any:
    return (await session.scalars(select(Note.text), {"tenancy_tenant_id_1": B})).all()


async def parameters_in_the_place_of_ours_many(session: AsyncSession) -> Any:
    await session.execute(insert(Tag), [{"label": "x", "tenancy_tenant_id_1": B}, {"label": "y"}])


async def option_of_the_statement(session: AsyncSession) -> Any:
    return (await session.scalars(select(Note.text), execution_options={"tenancy_tenant_id": B})).all()


async def a_cache_of_ones_own(session: AsyncSession) -> Any:
    return (await session.scalars(select(Note.text), execution_options={"compiled_cache": {}})).all()


async def stream(session: AsyncSession) -> Any:
    return [text async for text in await session.stream_scalars(select(Note.text))]


async def stream_in_parts(session: AsyncSession) -> Any:
    return [text async for text in await session.stream_scalars(select(Note.text).execution_options(yield_per=2))]


async def legacy_query(session: AsyncSession) -> Any:
    return await session.run_sync(lambda sync: sync.query(Note.text).filter(Note.id.in_([1, 101])).all())


async def legacy_count(session: AsyncSession) -> Any:
    return await session.run_sync(lambda sync: sync.query(Note).filter(Note.author.has()).count())


async def lazy(session: AsyncSession) -> Any:
    return [await note.awaitable_attrs.author for note in await session.scalars(select(Note))]


async def lazy_many(session: AsyncSession) -> Any:
    return [await author.awaitable_attrs.notes for author in await session.scalars(select(Author))]


async def lazy_secondary(session: AsyncSession) -> Any:
    return [await note.awaitable_attrs.tags for note in await session.scalars(select(Note))]


async def load_authors(session: AsyncSession, *options: Any) -> Any:
    found = (await session.scalars(select(Author).options(*options).order_by(Author.id))).unique().all()
    return [(author.name, [(note.text, [tag.label for tag in note.tags]) for note in author.notes]) for author in found]


async def joined(session: AsyncSession) -> Any:
    return await load_authors(session, joinedload(Author.notes).joinedload(Note.tags))


async def selected_in(session: AsyncSession) -> Any:
    return await load_authors(session, selectinload(Author.notes).selectinload(Note.tags))


async def subqueried(session: AsyncSession) -> Any:
    return await load_authors(session, subqueryload(Author.notes).subqueryload(Note.tags))


async def delete_with_children(session: AsyncSession) -> None:
    await session.delete(await session.get_one(Author, 1, options=[selectinload(Author.notes)]))
    await session.flush()


async def refer_to_the_others(session: AsyncSession) -> None:
    """A foreign key's value is the tenant's to set; what it refers to stays out of reach."""
    note = await session.get_one(Note, 1)
    note.author_id = 101
    await session.flush()
    await session.refresh(note, ["author"])
    assert note.author is None


async def inside_a_savepoint(session: AsyncSession) -> Any:
    async with session.begin_nested():
        await session.execute(delete(Note))
    return (await session.scalars(select(Note.text))).all()


async def transient_again(session: AsyncSession) -> None:
    note = await session.get_one(Note, 1)
    make_transient(note)
    note.id = 101
    session.add(note)
    await session.flush()


REFUSED: dict[Action, type[Exception]] = {
    add_for_the_other: IsolationError,
    give_away_new: IsolationError,
    give_away: IsolationError,
    give_away_a_part: IsolationError,
    bulk_update_tenant: IsolationError,
    bulk_insert: IsolationError,
    bulk_insert_second: IsolationError,
    bulk_insert_child: IsolationError,
    bulk_insert_core: IsolationError,
    bulk_insert_mappings: IsolationError,
    bulk_save: IsolationError,
    driver_sql: IsolationError,
    text_on_the_connection: IsolationError,
    text_on_the_engine: IsolationError,
    option_on_the_connection: IsolationError,
    option_for_the_connection: IsolationError,
    option_on_the_engine: IsolationError,
    option_without_a_tenant: IsolationError,
    another_schema: IsolationError,
    another_schema_of_a_statement: IsolationError,
    another_schema_of_the_connection: IsolationError,
    inspection: IsolationError,
    create_tables: IsolationError,
    drop_tables: IsolationError,
    refresh: InvalidRequestError,
    change: StaleDataError,
    change_several: StaleDataError,
    remove: ObjectDeletedError,
    merge_without_loading: StaleDataError,
    bulk_update: StaleDataError,
    bulk_update_many: StaleDataError,
    bulk_update_mappings: StaleDataError,
    bulk_save_forged: StaleDataError,
    merge: IntegrityError,
    merge_forged: IntegrityError,
    add_with_the_others_key: IntegrityError,
    transient_again: IntegrityError,
}

ALL = "alpha-1 alpha-2 alpha-3 alpha-4"
AUTHORS = "alpha-author-1 alpha-1 alpha-tag alpha-2  alpha-author-2 "

# What the tenant's own rows say, where nothing is refused.
OWN: dict[Action, str] = {
    get: "None",
    get_and_populate: "None",
    parameters_in_the_place_of_ours: ALL,
    parameters_in_the_place_of_ours_many: "None",
    option_of_the_statement: ALL,
    a_cache_of_ones_own: ALL,
    legacy_query: "alpha-1",
    legacy_count: "2",
    stream: ALL,
    stream_in_parts: ALL,
    lazy: "alpha-author-1 alpha-author-1 None None",
    lazy_many: "alpha-1 alpha-2 ",
    lazy_secondary: "alpha-tag   ",
    joined: AUTHORS,
    selected_in: AUTHORS,
    subqueried: AUTHORS,
    inside_a_savepoint: "",
    delete_with_children: "None",
    refer_to_the_others: "None",
}


@pytest.mark.parametrize("action", REFUSED, ids=lambda action: action.__name__)
async def test_what_would_reach_the_other_is_refused(planted: Database, action: Action) -> None:
    before = planted.rows_but(A)
    async with session_of(planted, A) as session:
        with pytest.raises(REFUSED[action]) as raised:
            await action(session)
        with suppress(PendingRollbackError):
            await session.commit()

    assert "bravo" not in str(raised.value)
    assert planted.rows_but(A) == before


@pytest.mark.parametrize("action", OWN, ids=lambda action: action.__name__)
async def test_what_is_not_refused_reaches_the_tenants_own_rows(planted: Database, action: Action) -> None:
    before = planted.rows_but(A)
    async with session_of(planted, A) as session:
        found = words(await action(session))
        # In whatever order: few of them ask for one, and PostgreSQL gives rows as they lie.
        assert sorted(found.split(" ")) == sorted(OWN[action].split(" "))
        await session.commit()

    assert planted.rows_but(A) == before


async def test_a_condition_that_fails_on_anothers_row_is_not_tried_on_it(planted: Database) -> None:
    """Its error would quote the row."""
    fails = cast(Note.text, Integer) == 1
    async with session_of(planted, NOBODY) as session:
        assert (await session.scalars(select(Note.id).where(fails))).all() == []
        assert (await session.scalars(select(Note.id).where(exists().where(fails)))).all() == []
        assert (await session.scalars(select(Author.id).outerjoin(Note, fails))).all() == []
        for change in (update(Note).where(fails).values(text="x"), delete(Note).where(fails)):
            assert (await session.execute(change, execution_options={"synchronize_session": False})).rowcount == 0


async def merge_and_flush(session: AsyncSession, note: Note) -> None:
    await session.merge(note)
    await session.flush()


async def add(session: AsyncSession, note: Note) -> None:
    session.add(note)


@pytest.mark.parametrize("take", [merge_and_flush, add])
async def test_an_object_that_another_tenant_loaded_is_refused_before_anything_is_written(
    planted: Database, take: Callable[..., Any]
) -> None:
    note = await of_b(planted)
    async with session_of(planted, A) as session:
        with pytest.raises(IsolationError, match="another tenant"):
            await take(session, note)


async def test_a_connection_of_no_tenant_runs_nothing(planted: Database) -> None:
    async with guarded(planted) as (_, engine), engine.connect() as connection:
        for model in (Note, Country):
            with pytest.raises(IsolationError, match="belongs to no tenant"):
                await connection.execute(select(model))


async def test_a_new_object_says_whose_it_is_when_it_is_flushed(planted: Database) -> None:
    async with session_of(planted, A) as session:
        author = Author(name="x", notes=[Note(text="y", tags=[Tag(label="z")])])
        dog = Dog(name="rex", bark="woof")
        session.add_all([author, dog])
        await session.flush()

        found = [author, author.notes[0], author.notes[0].tags[0], dog]
        assert [item.tenant_id for item in found] == [A] * 4
        assert dog.own_tenant_id == A
        assert await session.scalar(select(Note.text).join(Note.tags).where(Tag.label == "z")) == "y"


async def test_an_object_may_say_its_own_tenant(planted: Database) -> None:
    async with session_of(planted, A) as session:
        session.add(Note(text="x", tenant_id=A))
        await session.flush()
        await session.execute(insert(Tag), [{"label": "x", "tenant_id": A}, {"label": "y", "tenant_id": A}])
        await session.execute(insert(Tag).values(label="x", tenant_id=A))

        assert len((await session.scalars(select(Tag))).all()) == 4


async def test_the_message_says_what_to_do(planted: Database) -> None:
    async with session_of(planted, A) as session:
        with pytest.raises(IsolationError, match="use mapped columns"):
            await session.execute(select(Note).where(text("1=1")))
        with pytest.raises(IsolationError, match="'countries' is shared"):
            await session.execute(update(Country).values(name="x"))


async def test_a_guard_is_complete_on_an_engine_that_was_in_use(planted: Database) -> None:
    """What an engine had compiled before it was guarded is forgotten."""
    engine = create_async_engine(planted.url)
    async with engine.connect() as connection:
        assert len((await connection.execute(select(Note.id))).all()) == 8
    isolation = RowIsolation(Base.metadata)
    isolation.guard(engine)
    async with isolation.sessionmaker(engine, AsyncSession, A)() as session:
        assert (await session.scalars(select(Note.id))).all() == [1, 2, 3, 4]
    await engine.dispose()


async def test_an_engine_may_translate_schemas_for_all_its_tenants(planted: Database, server: str) -> None:
    schema = {"sqlite": "main", "postgresql": "public"}.get(server, make_url(planted.url).database)
    async with guarded(planted) as (isolation, engine):
        translated = engine.execution_options(schema_translate_map={None: schema})
        async with isolation.sessionmaker(translated, AsyncSession, A)() as session:
            assert (await session.scalars(select(Note.id))).all() == [1, 2, 3, 4]
