"""A company's pages: forms that post and redirect, and no script."""

from typing import Annotated

from fastapi import APIRouter, Depends, Form, HTTPException, Path
from pydantic import ValidationError
from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from fastapi_tenancy import CurrentProfile, CurrentTenant, InvalidTenantError, Tenancy, TenantSession, TenantTransaction

from .addresses import addresses
from .forms import Filter, NoteForm, problems
from .models import Note, Notebook
from .plans import ACCENTS, plan_of
from .render import company_page
from .storage import PAGE_SIZE, NoteLimitError, add_note, count_notes, find_notes, write_note

router = APIRouter(include_in_schema=False)

Id = Annotated[int, Path(le=2**63 - 1)]
FilterParams = Annotated[Filter, Depends()]
NoteFields = Annotated[NoteForm, Depends()]


async def note_or_404(note_id: Id, session: AsyncSession) -> Note:
    note = await session.get(Note, note_id)
    if note is None:
        raise HTTPException(404, "There is no such note.")
    return note


@router.get("/welcome", name="welcome")
async def welcome(request: Request, profile: CurrentProfile, session: TenantSession) -> Response:
    ways = addresses(request, profile.tenant.identifier)
    return await company_page(request, profile, session, "welcome.html", ways=ways)


@router.get("/notes", name="notes")
async def list_notes(
    request: Request, profile: CurrentProfile, session: TenantSession, wanted: FilterParams
) -> Response:
    return await _list_page(request, profile, session, wanted, None)


@router.get("/notebooks/{notebook_id:int}", name="notebook")
async def list_notebook(
    request: Request, profile: CurrentProfile, session: TenantSession, wanted: FilterParams, notebook_id: Id
) -> Response:
    notebook = await session.get(Notebook, notebook_id)
    if notebook is None:
        raise HTTPException(404, "There is no such notebook.")
    return await _list_page(request, profile, session, wanted, notebook)


async def _list_page(
    request: Request, profile: CurrentProfile, session: AsyncSession, wanted: Filter, notebook: Notebook | None
) -> Response:
    found = await find_notes(
        session,
        notebook_id=notebook.id if notebook else None,
        q=wanted.q,
        tag=wanted.tag,
        limit=PAGE_SIZE + 1,
        offset=(wanted.page - 1) * PAGE_SIZE,
    )
    return await company_page(
        request,
        profile,
        session,
        "notes.html",
        notes=found[:PAGE_SIZE],
        notebook=notebook,
        wanted=wanted,
        more=len(found) > PAGE_SIZE,
    )


@router.get("/notes/new", name="new_note")
async def new_note(request: Request, profile: CurrentProfile, session: TenantSession, notebook: str = "") -> Response:
    if await count_notes(session) >= plan_of(profile.settings).note_limit:
        return await _limit_page(request, profile, session, NoteForm())
    return await _form_page(request, profile, session, NoteForm(notebook=notebook))


@router.post("/notes", name="create_note")
async def create_note(
    request: Request, profile: CurrentProfile, session: TenantTransaction, form: NoteFields
) -> Response:
    try:
        note = await add_note(session, form.draft(), plan_of(profile.settings).note_limit)
    except ValidationError as error:
        return await _form_page(request, profile, session, form, errors=problems(error))
    except NoteLimitError:
        return await _limit_page(request, profile, session, form)
    return _to(request, "note", "created", note_id=note.id)


@router.get("/notes/{note_id:int}", name="note")
async def show_note(request: Request, profile: CurrentProfile, session: TenantSession, note_id: Id) -> Response:
    return await company_page(request, profile, session, "note.html", note=await note_or_404(note_id, session))


@router.get("/notes/{note_id:int}/edit", name="edit_note")
async def edit_note(request: Request, profile: CurrentProfile, session: TenantSession, note_id: Id) -> Response:
    note = await note_or_404(note_id, session)
    return await _form_page(request, profile, session, NoteForm.of(note), note)


@router.post("/notes/{note_id:int}", name="update_note")
async def update_note(
    request: Request, profile: CurrentProfile, session: TenantTransaction, note_id: Id, form: NoteFields
) -> Response:
    note = await note_or_404(note_id, session)
    try:
        await write_note(session, note, form.draft())
    except ValidationError as error:
        return await _form_page(request, profile, session, form, note, problems(error))
    return _to(request, "note", "saved", note_id=note_id)


@router.post("/notes/{note_id:int}/pin", name="pin_note")
async def pin_note(
    request: Request, session: TenantTransaction, note_id: Id, pinned: Annotated[bool, Form()]
) -> Response:
    (await note_or_404(note_id, session)).pinned = pinned
    return _to(request, "note", "pinned" if pinned else "unpinned", note_id=note_id)


@router.post("/notes/{note_id:int}/delete", name="delete_note")
async def delete_note(request: Request, session: TenantTransaction, note_id: Id) -> Response:
    await session.delete(await note_or_404(note_id, session))
    return _to(request, "notes", "deleted")


@router.get("/settings", name="settings")
async def show_settings(request: Request, profile: CurrentProfile, session: TenantSession) -> Response:
    return await company_page(request, profile, session, "settings.html", accents=ACCENTS, errors={})


@router.post("/settings", name="save_settings")
async def save_settings(
    request: Request,
    tenant: CurrentTenant,
    profile: CurrentProfile,
    session: TenantSession,
    name: Annotated[str, Form()] = "",
    accent: Annotated[str, Form()] = "",
) -> Response:
    tenancy: Tenancy = request.state.tenancy
    settings = {**tenant.settings, **({"accent": accent} if accent in ACCENTS else {})}
    try:
        await tenancy.update_tenant(tenant.identifier, name=name.strip(), settings=settings)
    except InvalidTenantError as error:
        errors = {"name": "Give the company a name of up to 200 characters."}
        return await company_page(
            request, profile, session, "settings.html", error.status_code, accents=ACCENTS, errors=errors
        )
    return _to(request, "settings", "saved")


async def _form_page(
    request: Request,
    profile: CurrentProfile,
    session: AsyncSession,
    form: NoteForm,
    note: Note | None = None,
    errors: dict[str, str] | None = None,
) -> Response:
    names = (await session.scalars(select(Notebook.name).order_by(func.lower(Notebook.name)))).all()
    return await company_page(
        request,
        profile,
        session,
        "note_form.html",
        422 if errors else 200,
        form=form,
        note=note,
        errors=errors or {},
        notebook_names=names,
    )


async def _limit_page(request: Request, profile: CurrentProfile, session: AsyncSession, form: NoteForm) -> Response:
    return await company_page(request, profile, session, "limit.html", 403, form=form)


def _to(request: Request, route: str, done: str, **parameters: int) -> Response:
    """Redirect after a post, so that a reload does not post again."""
    return RedirectResponse(request.url_for(route, **parameters).include_query_params(done=done), 303)
