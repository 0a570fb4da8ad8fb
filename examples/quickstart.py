from fastapi import FastAPI
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
app = FastAPI(lifespan=tenancy.lifespan)
app.add_middleware(TenancyMiddleware, tenancy=tenancy)


@app.post("/tenants/{identifier}", status_code=201)
async def sign_up(identifier: str) -> str:
    return (await tenancy.create_tenant(identifier)).name


@app.get("/notes")
async def list_notes(tenant: CurrentTenant, session: TenantSession) -> dict[str, object]:
    return {"tenant": tenant.identifier, "notes": list(await session.scalars(select(Note.text)))}


@app.post("/notes", status_code=201)
async def add_note(text: str, session: TenantSession) -> None:
    session.add(Note(text=text))
    await session.commit()
