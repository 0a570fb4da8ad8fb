"""The admin API's routes of tenants, save the one by which they are created."""

from typing import Annotated, Any

from fastapi import APIRouter, Query
from fastapi.requests import Request
from fastapi.responses import Response

from ...errors import (
    InvalidHeaderError,
    InvalidIdentifierError,
    MediaTypeError,
    PreconditionError,
    PreconditionRequiredError,
    RequestError,
    TenantConflictError,
    TenantExistsError,
    TenantNotFoundError,
    TenantUnavailableError,
    VetoedError,
)
from ...secret_settings import unmasked
from ...tenant import MAX_NAME, Tenant, TenantStatus
from .answers import ETAG, Answers, refusals
from .base import SLUG, Absent, ManagesTenants, Named, PageSize, reaching_data
from .preconditions import IfMatch, IfNoneMatch, etag_of, is_known
from .schemas import TenantList, TenantOut, TenantPatch, merge_patch

After = Annotated[
    str | Absent, Query(description="`next` of the page before.", examples=["acme"], json_schema_extra=SLUG)
]
Text = Annotated[
    str | Absent,
    Query(max_length=MAX_NAME, description="Text in the identifier or the name, in any letter case.", examples=["acm"]),
]

_NAMED = (InvalidIdentifierError, TenantNotFoundError)
_CHANGED = (*_NAMED, InvalidHeaderError, TenantConflictError, VetoedError, PreconditionError)
_TENANT: Answers = {200: {"headers": ETAG}}
_UNCHANGED: Answers = {304: {"description": "The tenant is still in the version of If-None-Match.", "headers": ETAG}}


def add_tenant_routes(router: APIRouter, tenancy: ManagesTenants, *, require_if_match: bool) -> None:
    required = (PreconditionRequiredError,) if require_if_match else ()
    _add_reading(router, tenancy)
    _add_changing(router, tenancy, required)
    _add_status(router, tenancy)


def shown(tenancy: ManagesTenants, tenant: Tenant, response: Response) -> TenantOut:
    """The tenant as the API shows it, and its version in the header."""
    response.headers["ETag"] = etag_of(tenant)
    return TenantOut.of(tenant, tenancy.settings.secret_settings)


def _add_reading(router: APIRouter, tenancy: ManagesTenants) -> None:
    @router.get("/tenants", responses=refusals(InvalidIdentifierError))
    async def list_tenants(
        limit: PageSize = 100,
        after: After = None,
        status: TenantStatus | Absent = None,
        q: Text = None,
    ) -> TenantList:
        page = await tenancy.list_tenants(limit, after, status, q)
        secret = tenancy.settings.secret_settings
        return TenantList(items=[TenantOut.of(tenant, secret) for tenant in page.items], next=page.next)

    @router.get("/stats", responses=refusals(checked=False))
    async def stats() -> dict[str, Any]:
        return tenancy.stats()

    @router.get(
        "/tenants/{identifier}",
        response_model=TenantOut,
        responses={**_TENANT, **_UNCHANGED, **refusals(*_NAMED)},
    )
    async def get_tenant(
        identifier: Named, request: Request, response: Response, if_none_match: IfNoneMatch = None
    ) -> TenantOut | Response:
        tenant = await tenancy.get_tenant(identifier)
        if is_known(request, tenant):
            return Response(status_code=304, headers={"ETag": etag_of(tenant)})
        return shown(tenancy, tenant, response)


def _add_changing(router: APIRouter, tenancy: ManagesTenants, required: tuple[type[RequestError], ...]) -> None:
    merge = {"requestBody": {"content": {"application/merge-patch+json": {"schema": _PATCH_SCHEMA}}}}

    @router.patch(
        "/tenants/{identifier}",
        responses={**_TENANT, **refusals(*_CHANGED, TenantExistsError, MediaTypeError, *required, body=True)},
        openapi_extra=merge,
    )
    async def update_tenant(identifier: Named, body: TenantPatch, if_match: IfMatch, response: Response) -> TenantOut:
        if required:
            if_match.require()
        tenant = await tenancy.get_tenant(identifier)
        changes = body.model_dump(exclude_unset=True)
        if "settings" in changes:
            patch = unmasked(changes["settings"], tenant.settings, tenancy.settings.secret_settings)
            changes["settings"] = merge_patch(tenant.settings, patch)
        with if_match.held(tenant):
            return shown(tenancy, await tenancy.update_tenant(tenant, **changes), response)

    @router.delete(
        "/tenants/{identifier}",
        status_code=204,
        responses=refusals(*_CHANGED, TenantUnavailableError, *required),
    )
    async def delete_tenant(
        identifier: Named,
        if_match: IfMatch,
        drop_data: Annotated[bool, Query(description="Destroy its data as well; else they are kept.")] = False,
    ) -> None:
        if required:
            if_match.require()
        tenant = await tenancy.get_tenant(identifier)
        with if_match.held(tenant), reaching_data():
            await tenancy.delete_tenant(tenant, drop_data=drop_data)


def _add_status(router: APIRouter, tenancy: ManagesTenants) -> None:
    answers = {**_TENANT, **refusals(*_CHANGED, MediaTypeError)}

    @router.post("/tenants/{identifier}/suspend", responses=answers)
    async def suspend_tenant(identifier: Named, if_match: IfMatch, response: Response) -> TenantOut:
        tenant = await tenancy.get_tenant(identifier)
        with if_match.held(tenant):
            return shown(tenancy, await tenancy.suspend_tenant(tenant), response)

    @router.post("/tenants/{identifier}/activate", responses=answers)
    async def activate_tenant(identifier: Named, if_match: IfMatch, response: Response) -> TenantOut:
        tenant = await tenancy.get_tenant(identifier)
        with if_match.held(tenant):
            return shown(tenancy, await tenancy.activate_tenant(tenant), response)


_PATCH_SCHEMA = {"$ref": "#/components/schemas/TenantPatch"}
