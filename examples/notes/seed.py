"""Three companies to look at, so that nobody has to begin with an empty page."""

import tomllib
from collections.abc import Mapping
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from typing import Any

from sqlalchemy import select

from fastapi_tenancy import Tenancy, TenantExistsError

from .models import Notebook
from .plans import open_account, plan_of
from .schemas import NoteIn
from .storage import add_note

_FILE = Path(__file__).with_name("companies.toml")

COMPANIES: list[dict[str, Any]] = tomllib.loads(_FILE.read_text("utf-8"))["company"]


async def seed(tenancy: Tenancy) -> None:
    """Create the companies and their notes; what is there already stays as it is."""
    for company in COMPANIES:
        await _seed_company(tenancy, company)


async def _seed_company(tenancy: Tenancy, company: Mapping[str, Any]) -> None:
    account = {key: company[key] for key in ("slug", "name", "plan", "accent")}
    with suppress(TenantExistsError):
        await open_account(tenancy, **account)
    # Inactive: somebody may have suspended it, and that is no reason not to start.
    async with tenancy.use(company["slug"], allow_inactive=True) as profile, profile.transaction() as session:
        if await session.scalar(select(Notebook.id).limit(1)) is not None:
            return  # also after a start that was killed between the two steps, all notes are there or none
        for entry in company["note"]:
            content = {key: value for key, value in entry.items() if key != "days_ago"}
            note = await add_note(session, NoteIn(**content), plan_of(profile.settings).note_limit)
            note.updated_at -= timedelta(days=entry["days_ago"])
