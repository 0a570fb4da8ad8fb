"""What an endpoint asks for: the tenant, its profile, a session, a transaction."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from functools import cache
from typing import TYPE_CHECKING, Annotated, Any, Protocol, TypeVar, cast

from fastapi import Depends
from fastapi.concurrency import contextmanager_in_threadpool
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Session
from starlette.requests import HTTPConnection
from starlette.types import Scope

from .errors import TenantNotSpecifiedError, middleware_missing
from .multitenant import Profile
from .multitenant.keys import GivenKey, needs_key
from .tenant import Tenant


class _LeasesProfiles(Protocol):
    def lease(self, tenant: Tenant, key: GivenKey | None = None) -> AbstractAsyncContextManager[Profile]: ...

    async def key_in(self, scope: Scope, tenant: Tenant) -> GivenKey | None: ...


# `async`, for FastAPI would run a plain function in a thread.
async def optional_tenant(connection: HTTPConnection) -> Tenant | None:
    try:
        return cast("Tenant | None", connection.scope["state"]["tenant"])
    except KeyError:
        raise middleware_missing() from None


# Asked anew each time, since `central_route` hides the tenant from what runs after it.
OptionalTenant = Annotated[Tenant | None, Depends(optional_tenant, use_cache=False)]


async def required_tenant(tenant: OptionalTenant) -> Tenant:
    if tenant is None:
        raise TenantNotSpecifiedError("this endpoint needs a tenant and the request names none")
    return tenant


CurrentTenant = Annotated[Tenant, Depends(required_tenant)]


async def current_profile(connection: HTTPConnection, tenant: CurrentTenant) -> AsyncIterator[Profile]:
    tenancy: _LeasesProfiles = connection.scope["state"]["tenancy"]
    key = await tenancy.key_in(connection.scope, tenant) if needs_key(tenant) else None
    async with tenancy.lease(tenant, key) as profile:
        yield profile


CurrentProfile = Annotated[Profile, Depends(current_profile)]


async def tenant_session(profile: CurrentProfile) -> AsyncIterator[AsyncSession]:
    async with profile.session() as session:
        yield session


TenantSession = Annotated[AsyncSession, Depends(tenant_session)]


async def tenant_transaction(profile: CurrentProfile) -> AsyncIterator[AsyncSession]:
    async with profile.transaction() as session:
        yield session


# By default FastAPI ends a dependency after the response is sent, and a failed commit would follow a 200.
TenantTransaction = Annotated[AsyncSession, Depends(tenant_transaction, scope="function")]


async def tenant_sync_session(profile: CurrentProfile) -> AsyncIterator[Session]:
    async with profile.turn(), contextmanager_in_threadpool(profile.sync_session()) as session:
        yield session


TenantSyncSession = Annotated[Session, Depends(tenant_sync_session)]


async def tenant_sync_transaction(profile: CurrentProfile) -> AsyncIterator[Session]:
    async with profile.turn(), contextmanager_in_threadpool(profile.sync_transaction()) as session:
        yield session


TenantSyncTransaction = Annotated[Session, Depends(tenant_sync_transaction, scope="function")]


@cache  # one dependency for each type, so that FastAPI asks once per request
def tenant_service(kind: Any) -> Callable[..., Awaitable[Any]]:
    async def service(profile: CurrentProfile) -> Any:
        return await profile.service(kind)

    return service


if TYPE_CHECKING:
    # What no `__class_getitem__` can tell a type checker: `TenantService[X]` is an X.
    S = TypeVar("S")
    TenantService = Annotated[S, "service"]
else:

    class TenantService:
        """`TenantService[CrmClient]` is what `Profile.service(CrmClient)` gives."""

        def __class_getitem__(cls, kind: Any) -> Any:
            return Annotated[kind, Depends(tenant_service(kind))]
