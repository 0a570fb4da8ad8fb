"""Answer a reverse proxy that asks whether to get a certificate for a host."""

from typing import Protocol

from fastapi import APIRouter

from ..errors import DomainNotFoundError
from .route_manager import MultitenantRouteManager


class HasDomains(Protocol):
    """What the answer needs of a `Tenancy`."""

    @property
    def domains(self) -> MultitenantRouteManager: ...


def ask_router(tenancy: HasDomains) -> APIRouter:
    """A router with `GET /ask?domain=…`: 200 if the host is verified for an active tenant, 404 otherwise.

    It is what Caddy's `on_demand_tls` asks, <https://caddyserver.com/docs/automatic-https#on-demand-tls>. It has no
    guard and tells nothing but this; let only the proxy reach it.
    """
    router = APIRouter(tags=["domains"])

    @router.get("/ask")
    async def ask(domain: str) -> dict[str, str]:
        tenant = await tenancy.domains.tenant_of(domain)
        if tenant is None or not tenant.is_active:
            raise DomainNotFoundError(f"{domain[:80]!r} is not verified for an active tenant")
        return {"domain": domain}

    return router
