"""The front door: what Jotter is, who is here, how to sign up, and what to show when something is wrong."""

from http import HTTPStatus
from typing import Annotated

from fastapi import APIRouter, Form
from fastapi.exception_handlers import http_exception_handler, request_validation_exception_handler
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from fastapi_tenancy import (
    InvalidIdentifierError,
    InvalidTenantError,
    OptionalTenant,
    RequestError,
    Tenancy,
    TenantExistsError,
)

from .addresses import RESERVED, addresses
from .plans import DEFAULTS, PLANS, open_account
from .render import page
from .seed import COMPANIES

router = APIRouter(include_in_schema=False)

# Why a sign-up was refused → the field that it concerns, and what to do.
_REFUSALS: dict[type[RequestError], tuple[str, str]] = {
    InvalidTenantError: ("name", "Give the company a name of up to 200 characters."),
    InvalidIdentifierError: (
        "slug",
        "An address has 1 to 63 lower-case letters, digits and hyphens, no hyphen at either end, and is not “www”.",
    ),
    TenantExistsError: ("slug", "This address is taken; choose another."),
}


@router.get("/", name="home")
async def home(request: Request, tenant: OptionalTenant) -> Response:
    if tenant is not None:
        return RedirectResponse(request.url_for("notes"), 303)
    companies = [(company, PLANS[company["plan"]], addresses(request, company["slug"])) for company in COMPANIES]
    return page(request, "landing.html", companies=companies, plans=PLANS, values={}, errors={})


@router.get("/sign-up", name="sign_up")
async def sign_up_form(request: Request) -> Response:
    return page(request, "sign_up.html", plans=PLANS, values={}, errors={})


# No page asks who you are, so a forged form does nothing that its author could not do directly: no CSRF token.
@router.post("/sign-up", name="sign_up")
async def sign_up(
    request: Request,
    name: Annotated[str, Form()] = "",
    slug: Annotated[str, Form()] = "",
    plan: Annotated[str, Form()] = DEFAULTS["plan"],
) -> Response:
    values = {"name": name.strip(), "slug": slug.strip(), "plan": plan if plan in PLANS else DEFAULTS["plan"]}
    tenancy: Tenancy = request.state.tenancy
    try:
        if values["slug"] in RESERVED:
            raise InvalidIdentifierError("the subdomain resolver ignores it")
        await open_account(tenancy, **values, accent=DEFAULTS["accent"])
    except tuple(_REFUSALS) as error:
        field, message = _REFUSALS[type(error)]
        return page(request, "sign_up.html", error.status_code, plans=PLANS, values=values, errors={field: message})
    return RedirectResponse(f"{addresses(request, values['slug']).path}welcome", 303)


async def error_page(request: Request, error: HTTPException) -> Response:
    """What a browser gets for an error; programs get JSON."""
    if not _wants_html(request):
        return await http_exception_handler(request, error)
    title = HTTPStatus(error.status_code).phrase.capitalize()
    response = page(request, "error.html", error.status_code, title=title, detail=error.detail)
    response.headers.update(error.headers or {})
    return response


async def malformed_page(request: Request, error: RequestValidationError) -> Response:
    """The same for a request whose parameters cannot be read."""
    if not _wants_html(request):
        return await request_validation_exception_handler(request, error)
    return page(request, "error.html", 422, title="That does not look right", detail="The address cannot be read.")


def _wants_html(request: Request) -> bool:
    return "text/html" in request.headers.get("accept", "")
