"""An application of two related tables, and the ways to run it, shared by the tests."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx2 as httpx
from fastapi import FastAPI
from prepared_stores import put_store
from sqlalchemy import ForeignKey, MetaData, String, select
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column
from sqlmodel import Field, SQLModel
from starlette.applications import Starlette

from fastapi_tenancy import (
    CurrentTenant,
    HeaderResolver,
    Tenancy,
    TenancyMiddleware,
    TenancySettings,
    TenantScoped,
    TenantSession,
    TenantSyncSession,
    TenantSyncTransaction,
    TenantTransaction,
)
from fastapi_tenancy.resolvers import Resolver
from fastapi_tenancy.testing import Note as ContractNote

MANAGERS = ("basic", "shared-profile")


class Base(DeclarativeBase):
    pass


class Folder(TenantScoped, Base):
    __tablename__ = "folders"

    id: Mapped[int] = mapped_column(primary_key=True)
    title: Mapped[str] = mapped_column(String(200))


class Note(TenantScoped, Base):
    __tablename__ = "notes"

    id: Mapped[int] = mapped_column(primary_key=True)
    text: Mapped[str] = mapped_column(String(200))
    folder_id: Mapped[int | None] = mapped_column(ForeignKey("folders.id"))


class HeroBase(SQLModel):
    metadata = MetaData()  # not the one that all SQLModels of a process share


class Hero(HeroBase, table=True):
    id: int | None = Field(default=None, primary_key=True)
    tenant_id: str | None = Field(default=None, nullable=False, index=True, max_length=32)
    name: str


# What the contract of managers asks for, with room for two profiles.
CONTRACT = {
    "metadata": ContractNote.metadata,
    "profile_cache_size": 2,
    "default_settings": {"plan": "none", "seats": 1},
}


def make_tenancy(
    folder: Path,
    *,
    resolvers: Sequence[Resolver] = (HeaderResolver("X-Tenant-ID"),),
    metadata: Any = None,
    **given: Any,
) -> Tenancy:
    """A Tenancy on SQLite in `folder`, or at a `place`; what the settings know goes there, the rest to Tenancy."""
    own = ("store", "clock", "now", "session_class", "placement", "conflict", "limits", "audit", "usage")
    outer = {name: given.pop(name) for name in own if name in given}
    if "database_url" not in given:
        put_store(folder / "tenancy.db")
    settings = TenancySettings(**{"database_url": f"sqlite:///{folder}/tenancy.db", **given})
    return Tenancy(settings, resolvers=resolvers, metadata=metadata or Base.metadata, **outer)


def make_app(tenancy: Tenancy, **middleware: Any) -> FastAPI:
    app = FastAPI(lifespan=tenancy.lifespan)
    app.add_middleware(TenancyMiddleware, tenancy=tenancy, **middleware)

    @app.get("/health")
    async def health() -> dict[str, str]:
        return {"status": "ok"}

    @app.get("/whoami")
    async def whoami(tenant: CurrentTenant) -> dict[str, str]:
        return {"tenant": tenant.identifier}

    @app.get("/notes")
    async def list_notes(tenant: CurrentTenant, session: TenantSession) -> dict[str, Any]:
        return {"tenant": tenant.identifier, "notes": list(await session.scalars(select(Note.text).order_by(Note.id)))}

    @app.post("/notes", status_code=201)
    async def add_note(text: str, session: TenantTransaction) -> dict[str, int]:
        note = Note(text=text)
        session.add(note)
        await session.flush()
        return {"id": note.id}

    @app.get("/sync/notes")
    def list_notes_in_a_thread(tenant: CurrentTenant, session: TenantSyncSession) -> dict[str, Any]:
        return {"tenant": tenant.identifier, "notes": list(session.scalars(select(Note.text).order_by(Note.id)))}

    @app.post("/sync/notes", status_code=201)
    def add_note_in_a_thread(text: str, session: TenantSyncTransaction) -> dict[str, int]:
        note = Note(text=text)
        session.add(note)
        session.flush()
        return {"id": note.id}

    return app


def client_of(app: Any, *, raise_app_exceptions: bool = True) -> httpx.AsyncClient:
    """A client of an ASGI application whose Tenancy is open already."""
    transport = httpx.ASGITransport(app=app, raise_app_exceptions=raise_app_exceptions)
    return httpx.AsyncClient(transport=transport, base_url="http://testserver")


@asynccontextmanager
async def running(app: Starlette) -> AsyncIterator[httpx.AsyncClient]:
    """A client of the application, inside its lifespan."""
    async with app.router.lifespan_context(app), client_of(app) as client:
        yield client


def named(identifier: str) -> dict[str, str]:
    return {"X-Tenant-ID": identifier}


async def add_notes(tenancy: Tenancy, identifier: str, *texts: str) -> None:
    async with tenancy.use(identifier, allow_inactive=True) as profile, profile.transaction() as session:
        session.add_all(Note(text=text) for text in texts)


async def read_notes(tenancy: Tenancy, identifier: str) -> list[str]:
    async with tenancy.use(identifier, allow_inactive=True) as profile, profile.session() as session:
        return list(await session.scalars(select(Note.text).order_by(Note.id)))
