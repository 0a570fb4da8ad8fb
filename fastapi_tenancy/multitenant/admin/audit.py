"""The admin API's routes by which the audit trail is read."""

from datetime import datetime
from typing import Annotated, Any, Self

from fastapi import APIRouter, Query
from pydantic import BaseModel, Field

from ...errors import InvalidIdentifierError, TenantNotFoundError
from .answers import refusals
from .base import Absent, AuditPage, ManagesTenants, Named, PageSize

_MAX_ID = 2**31 - 1  # of the column

After = Annotated[
    int | Absent, Query(ge=1, le=_MAX_ID, description="`next` of the page before; without it, the newest.")
]


class AuditEntryOut(BaseModel):
    """Who did what to which tenant."""

    id: int
    action: Annotated[str, Field(examples=["suspended"])]
    at: datetime
    actor: Annotated[str | None, Field(examples=["ada@example.com"])]
    tenant_id: str | None
    identifier: Annotated[str | None, Field(examples=["acme"])]
    details: Annotated[dict[str, Any], Field(examples=[{}])]


class AuditList(BaseModel):
    """A page of the trail, the newest first; `next` is what `after` takes for the following one."""

    items: list[AuditEntryOut]
    next: int | None

    @classmethod
    def of(cls, page: AuditPage) -> Self:
        items = [AuditEntryOut.model_validate(entry, from_attributes=True) for entry in page.items]
        return cls(items=items, next=page.next)


def add_audit_routes(router: APIRouter, tenancy: ManagesTenants) -> None:
    @router.get("/audit", responses=refusals())
    async def read_audit(limit: PageSize = 100, after: After = None) -> AuditList:
        return AuditList.of(await tenancy.audit_trail(None, limit, after))

    @router.get("/tenants/{identifier}/audit", responses=refusals(InvalidIdentifierError, TenantNotFoundError))
    async def read_tenants_audit(identifier: Named, limit: PageSize = 100, after: After = None) -> AuditList:
        return AuditList.of(await tenancy.audit_trail(identifier, limit, after))
