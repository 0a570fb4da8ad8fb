"""Find, count and write notes.

No statement here names a tenant: a session reaches one company's rows and no others.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession

from .models import Label, Note, Notebook, Tag
from .schemas import NoteIn

PAGE_SIZE = 24


class NoteLimitError(Exception):
    """The company's plan holds no more notes."""


@dataclass(frozen=True, slots=True)
class Overview:
    """What the side of every page shows: notebooks as (id, name, notes) and tags as (name, notes) that are in use."""

    notebooks: Sequence[tuple[int, str, int]]
    tags: Sequence[tuple[str, int]]

    @property
    def note_count(self) -> int:
        return sum(count for _, _, count in self.notebooks)


async def overview(session: AsyncSession) -> Overview:
    notebooks = await session.execute(
        select(Notebook.id, Notebook.name, func.count(Note.id))
        .join(Notebook.notes)
        .group_by(Notebook.id, Notebook.name)
        .order_by(func.lower(Notebook.name))
    )
    tags = await session.execute(
        select(Tag.name, func.count(Label.id)).join(Label, Label.tag_id == Tag.id).group_by(Tag.name).order_by(Tag.name)
    )
    return Overview([(id_, name, count) for id_, name, count in notebooks], [(name, count) for name, count in tags])


async def count_notes(session: AsyncSession) -> int:
    return await session.scalar(select(func.count(Note.id))) or 0


async def find_notes(
    session: AsyncSession,
    *,
    notebook_id: int | None = None,
    q: str = "",
    tag: str = "",
    limit: int = PAGE_SIZE,
    offset: int = 0,
) -> Sequence[Note]:
    """Pinned notes first, then the latest; `q` is looked for in title and text, whatever the letter case."""
    found = select(Note).order_by(Note.pinned.desc(), Note.updated_at.desc(), Note.id.desc())
    if notebook_id is not None:
        found = found.where(Note.notebook_id == notebook_id)
    if q:
        found = found.where(Note.folded.contains(q.casefold(), autoescape=True))
    if tag:
        found = found.join(Note.labels).join(Label.tag).where(Tag.name == tag)
    return (await session.scalars(found.limit(limit).offset(offset))).all()


async def add_note(session: AsyncSession, draft: NoteIn, limit: int) -> Note:
    """Write a new note, unless there are `limit` already.

    Call it in a `TenantTransaction`. On SQLite that takes the write lock before it counts, so of two requests for the
    last place one is refused.

    Raises:
        NoteLimitError: there are.
    """
    if await count_notes(session) >= limit:
        raise NoteLimitError
    note = Note(labels=set())  # said, so that nothing has to be loaded later where it has none
    await write_note(session, note, draft)
    session.add(note)
    await session.flush()
    return note


async def write_note(session: AsyncSession, note: Note, draft: NoteIn) -> None:
    notebook = await _notebook(session, draft.notebook)
    tags = await _tags(session, draft.tags)
    note.notebook = notebook
    note.title = draft.title
    note.text = draft.text
    note.pinned = draft.pinned
    note.tags = tags
    note.updated_at = datetime.now(UTC)


async def _notebook(session: AsyncSession, name: str) -> Notebook:
    found = await session.scalar(select(Notebook).where(Notebook.name == name))
    return found or Notebook(name=name)


async def _tags(session: AsyncSession, names: Iterable[str]) -> set[Tag]:
    found = set(await session.scalars(select(Tag).where(Tag.name.in_(names))))
    return found | {Tag(name=name) for name in set(names) - {tag.name for tag in found}}
