"""What a company keeps: notes in notebooks, with tags."""

from datetime import UTC, datetime

from sqlalchemy import DateTime, ForeignKey, String, UniqueConstraint
from sqlalchemy.ext.associationproxy import AssociationProxy, association_proxy
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, relationship, validates

from fastapi_tenancy import TenantScoped


class Base(DeclarativeBase):
    """All tables that each tenant gets; `TenantScoped` lets them be shared by tenants or be one tenant's own."""


class Notebook(TenantScoped, Base):
    __tablename__ = "notebook"
    __table_args__ = (UniqueConstraint("tenant_id", "name"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(String(60))
    notes: Mapped[list["Note"]] = relationship(back_populates="notebook")


class Note(TenantScoped, Base):
    __tablename__ = "note"

    id: Mapped[int] = mapped_column(primary_key=True)
    notebook_id: Mapped[int] = mapped_column(ForeignKey("notebook.id"), index=True)
    title: Mapped[str] = mapped_column(String(200))
    text: Mapped[str]
    folded: Mapped[str]
    pinned: Mapped[bool] = mapped_column(default=False)
    updated_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), default=lambda: datetime.now(UTC))

    notebook: Mapped[Notebook] = relationship(back_populates="notes", lazy="joined", innerjoin=True)
    labels: Mapped[set["Label"]] = relationship(back_populates="note", lazy="selectin", cascade="all, delete-orphan")
    tags: AssociationProxy[set["Tag"]] = association_proxy("labels", "tag", creator=lambda tag: Label(tag=tag))

    @validates("title", "text")
    def _fold(self, key: str, value: str) -> str:
        # SQLite's own case-insensitive match knows ASCII only, and a search for "über" has to find "Über".
        other = self.text if key == "title" else self.title
        self.folded = f"{value}\n{other or ''}".casefold()
        return value

    @property
    def tag_names(self) -> list[str]:
        return sorted(tag.name for tag in self.tags)


class Tag(TenantScoped, Base):
    __tablename__ = "tag"
    __table_args__ = (UniqueConstraint("tenant_id", "name"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(String(30))


class Label(TenantScoped, Base):
    """A tag on a note; a model with a key of its own, so that it has a `tenant_id` like every other row."""

    __tablename__ = "label"
    __table_args__ = (UniqueConstraint("note_id", "tag_id"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    note_id: Mapped[int] = mapped_column(ForeignKey("note.id"))
    tag_id: Mapped[int] = mapped_column(ForeignKey("tag.id"), index=True)

    note: Mapped[Note] = relationship(back_populates="labels")
    tag: Mapped[Tag] = relationship(lazy="joined", innerjoin=True)
