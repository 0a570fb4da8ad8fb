"""What browsers send: fields as they were typed, and what to say where they cannot be used."""

from dataclasses import dataclass
from typing import Annotated, Self

from fastapi import Form, Query
from pydantic import ValidationError

from .models import Note
from .schemas import NoteIn

_RULES = {
    "title": "Give the note a title of up to 200 characters.",
    "text": "A note holds up to 20,000 characters.",
    "notebook": "Choose a notebook, or name a new one in up to 60 characters.",
    "tags": "Use up to 10 tags of up to 30 characters each.",
}

_Field = Annotated[str, Form()]


@dataclass(frozen=True, slots=True)
class Filter:
    """Which of the notes a page shows."""

    q: Annotated[str, Query(max_length=200)] = ""
    tag: Annotated[str, Query(max_length=30)] = ""
    page: Annotated[int, Query(ge=1, le=10_000)] = 1


@dataclass(frozen=True, slots=True)
class NoteForm:
    """The note form."""

    title: _Field = ""
    text: _Field = ""
    notebook: _Field = ""
    new_notebook: _Field = ""
    tags: _Field = ""
    pinned: _Field = ""

    @classmethod
    def of(cls, note: Note) -> Self:
        return cls(
            title=note.title,
            text=note.text,
            notebook=note.notebook.name,
            tags=", ".join(note.tag_names),
            pinned="on" if note.pinned else "",
        )

    def draft(self) -> NoteIn:
        """The note that was meant.

        Raises:
            ValidationError: it breaks a rule; `problems` says which.
        """
        return NoteIn(
            title=self.title,
            text=self.text.replace("\r\n", "\n"),  # what HTML forms make of a line's end
            notebook=self.new_notebook.strip() or self.notebook,
            tags=[tag for tag in self.tags.split(",") if tag.strip()],
            pinned=bool(self.pinned),
        )


def problems(error: ValidationError) -> dict[str, str]:
    """What to say beside each field."""
    fields = (str(each["loc"][0]) for each in error.errors())
    return {field: _RULES[field] for field in fields}
