"""The admin API's routes of the tenants' domains."""

from fastapi import APIRouter

from ...errors import (
    DomainCheckError,
    DomainNotFoundError,
    DomainNotProvenError,
    DomainTakenError,
    InvalidDomainError,
    InvalidIdentifierError,
    MediaTypeError,
    TenantConflictError,
    TenantNotFoundError,
    VetoedError,
)
from .answers import refusals
from .base import ManagesTenants, Named, PageSize
from .schemas import DomainIn, DomainList, DomainOut

_NAMED = (InvalidIdentifierError, TenantNotFoundError, InvalidDomainError)
_CHANGED = (*_NAMED, DomainNotFoundError, TenantConflictError, VetoedError)


def add_domain_routes(router: APIRouter, tenancy: ManagesTenants) -> None:
    @router.get("/tenants/{identifier}/domains", responses=refusals(*_NAMED))
    async def list_domains(identifier: Named, limit: PageSize = 100, after: str | None = None) -> DomainList:
        found = await tenancy.domains.list(identifier, limit + 1, after)
        items = [DomainOut.of(domain) for domain in found[:limit]]
        return DomainList(items=items, next=items[-1].host if len(found) > limit else None)

    @router.post(
        "/tenants/{identifier}/domains",
        status_code=201,
        responses=refusals(*_NAMED, DomainTakenError, TenantConflictError, VetoedError, MediaTypeError, body=True),
    )
    async def add_domain(identifier: Named, body: DomainIn) -> DomainOut:
        return DomainOut.of(await tenancy.domains.add(identifier, body.host))

    @router.post(
        "/tenants/{identifier}/domains/{host}/verify",
        responses=refusals(*_CHANGED, DomainNotProvenError, DomainTakenError, DomainCheckError, MediaTypeError),
    )
    async def verify_domain(identifier: Named, host: str) -> DomainOut:
        return DomainOut.of(await tenancy.domains.verify(identifier, host))

    @router.post("/tenants/{identifier}/domains/{host}/revoke", responses=refusals(*_CHANGED, MediaTypeError))
    async def revoke_domain(identifier: Named, host: str) -> DomainOut:
        return DomainOut.of(await tenancy.domains.revoke(identifier, host))

    @router.post("/tenants/{identifier}/domains/{host}/primary", responses=refusals(*_CHANGED, MediaTypeError))
    async def make_domain_primary(identifier: Named, host: str) -> DomainOut:
        return DomainOut.of(await tenancy.domains.set_primary(identifier, host))

    @router.delete("/tenants/{identifier}/domains/{host}", status_code=204, responses=refusals(*_CHANGED))
    async def remove_domain(identifier: Named, host: str) -> None:
        await tenancy.domains.remove(identifier, host)
