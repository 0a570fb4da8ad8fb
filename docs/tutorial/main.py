"""Notes, for as many companies as sign up."""

from typing import Annotated, Any

from fastapi import Body, FastAPI
from sqlalchemy import select
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from fastapi_tenancy import (
    CurrentTenant,
    HeaderResolver,
    Tenancy,
    TenancyMiddleware,
    TenancySettings,
    TenantScoped,
    TenantSession,
    TenantTransaction,
)


class Base(DeclarativeBase): ...


class Note(TenantScoped, Base):
    __tablename__ = "note"
    id: Mapped[int] = mapped_column(primary_key=True)
    text: Mapped[str]


tenancy = Tenancy(
    TenancySettings(database_url="sqlite:///./data/tenancy.db"),
    resolvers=[HeaderResolver("X-Tenant-ID")],
    metadata=Base.metadata,
)
app = FastAPI(lifespan=tenancy.lifespan)
app.add_middleware(TenancyMiddleware, tenancy=tenancy)


@app.post("/companies", status_code=201)
async def sign_up(identifier: Annotated[str, Body(embed=True)]) -> dict[str, str]:
    tenant = await tenancy.create_tenant(identifier)
    return {"identifier": tenant.identifier, "status": tenant.status}


@app.get("/notes")
async def list_notes(tenant: CurrentTenant, session: TenantSession) -> dict[str, Any]:
    notes = await session.scalars(select(Note.text).order_by(Note.id))
    return {"tenant": tenant.identifier, "notes": list(notes)}


@app.post("/notes", status_code=201)
async def add_note(text: Annotated[str, Body(embed=True)], session: TenantTransaction) -> dict[str, str]:
    session.add(Note(text=text))
    return {"text": text}
