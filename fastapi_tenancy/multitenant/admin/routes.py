"""The routes of the admin API."""

from collections.abc import AsyncIterator, Callable, Sequence
from datetime import timedelta
from typing import Annotated, Any

from fastapi import APIRouter
from fastapi.params import Depends

from ...audit import acting_as
from ...errors import ConfigurationError
from .audit import add_audit_routes
from .base import ManagesTenants
from .creation import add_creation
from .domains import add_domain_routes
from .impersonation import add_impersonation
from .json_route import JSONRoute
from .tenants import add_tenant_routes
from .tokens import add_token_routes

_A_DAY = timedelta(days=1)


def admin_router(
    tenancy: ManagesTenants,
    *,
    dependencies: Sequence[Depends],
    actor: Callable[..., Any] | None = None,
    require_if_match: bool = False,
    idempotency_ttl: timedelta = _A_DAY,
) -> APIRouter:
    """A router to include where operators reach it.

    Args:
        tenancy: whose tenants.
        dependencies: what guards every route, such as `[Depends(require_admin)]`.
        actor: a dependency that returns who is calling, a text, or None for nobody; for the audit trail, and because
            an `Idempotency-Key` is its caller's own.
        require_if_match: refuse a `PATCH` or `DELETE` of a tenant that does not say which version it is meant for.
        idempotency_ttl: for how long the answer to an `Idempotency-Key` is kept.

    Raises:
        ConfigurationError: there is no guard; anybody could delete every tenant. Or `idempotency_ttl` is not positive.
    """
    if not dependencies:
        raise ConfigurationError("the admin API has no guard; give dependencies=[Depends(require_admin)]")
    if idempotency_ttl <= timedelta(0):
        raise ConfigurationError(f"idempotency_ttl is {idempotency_ttl}; give more than no time")
    acting = [] if actor is None else [_acting(actor)]
    router = APIRouter(
        dependencies=[*dependencies, *acting], tags=["tenants"], route_class=JSONRoute, strict_content_type=True
    )
    add_creation(router, tenancy, idempotency_ttl)
    add_tenant_routes(router, tenancy, require_if_match=require_if_match)
    add_domain_routes(router, tenancy)
    add_token_routes(router, tenancy)
    add_impersonation(router, tenancy)
    add_audit_routes(router, tenancy)
    return router


def _acting(actor: Callable[..., Any]) -> Depends:
    async def acting(name: Annotated[str | None, Depends(actor)]) -> AsyncIterator[None]:
        with acting_as(name):
            yield

    return Depends(acting)
