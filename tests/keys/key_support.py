"""Keys, and tenants that have them."""

import secrets
from contextlib import asynccontextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select
from support import Note, make_tenancy

from fastapi_tenancy import Tenancy, Tenant

SEALING_KEY = secrets.token_urlsafe(32)

needs_sqlcipher = pytest.mark.skipif(find_spec("sqlcipher3") is None, reason="needs sqlcipher3: pip install sqlcipher3")

PLAIN = b"SQLite format 3\0"


def random_key() -> str:
    return secrets.token_urlsafe(32)


@asynccontextmanager
async def sealing(folder: Path, **given: Any):
    async with make_tenancy(folder, **{"encryption_keys": [SEALING_KEY], **given}) as tenancy:
        yield tenancy


def file_of(folder: Path, tenant: Tenant) -> Path:
    return folder / "tenants" / f"{tenant.id}.db"


async def write_with(tenancy: Tenancy, identifier: str, key: str | None, *texts: str) -> None:
    async with tenancy.use(identifier, key=key) as profile, profile.transaction() as session:
        session.add_all(Note(text=text) for text in texts)


async def read_with(tenancy: Tenancy, identifier: str, key: str | None) -> list[str]:
    async with tenancy.use(identifier, key=key) as profile, profile.session() as session:
        return list(await session.scalars(select(Note.text).order_by(Note.id)))
