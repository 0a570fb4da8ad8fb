"""Tables of every shape that a schema can hold."""

import enum
from typing import Any

from sqlalchemy import (
    DDL,
    JSON,
    CheckConstraint,
    Column,
    Enum,
    ForeignKey,
    Index,
    Integer,
    Sequence,
    String,
    Table,
    event,
    text,
)
from sqlalchemy.dialects import postgresql
from sqlalchemy.ext.asyncio import AsyncAttrs
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, relationship

from fastapi_tenancy.multitenant.isolation import TenantScoped


class Mood(enum.Enum):
    glad = "glad"
    sad = "sad"


class Climate(enum.Enum):
    cold = "cold"
    warm = "warm"


class Base(AsyncAttrs, DeclarativeBase):
    type_annotation_map = {str: String(200)}  # noqa: RUF012 - as SQLAlchemy's documentation has it


note_tags = Table(
    "note_tags",
    Base.metadata,
    Column("note_id", ForeignKey("notes.id"), primary_key=True),
    Column("tag_id", ForeignKey("tags.id"), primary_key=True),
)


class Author(Base):
    __tablename__ = "authors"

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(unique=True)
    notes: Mapped[list["Note"]] = relationship(back_populates="author", cascade="all, delete-orphan")


class Tag(Base):
    __tablename__ = "tags"

    id: Mapped[int] = mapped_column(primary_key=True)
    label: Mapped[str] = mapped_column(comment="50% of it; it's what people read")


class Note(Base):
    __tablename__ = "notes"
    __table_args__ = (
        Index("ix_notes_lower", text("lower(text)")).ddl_if(dialect="postgresql"),
        CheckConstraint("text <> '100%'", name="not_all"),
        {"comment": "what tenants write"},
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    text: Mapped[str]
    mood: Mapped[Mood] = mapped_column(Enum(Mood, name="mood"), default=Mood.glad)
    words: Mapped[list[str]] = mapped_column(JSON().with_variant(postgresql.ARRAY(String), "postgresql"), default=list)
    data: Mapped[Any] = mapped_column(JSON, default=dict)
    author_id: Mapped[int | None] = mapped_column(ForeignKey("authors.id"))
    country_id: Mapped[int | None] = mapped_column(ForeignKey("countries.id"))
    author: Mapped[Author | None] = relationship(back_populates="notes")
    country: Mapped["Country | None"] = relationship()
    tags: Mapped[list[Tag]] = relationship(secondary=note_tags)


class Country(Base):
    __tablename__ = "countries"
    __table_args__ = {"info": {"tenancy": "shared"}}  # noqa: RUF012 - as SQLAlchemy's documentation has it

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(index=True)
    climate: Mapped[Climate] = mapped_column(Enum(Climate, name="climate"), default=Climate.cold)


class Animal(TenantScoped, Base):
    __tablename__ = "animals"
    __mapper_args__ = {"polymorphic_on": "kind", "polymorphic_identity": "animal"}  # noqa: RUF012 - as above

    id: Mapped[int] = mapped_column(primary_key=True)
    kind: Mapped[str]
    name: Mapped[str]


class Dog(Animal):
    __tablename__ = "dogs"
    __mapper_args__ = {"polymorphic_identity": "dog"}  # noqa: RUF012 - as above

    id: Mapped[int] = mapped_column(ForeignKey("animals.id"), primary_key=True)
    trick: Mapped[str]


class Ticket(Base):
    """Numbered by a sequence."""

    __tablename__ = "tickets"

    id: Mapped[int] = mapped_column(Integer, Sequence("ticket_numbers", start=100), primary_key=True)
    title: Mapped[str]


event.listen(
    Note.__table__,
    "after_create",
    DDL("CREATE INDEX ix_from_an_event ON %(fullname)s (id)"),
)
event.listen(
    Note.__table__,
    "after_create",
    DDL("CREATE INDEX ix_of_a_bare_name ON notes (mood)").execute_if(dialect="postgresql"),
)
