"""What comes in and goes out: the rules for a note, the same for the form and for the JSON API."""

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Annotated, Self

from pydantic import AfterValidator, BaseModel, Field, StringConstraints

from .models import Note


def _one_of_each(names: Iterable[str]) -> list[str]:
    return sorted(set(names))


Title = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=200)]
NotebookName = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=60)]
TagName = Annotated[
    str, StringConstraints(strip_whitespace=True, to_lower=True, min_length=1, max_length=30, pattern="^[^,]+$")
]


class NoteIn(BaseModel, extra="forbid"):
    """A note as somebody writes it. A notebook or a tag that does not exist yet is made."""

    title: Title
    text: Annotated[str, StringConstraints(strip_whitespace=True, max_length=20_000)] = ""
    notebook: NotebookName = "General"
    tags: Annotated[list[TagName], Field(max_length=10), AfterValidator(_one_of_each)] = []
    pinned: bool = False


class NoteOut(NoteIn):
    """A note as it is kept."""

    id: int
    updated_at: datetime

    @classmethod
    def of(cls, note: Note) -> Self:
        return cls(
            id=note.id,
            title=note.title,
            text=note.text,
            notebook=note.notebook.name,
            tags=note.tag_names,
            pinned=note.pinned,
            updated_at=note.updated_at.replace(tzinfo=UTC),  # SQLite keeps no time zone; what we write is UTC
        )
