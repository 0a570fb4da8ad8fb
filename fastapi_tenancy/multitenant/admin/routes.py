"""The routes of the admin API."""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Protocol

from fastapi import APIRouter, Query
from fastapi.params import Depends

from ...errors import ConfigurationError
from ...tenant import Tenant, TenantStatus
from ..route_manager import MultitenantRouteManager
from ..tokens import MultitenantTokenManager
from .schemas import (
    DomainIn,
    DomainList,
    DomainOut,
    TenantIn,
    TenantList,
    TenantOut,
    TenantPatch,
    TokenCreated,
    TokenIn,
    TokenList,
    TokenOut,
    merge_patch,
)

PageSize = Annotated[int, Query(ge=1, le=1000)]
TokenId = Annotated[str, Query(pattern="^[0-9a-f]{32}$")]


class _Page(Protocol):
    @property
    def items(self) -> Sequence[Tenant]: ...

    @property
    def next(self) -> str | None: ...


class ManagesTenants(Protocol):
    """What the API needs of a `Tenancy`."""

    async def create_tenant(
        self, identifier: str, *, name: str | None, settings: Mapping[str, Any] | None, manager_type: str | None
    ) -> Tenant: ...

    async def get_tenant(self, identifier: str) -> Tenant: ...

    async def list_tenants(self, limit: int, after: str | None, status: TenantStatus | None) -> _Page: ...

    async def update_tenant(
        self,
        current: str,
        /,
        *,
        name: str | None,
        identifier: str | None,
        settings: Mapping[str, Any] | None,
        version: int | None,
    ) -> Tenant: ...

    async def suspend_tenant(self, identifier: str) -> Tenant: ...

    async def activate_tenant(self, identifier: str) -> Tenant: ...

    async def delete_tenant(self, identifier: str, *, drop_data: bool) -> None: ...

    @property
    def domains(self) -> MultitenantRouteManager: ...

    @property
    def tokens(self) -> MultitenantTokenManager: ...

    def stats(self) -> dict[str, Any]: ...


def admin_router(tenancy: ManagesTenants, *, dependencies: Sequence[Depends]) -> APIRouter:
    """A router to include where operators reach it.

    Args:
        tenancy: whose tenants.
        dependencies: what guards every route, such as `[Depends(require_admin)]`.

    Raises:
        ConfigurationError: there is no guard; anybody could delete every tenant.
    """
    if not dependencies:
        raise ConfigurationError("the admin API has no guard; give dependencies=[Depends(require_admin)]")
    router = APIRouter(dependencies=list(dependencies), tags=["tenants"])
    _add_collection(router, tenancy)
    _add_tenant(router, tenancy)
    _add_status(router, tenancy)
    _add_domains(router, tenancy)
    _add_tokens(router, tenancy)
    return router


def _add_collection(router: APIRouter, tenancy: ManagesTenants) -> None:
    @router.get("/tenants")
    async def list_tenants(
        limit: PageSize = 100,
        after: str | None = None,
        status: TenantStatus | None = None,
    ) -> TenantList:
        page = await tenancy.list_tenants(limit, after, status)
        return TenantList(items=[TenantOut.of(tenant) for tenant in page.items], next=page.next)

    @router.post("/tenants", status_code=201)
    async def create_tenant(body: TenantIn) -> TenantOut:
        created = await tenancy.create_tenant(
            body.identifier, name=body.name, settings=body.settings, manager_type=body.manager_type
        )
        return TenantOut.of(created)

    @router.get("/stats")
    async def stats() -> dict[str, Any]:
        return tenancy.stats()


def _add_tenant(router: APIRouter, tenancy: ManagesTenants) -> None:
    @router.get("/tenants/{identifier}")
    async def get_tenant(identifier: str) -> TenantOut:
        return TenantOut.of(await tenancy.get_tenant(identifier))

    @router.patch("/tenants/{identifier}")
    async def update_tenant(identifier: str, body: TenantPatch) -> TenantOut:
        tenant = await tenancy.get_tenant(identifier)
        updated = await tenancy.update_tenant(
            identifier,
            name=body.name,
            identifier=body.identifier,
            settings=None if body.settings is None else merge_patch(tenant.settings, body.settings),
            version=tenant.version,
        )
        return TenantOut.of(updated)

    @router.delete("/tenants/{identifier}", status_code=204)
    async def delete_tenant(identifier: str, drop_data: bool = False) -> None:
        await tenancy.delete_tenant(identifier, drop_data=drop_data)


def _add_status(router: APIRouter, tenancy: ManagesTenants) -> None:
    @router.post("/tenants/{identifier}/suspend")
    async def suspend_tenant(identifier: str) -> TenantOut:
        return TenantOut.of(await tenancy.suspend_tenant(identifier))

    @router.post("/tenants/{identifier}/activate")
    async def activate_tenant(identifier: str) -> TenantOut:
        return TenantOut.of(await tenancy.activate_tenant(identifier))


def _add_domains(router: APIRouter, tenancy: ManagesTenants) -> None:
    @router.get("/tenants/{identifier}/domains")
    async def list_domains(identifier: str, limit: PageSize = 100, after: str | None = None) -> DomainList:
        found = await tenancy.domains.list(identifier, limit + 1, after)
        items = [DomainOut.of(domain) for domain in found[:limit]]
        return DomainList(items=items, next=items[-1].host if len(found) > limit else None)

    @router.post("/tenants/{identifier}/domains", status_code=201)
    async def add_domain(identifier: str, body: DomainIn) -> DomainOut:
        return DomainOut.of(await tenancy.domains.add(identifier, body.host))

    @router.post("/tenants/{identifier}/domains/{host}/verify")
    async def verify_domain(identifier: str, host: str) -> DomainOut:
        return DomainOut.of(await tenancy.domains.verify(identifier, host))

    @router.post("/tenants/{identifier}/domains/{host}/revoke")
    async def revoke_domain(identifier: str, host: str) -> DomainOut:
        return DomainOut.of(await tenancy.domains.revoke(identifier, host))

    @router.post("/tenants/{identifier}/domains/{host}/primary")
    async def make_domain_primary(identifier: str, host: str) -> DomainOut:
        return DomainOut.of(await tenancy.domains.set_primary(identifier, host))

    @router.delete("/tenants/{identifier}/domains/{host}", status_code=204)
    async def remove_domain(identifier: str, host: str) -> None:
        await tenancy.domains.remove(identifier, host)


def _add_tokens(router: APIRouter, tenancy: ManagesTenants) -> None:
    @router.get("/tenants/{identifier}/tokens")
    async def list_tokens(identifier: str, limit: PageSize = 100, after: TokenId | None = None) -> TokenList:
        page = await tenancy.tokens.list(identifier, limit, after)
        return TokenList(items=[TokenOut.of(token) for token in page.items], next=page.next)

    @router.post("/tenants/{identifier}/tokens", status_code=201)
    async def create_token(identifier: str, body: TokenIn) -> TokenCreated:
        issued = await tenancy.tokens.create(identifier, name=body.name, scopes=body.scopes, expires_in=body.expires_in)
        return TokenCreated(token_id=issued.token_id, token=issued.token)

    @router.delete("/tenants/{identifier}/tokens/{token_id}", status_code=204)
    async def revoke_token(identifier: str, token_id: str) -> None:
        await tenancy.tokens.revoke(identifier, token_id)
