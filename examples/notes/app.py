"""Put Jotter together: one application, all companies."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from fastapi.staticfiles import StaticFiles
from sqlalchemy import URL
from starlette.exceptions import HTTPException

from fastapi_tenancy import (
    HeaderResolver,
    PathResolver,
    SubdomainResolver,
    Tenancy,
    TenancyMiddleware,
    TenancySettings,
)

from . import api, front, pages
from .addresses import DOMAIN, HEADER, PREFIX, RESERVED
from .models import Base
from .plans import DEFAULTS
from .seed import seed


def create_app(data: Path) -> FastAPI:
    """Jotter with its data in the folder `data`, and with three companies from the first start on."""
    tenancy = Tenancy(
        TenancySettings(
            database_url=URL.create("sqlite+aiosqlite", database=str(data.absolute() / "jotter.db")),
            default_settings=DEFAULTS,
        ),
        resolvers=[HeaderResolver(HEADER), SubdomainResolver(DOMAIN, RESERVED), PathResolver(PREFIX)],
        metadata=Base.metadata,
    )

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        async with tenancy.lifespan(app):
            await seed(tenancy)
            yield

    app = FastAPI(title="Jotter", lifespan=lifespan)
    app.add_middleware(TenancyMiddleware, tenancy=tenancy)
    app.exception_handler(HTTPException)(front.error_page)
    app.exception_handler(RequestValidationError)(front.malformed_page)
    app.mount("/static", StaticFiles(directory=Path(__file__).with_name("static")), name="static")
    for part in (api, front, pages):
        app.include_router(part.router)
    return app
