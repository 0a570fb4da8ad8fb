"""Tables of every shape, two tenants' rows for them, and how to tell what a result says."""

from typing import Any

from sqlalchemy import JSON, Column, ForeignKey, Integer, String, Table
from sqlalchemy.ext.asyncio import AsyncAttrs
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, relationship

from fastapi_tenancy.multitenant.isolation import TenantScoped

A, B = "a" * 32, "b" * 32


class Base(AsyncAttrs, DeclarativeBase):
    type_annotation_map = {str: String(200)}  # noqa: RUF012 - as SQLAlchemy's documentation has it


note_tags = Table(
    "note_tags",
    Base.metadata,
    Column("note_id", ForeignKey("notes.id"), primary_key=True),
    Column("tag_id", ForeignKey("tags.id"), primary_key=True),
    Column("tenant_id", String(32), nullable=False, index=True),
)

ledger = Table(
    "ledger",
    Base.metadata,
    Column("id", Integer, primary_key=True),
    Column("amount", Integer, nullable=False),
    Column("memo", String(200), nullable=False),
    Column("tenant_id", String(32), nullable=False, key="owner"),
)


class Author(TenantScoped, Base):
    __tablename__ = "authors"

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str]
    notes: Mapped[list["Note"]] = relationship(back_populates="author", cascade="all, delete-orphan")


class Tag(TenantScoped, Base):
    __tablename__ = "tags"

    id: Mapped[int] = mapped_column(primary_key=True)
    label: Mapped[str]


class Note(TenantScoped, Base):
    __tablename__ = "notes"

    id: Mapped[int] = mapped_column(primary_key=True)
    text: Mapped[str]
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
    name: Mapped[str]


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
    own_tenant_id: Mapped[str] = mapped_column("tenant_id", String(32), index=True)
    bark: Mapped[str]


def rows_of(tenant: str, first: int, word: str) -> dict[Table, list[dict[str, Any]]]:
    """Rows that say `word` wherever they can; ids from `first` on."""
    ids = [first + offset for offset in range(4)]
    return {
        Author.__table__: [{"id": i, "name": f"{word}-author-{i}", "tenant_id": tenant} for i in ids[:2]],
        Tag.__table__: [{"id": first, "label": f"{word}-tag", "tenant_id": tenant}],
        Note.__table__: [
            {"id": i, "text": f"{word}-{i}", "data": {"k": word}, "author_id": author, "tenant_id": tenant}
            for i, author in zip(ids, (first, first, None, 102 - first), strict=True)  # the last one's is the other's
        ],
        note_tags: [
            {"note_id": first, "tag_id": first, "tenant_id": tenant},
            {"note_id": first + 1, "tag_id": 102 - first, "tenant_id": tenant},  # the other tenant's tag
        ],
        ledger: [{"id": first, "amount": first, "memo": word, "owner": tenant}],
        Animal.__table__: [{"id": first, "kind": "dog", "name": f"{word}-rex", "tenant_id": tenant}],
        Dog.__table__: [{"id": first, "bark": f"{word}-woof", "tenant_id": tenant}],
    }


def words(value: Any) -> str:
    """All that a result says, for comparing it, and for looking whether it says too much."""
    if isinstance(value, Base):
        return str(next(vars(value)[name] for name in ("text", "name", "label") if name in vars(value)))
    if isinstance(value, list | tuple) or hasattr(value, "_fields"):
        return " ".join(words(item) for item in value)
    return str(value)


def said(result: Any) -> list[str]:
    if not getattr(result, "returns_rows", True):
        return [str(result.rowcount)]
    return sorted(" ".join(described(item) for item in row) for row in result.unique(str))


def described(item: Any) -> str:
    """An entity with whatever of it is loaded, also the related ones."""
    if not isinstance(item, Base):
        return str(item)
    loaded = sorted(vars(item).items())
    return words([item, *(value for name, value in loaded if name in ("author", "notes", "tags"))])
