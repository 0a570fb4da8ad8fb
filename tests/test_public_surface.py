"""The two programs that the design promises run as they are written there."""

from pathlib import Path

import pytest
from fastapi import FastAPI
from sqlalchemy import select
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column
from starlette.testclient import TestClient

import fastapi_tenancy
from fastapi_tenancy import (
    CurrentTenant,
    HeaderResolver,
    Tenancy,
    TenancyMiddleware,
    TenancySettings,
    TenantNotFoundError,
    TenantSession,
    TenantSuspendedError,
)


class Base(DeclarativeBase):
    pass


class Note(Base):
    __tablename__ = "notes"

    id: Mapped[int] = mapped_column(primary_key=True)
    text: Mapped[str]


def test_the_web_program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    tenancy = Tenancy(
        TenancySettings(database_url="sqlite+aiosqlite:///./data/tenancy.db"),
        resolvers=[HeaderResolver("X-Tenant-ID")],
        metadata=Base.metadata,
    )
    app = FastAPI(lifespan=tenancy.lifespan)
    app.add_middleware(TenancyMiddleware, tenancy=tenancy)

    @app.get("/notes")
    async def list_notes(tenant: CurrentTenant, session: TenantSession):
        return {"tenant": tenant.identifier, "notes": list(await session.scalars(select(Note.text)))}

    @app.post("/tenants/{identifier}")
    async def sign_up(identifier: str):
        return (await tenancy.create_tenant(identifier)).identifier

    with TestClient(app) as client:
        assert client.post("/tenants/acme").json() == "acme"
        answer = client.get("/notes", headers={"X-Tenant-ID": "acme"})
    assert answer.json() == {"tenant": "acme", "notes": []}


async def test_the_script(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TENANCY_DATABASE_URL", f"sqlite:///{tmp_path}/tenancy.db")
    tenancy = Tenancy(resolvers=[HeaderResolver("X-Tenant-ID")], metadata=Base.metadata)
    app = FastAPI()

    async with tenancy.lifespan(app):
        acme = await tenancy.create_tenant("acme", name="Acme Corp", settings={"plan": "pro"})
        await tenancy.suspend_tenant("acme")
        with pytest.raises(TenantSuspendedError):
            async with tenancy.use("acme"):
                pass
        await tenancy.activate_tenant("acme")
        await tenancy.update_tenant("acme", name="Acme Inc", identifier="acme-inc", settings={"plan": "free"})
        page = await tenancy.list_tenants(limit=100, after=None)
        assert [(tenant.id, tenant.name, tenant.settings["plan"]) for tenant in page.items] == [
            (acme.id, "Acme Inc", "free")
        ]
        assert page.next is None
        async with tenancy.use("acme-inc") as profile:
            assert profile.settings["plan"] == "free"
            async with profile.transaction() as session:
                session.add(Note(text="hello"))
        await tenancy.delete_tenant("acme-inc", drop_data=True)
        with pytest.raises(TenantNotFoundError):
            await tenancy.get_tenant("acme-inc")
        assert tenancy.stats()["managers"]["MultitenantManager"]["opened"] >= 1
    assert [file.name for file in tmp_path.rglob("*.db")] == ["tenancy.db"]


def test_every_public_name_exists_and_is_documented() -> None:
    undocumented = [
        name
        for name in fastapi_tenancy.__all__
        if isinstance(getattr(fastapi_tenancy, name), type) and not getattr(fastapi_tenancy, name).__doc__
    ]
    assert undocumented == []
