"""The JSON API, for programs: try it in `/docs`."""

from typing import Annotated

from fastapi import APIRouter, HTTPException, Query

from fastapi_tenancy import CurrentProfile, TenantSession, TenantTransaction

from .plans import plan_of
from .schemas import NoteIn, NoteOut
from .storage import NoteLimitError, add_note, find_notes

router = APIRouter(prefix="/api/notes", tags=["notes"])


@router.get("")
async def list_notes(
    session: TenantSession,
    q: Annotated[str, Query(description="Looked for in title and text.", max_length=200)] = "",
    tag: Annotated[str, Query(description="Only notes that have it.", max_length=30)] = "",
    limit: Annotated[int, Query(ge=1, le=100)] = 50,
    offset: Annotated[int, Query(ge=0, le=1_000_000)] = 0,
) -> list[NoteOut]:
    """The company's notes: pinned ones first, then the latest."""
    return [NoteOut.of(note) for note in await find_notes(session, q=q, tag=tag, limit=limit, offset=offset)]


@router.post("", status_code=201, responses={403: {"description": "The plan holds no more notes."}})
async def create_note(draft: NoteIn, profile: CurrentProfile, session: TenantTransaction) -> NoteOut:
    """Write a note."""
    plan = plan_of(profile.settings)
    try:
        return NoteOut.of(await add_note(session, draft, plan.note_limit))
    except NoteLimitError as error:
        raise HTTPException(403, f"The {plan.title} plan holds {plan.note_limit} notes; delete one first.") from error
