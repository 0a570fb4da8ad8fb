"""Turn a template into a response."""

from datetime import datetime
from pathlib import Path
from typing import Any

from fastapi.templating import Jinja2Templates
from sqlalchemy.ext.asyncio import AsyncSession
from starlette.requests import Request
from starlette.responses import Response

from fastapi_tenancy import Profile

from .addresses import product_url, way_of
from .forms import Filter
from .plans import DEFAULTS, plan_of
from .storage import overview

# Jinja2Templates escapes what it puts into HTML, and gives templates `url_for`, which keeps the tenant's host or path.
_templates = Jinja2Templates(Path(__file__).with_name("templates"))


def _day(moment: datetime) -> str:
    return f"{moment.day} {moment:%B %Y}"


_templates.env.filters["day"] = _day


def page(request: Request, template: str, status_code: int = 200, **context: Any) -> Response:
    """A page that needs no company."""
    return _templates.TemplateResponse(request, template, {"accent": DEFAULTS["accent"], **context}, status_code)


async def company_page(
    request: Request, profile: Profile, session: AsyncSession, template: str, status_code: int = 200, **context: Any
) -> Response:
    """A page inside a company, with its name, its colour, its notebooks and tags at the side."""
    return page(
        request,
        template,
        status_code,
        company=profile.tenant,
        accent=profile.settings["accent"],
        plan=plan_of(profile.settings),
        side=await overview(session),
        way=way_of(request),
        front=f"{product_url(request)}/",
        **{"wanted": Filter(), **context},
    )
