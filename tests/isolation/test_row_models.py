"""Which tables row isolation takes, and how models of every kind get their `tenant_id`."""

from collections.abc import AsyncIterator
from typing import Any

import pytest
from sqlalchemy import Column, ForeignKey, Integer, MetaData, PrimaryKeyConstraint, String, Table, insert, select, text
from sqlalchemy.exc import IntegrityError, OperationalError
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession, create_async_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column
from sqlmodel import Field, SQLModel
from sqlmodel import select as sqlmodel_select
from sqlmodel.ext.asyncio.session import AsyncSession as SQLModelSession

from fastapi_tenancy.errors import ConfigurationError, IsolationError
from fastapi_tenancy.multitenant.isolation import (
    RowIsolation,
    TenantScoped,
    check_metadata,
    stamped_sessionmaker,
    tenant_columns,
)

A, B = "a" * 32, "b" * 32


def tenant(**options: Any) -> Column[Any]:
    return Column("tenant_id", options.pop("type_", String(32)), **{"nullable": False, **options})


PROBLEMS: dict[str, tuple[list[Any], dict[str, Any]]] = {
    "has no tenant_id": ([], {}),
    "may be NULL": ([tenant(nullable=True)], {}),
    "part of the primary key": ([tenant(primary_key=True)], {}),
    "not a string": ([tenant(type_=Integer)], {}),
    "marked as shared": ([tenant()], {"info": {"tenancy": "shared"}}),
    "ON CONFLICT REPLACE": ([tenant(), Column("x", Integer, unique=True, sqlite_on_conflict_unique="REPLACE")], {}),
}


@pytest.mark.parametrize("why", PROBLEMS)
def test_a_table_that_cannot_be_scoped_is_named_with_the_reason(why: str) -> None:
    columns, options = PROBLEMS[why]
    metadata = MetaData()
    Table("fine", metadata, Column("id", Integer, primary_key=True), tenant())
    Table("wrong", metadata, Column("id", Integer, primary_key=True), *columns, **options)

    with pytest.raises(ConfigurationError, match=rf"(?s)wrong: .*{why}") as raised:
        RowIsolation(metadata)
    assert "fine" not in str(raised.value)


def test_every_offending_table_is_named() -> None:
    metadata = MetaData()
    Table("one", metadata, Column("id", Integer, primary_key=True))
    Table("two", metadata, Column("id", Integer), PrimaryKeyConstraint("id", sqlite_on_conflict="replace"), tenant())

    with pytest.raises(ConfigurationError, match=r"(?s)one: .*two: "):
        check_metadata(metadata)


def test_tables_that_fit_pass() -> None:
    metadata = MetaData()
    Table("mine", metadata, Column("id", Integer, primary_key=True), tenant())
    Table("ours", metadata, Column("id", Integer, primary_key=True), info={"tenancy": "shared"})

    check_metadata(metadata)


def test_a_child_table_without_a_column_of_its_own_is_refused() -> None:
    class Base(DeclarativeBase):
        pass

    class Parent(TenantScoped, Base):
        __tablename__ = "parents"
        id: Mapped[int] = mapped_column(primary_key=True)

    class Child(Parent):
        __tablename__ = "children"
        id: Mapped[int] = mapped_column(ForeignKey("parents.id"), primary_key=True)

    with pytest.raises(ConfigurationError, match="children: it has no tenant_id"):
        check_metadata(Base.metadata)


def test_tenants_tables_come_after_those_they_refer_to() -> None:
    metadata = MetaData()
    Table("a", metadata, Column("id", ForeignKey("b.id"), primary_key=True), tenant())
    Table("b", metadata, Column("id", Integer, primary_key=True), tenant())
    Table("c", metadata, Column("id", Integer, primary_key=True), info={"tenancy": "shared"})

    assert [column.table.name for column in tenant_columns(metadata)] == ["b", "a"]


class Base(DeclarativeBase):
    type_annotation_map = {str: String(200)}  # noqa: RUF012 - as SQLAlchemy's documentation has it


class Note(TenantScoped, Base):
    __tablename__ = "notes"

    id: Mapped[int] = mapped_column(primary_key=True)
    text: Mapped[str]


class Renamed(Base):
    """Its attribute `tenant_id` is another column, and `whose` is the one that counts."""

    __tablename__ = "renamed"

    id: Mapped[int] = mapped_column(primary_key=True)
    whose: Mapped[str] = mapped_column("tenant_id", String(32))
    tenant_id: Mapped[str | None] = mapped_column("legacy")


class Numbered(DeclarativeBase):
    pass


class Counted(Numbered):
    """`tenant_id` is the application's own number here, which row isolation would not take."""

    __tablename__ = "counted"

    id: Mapped[int] = mapped_column(primary_key=True)
    tenant_id: Mapped[int | None]


class HeroBase(SQLModel):
    metadata = MetaData()  # not the one that all SQLModels of a process share


class Hero(HeroBase, table=True):
    id: int | None = Field(default=None, primary_key=True)
    name: str = Field(max_length=50)
    tenant_id: str = Field(default=None, max_length=32, index=True, nullable=False)


