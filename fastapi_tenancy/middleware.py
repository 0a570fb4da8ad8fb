"""Resolve the tenant of each request, before the application sees it."""

from collections.abc import Awaitable, Callable, Iterable
from contextlib import AbstractAsyncContextManager
from typing import Any, Protocol

from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Receive, Scope, Send

from .context import CURRENT
from .directory import TenantDirectory
from .errors import ConfigurationError, TenantNotFoundError, TenantNotSpecifiedError
from .limits import LimitGate
from .multitenant import Profile
from .refusal import able_to_refuse, refuse
from .resolution import Resolution
from .resolvers import ResolverChain
from .resolvers.base import is_under, path_below_root
from .resolvers.chain import settled
from .resolvers.proxies import TrustedProxies
from .settings import TenancySettings
from .tenant import Tenant, TenantStatus
from .usage import TenantUsage

_ACTIVE = TenantStatus.ACTIVE


class SupportsTenancy(Protocol):
    """What a request needs of a `Tenancy`."""

    @property
    def settings(self) -> TenancySettings: ...

    @property
    def directory(self) -> TenantDirectory: ...

    @property
    def resolvers(self) -> ResolverChain: ...

    @property
    def limits(self) -> LimitGate | None: ...

    @property
    def clock(self) -> Callable[[], float]: ...

    @property
    def usage(self) -> TenantUsage | None: ...

    def lease(self, tenant: Tenant) -> AbstractAsyncContextManager[Profile]: ...


class TenancyMiddleware:
    """Pure ASGI middleware, for HTTP and WebSocket.

    Args:
        app: the application.
        tenancy: the `Tenancy` that knows the tenants.
        exclude: paths that are served without a look at the tenant, each with all that lies below it.
        required: refuse a request that names no tenant. Else it goes on without one, and the dependencies refuse it
            where one is needed, so that `/docs` and the like work. A CORS preflight, which cannot carry a tenant's
            header, goes on in any case.

    Raises:
        ConfigurationError: `exclude` holds something that is no path prefix.
    """

    def __init__(
        self, app: ASGIApp, tenancy: SupportsTenancy, exclude: Iterable[str] = (), required: bool = False
    ) -> None:
        app = app if tenancy.limits is None else tenancy.limits.around(app)
        self.app = app if tenancy.usage is None else tenancy.usage.around(app)  # with those that the limits refuse
        self._tenancy = tenancy
        self._exclude = _checked(exclude)
        self._required = required
        self._name = tenancy.resolvers.name
        self._enter = tenancy.resolvers.enter
        self._remembered = tenancy.directory.remembered
        self._slow = tenancy.settings.slow_resolution
        self._clock = tenancy.clock
        self._reveals_inactive = tenancy.settings.reveal_inactive
        proxies = tenancy.settings.trusted_proxies
        self._proxies = TrustedProxies(proxies) if proxies else None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: C901 - each coroutine costs
        if scope["type"] != "http":
            if scope["type"] != "websocket":
                await self.app(scope, receive, send)
                return
            send = able_to_refuse(scope, send)
        if "state" not in scope:
            scope["state"] = {}
        state = scope["state"]
        tenant: Tenant | None = None
        try:
            if self._proxies is not None:
                scope = self._proxies.as_asked(scope)
            if not self._exclude or not self._is_excluded(scope):
                named = self._name(scope)
                # What is remembered needs no await; `_find` is for all the rest.
                if type(named) is str:
                    tenant = self._remembered(named)
                elif type(named) is Tenant:
                    tenant = named
                if tenant is None or tenant.status is not _ACTIVE:
                    tenant = await self._find(named)
                if tenant is not None and self._enter is not None:
                    scope = self._enter(scope, tenant.identifier)
        except HTTPException as error:
            if not _is_preflight(scope):
                await refuse(error, scope, receive, send)
                return
            tenant = None
        state["tenancy"] = self._tenancy
        state["tenant"] = tenant
        before = CURRENT.set(tenant)
        try:
            await self.app(scope, receive, send)
        finally:
            CURRENT.reset(before)

    def _find(self, named: str | Tenant | Awaitable[Any] | None) -> Awaitable[Tenant | None]:
        return self._found(named) if named is None or self._slow is None else self._found_under_watch(named, self._slow)

    async def _found_under_watch(self, named: str | Tenant | Awaitable[Any], limit: float) -> Tenant | None:
        with Resolution(limit, self._clock) as resolution:
            known = await settled(named)
            resolution.name = known.identifier if isinstance(known, Tenant) else known
            return await self._found(known)

    async def _found(self, named: str | Tenant | Awaitable[Any] | None) -> Tenant | None:
        """The tenant that is named, if it may be served, or None where none is named and none is required."""
        named = await settled(named)
        if named is None:
            if self._required:
                raise TenantNotSpecifiedError("the request names no tenant, and the middleware has required=True")
            return None
        tenant = named if isinstance(named, Tenant) else await self._tenancy.directory.find(named)
        if tenant.is_active or self._reveals_inactive:
            return await self._tenancy.directory.admitted(tenant)
        raise TenantNotFoundError(
            f"the tenant {tenant.identifier!r} is {tenant.status}; reveal_inactive=False hides it"
        )

    def _is_excluded(self, scope: Scope) -> bool:
        path = path_below_root(scope)
        return any(is_under(path, prefix) for prefix in self._exclude) and not _is_devious(path)


def _checked(exclude: Iterable[str]) -> tuple[str, ...]:
    if isinstance(exclude, str):
        raise ConfigurationError(f"exclude={exclude!r} would be read letter by letter; write exclude=[{exclude!r}]")
    prefixes = tuple(exclude)
    for prefix in prefixes:
        if not prefix.startswith("/") or not prefix.strip("/"):
            raise ConfigurationError(f"exclude holds {prefix!r}; give paths that begin with a slash, like '/health'")
    return tuple(prefix.rstrip("/") for prefix in prefixes)


def _is_devious(path: str) -> bool:
    """Whether somebody behind us might read another path than the one that is written."""
    return not path.isprintable() or not {".", ".."}.isdisjoint(path.split("/"))


def _is_preflight(scope: Scope) -> bool:
    """<https://fetch.spec.whatwg.org/#cors-preflight-fetch>."""
    if scope["type"] != "http" or scope["method"] != "OPTIONS":
        return False
    names = {name for name, _ in scope["headers"]}
    return {b"origin", b"access-control-request-method"} <= names
