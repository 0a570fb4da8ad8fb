"""Two tenants in one program. Run `uvicorn examples.quickstart:app`, then open http://127.0.0.1:8000/docs."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated, Any

from fastapi import Body, FastAPI
from sqlalchemy import select
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from fastapi_tenancy import CurrentTenant, HeaderResolver, Tenancy, TenancyMiddleware, TenancySettings, TenantSession


class Base(DeclarativeBase): ...


class Note(Base):
    __tablename__ = "note"
    id: Mapped[int] = mapped_column(primary_key=True)
    text: Mapped[str]


tenancy = Tenancy(
    TenancySettings(database_url="sqlite+aiosqlite:///./data/tenancy.db"),  # or TENANCY_DATABASE_URL
    resolvers=[HeaderResolver("X-Tenant-ID")],
    metadata=Base.metadata,  # the tables that each tenant gets
)


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    async with tenancy.lifespan(app):
        there = {tenant.identifier for tenant in (await tenancy.list_tenants()).items}
        for identifier in {"acme", "globex"} - there:
            await tenancy.create_tenant(identifier)
        yield


app = FastAPI(lifespan=lifespan)
app.add_middleware(TenancyMiddleware, tenancy=tenancy)


@app.get("/notes")
async def list_notes(tenant: CurrentTenant, session: TenantSession) -> dict[str, Any]:
    return {"tenant": tenant.identifier, "notes": list(await session.scalars(select(Note.text)))}


@app.post("/notes", status_code=201)
async def add_note(text: Annotated[str, Body(embed=True)], session: TenantSession) -> None:
    session.add(Note(text=text))
    await session.commit()