@pytest.fixture
async def engine(empty: str) -> AsyncIterator[AsyncEngine]:
    engine = create_async_engine(empty)
    async with engine.begin() as connection:
        for metadata in (Base.metadata, Numbered.metadata):
            await connection.run_sync(metadata.create_all)
        await connection.run_sync(HeroBase.metadata.tables["hero"].create)
    yield engine
    await engine.dispose()


async def test_sqlmodel_has_models_and_sessions_of_its_own(engine: AsyncEngine) -> None:
    heroes = RowIsolation(HeroBase.metadata)
    heroes.guard(engine)
    for owner in (A, B):
        async with heroes.sessionmaker(engine, SQLModelSession, owner)() as session:
            session.add(Hero(name=f"of {owner}"))
            await session.commit()

    async with heroes.sessionmaker(engine, SQLModelSession, A)() as session:
        assert isinstance(session, SQLModelSession)
        found = (await session.exec(sqlmodel_select(Hero))).all()
        assert [(hero.name, hero.tenant_id) for hero in found] == [(f"of {A}", A)]
        with pytest.raises(IsolationError):
            await session.exec(sqlmodel_select(Hero).where(text("1=1")))


async def test_the_column_counts_and_not_the_attribute(engine: AsyncEngine) -> None:
    isolation = RowIsolation(Base.metadata)
    isolation.guard(engine)
    async with isolation.sessionmaker(engine, AsyncSession, A)() as session:
        session.add(Renamed(tenant_id="x"))
        await session.flush()
        await session.execute(insert(Renamed).values(tenant_id="y"))
        await session.execute(insert(Renamed), [{"tenant_id": "z"}])
        with pytest.raises(IsolationError):
            await session.execute(insert(Renamed).values(whose=B))
        with pytest.raises(IsolationError):
            await session.execute(insert(Renamed), [{"whose": B}])

        rows = (await session.execute(select(Renamed.whose, Renamed.tenant_id))).all()
        assert rows == [(A, "x"), (A, "y"), (A, "z")]


async def test_a_table_declared_later_without_tenant_id_is_refused_when_it_is_used(engine: AsyncEngine) -> None:
    metadata = MetaData()
    isolation = RowIsolation(metadata)
    isolation.guard(engine)
    late = Table("late", metadata, Column("id", Integer, primary_key=True))

    async with isolation.sessionmaker(engine, AsyncSession, A)() as session:
        with pytest.raises(IsolationError, match="'late' cannot be scoped: it has no tenant_id"):
            await session.execute(select(late))


async def test_a_tenant_with_a_database_of_its_own_has_tenant_id_filled_in(engine: AsyncEngine) -> None:
    notes = Note.__table__
    async with stamped_sessionmaker(engine, AsyncSession, A)() as session:
        note = Note(text="1")
        session.add(note)
        await session.flush()
        assert note.tenant_id == A
        await session.execute(insert(Note).values(text="2"))
        await session.execute(insert(Note), [{"text": "3"}, {"text": "4"}])
        await session.execute(insert(notes).values([{"text": "5"}, {"text": "6"}]))
        await session.execute(insert(notes).from_select(["text"], select(notes.c.text).where(notes.c.id == 1)))
        await (await session.connection()).execute(insert(notes).values(text="7"))

        assert set((await session.scalars(select(Note.tenant_id))).all()) == {A}


async def test_a_tenant_with_a_database_of_its_own_is_refused_nothing(engine: AsyncEngine) -> None:
    async with stamped_sessionmaker(engine, AsyncSession, A)() as session:
        session.add(Note(text="imported", tenant_id=B))
        session.add(Counted())
        await session.flush()
        await session.execute(insert(Note).values(text="imported", tenant_id=B))
        await session.execute(insert(Note), [{"text": "imported", "tenant_id": B}])
        await session.execute(insert(Note).from_select(["text", "tenant_id"], select(Note.text, Note.tenant_id)))

        assert (await session.execute(text("SELECT count(*), max(tenant_id) FROM notes"))).one() == (6, B)
        assert await session.scalar(select(Counted.tenant_id)) is None


async def test_two_profiles_of_one_engine_are_stamped_once(engine: AsyncEngine) -> None:
    stamped_sessionmaker(engine, AsyncSession, A)
    compiler = engine.dialect.statement_compiler
    async with stamped_sessionmaker(engine, AsyncSession, B)() as session:
        session.add(Note(text="x"))
        await session.flush()

        assert await session.scalar(select(Note.tenant_id)) == B
        assert engine.dialect.statement_compiler is compiler


async def test_without_a_tenant_nothing_is_filled_in(engine: AsyncEngine) -> None:
    stamped_sessionmaker(engine, AsyncSession, A)
    async with engine.connect() as connection:
        with pytest.raises(IsolationError, match="belongs to no tenant"):
            await connection.execute(insert(Note).values(text="x"))
        with pytest.raises((IntegrityError, OperationalError), match="tenant_id"):
            await connection.execute(text("INSERT INTO notes (text) VALUES ('x')"))
