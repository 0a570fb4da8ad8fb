"""Resolve the tenant of each request, before the application sees it."""

from collections.abc import Iterable
from contextlib import AbstractAsyncContextManager
from typing import Protocol

from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from .context import tenant_scope
from .directory import TenantDirectory, require_active
from .errors import ConfigurationError, TenantNotSpecifiedError
from .multitenant import Profile
from .resolvers import ResolverChain
from .resolvers.base import is_under, path_below_root
from .resolvers.chain import settled
from .tenant import Tenant


class SupportsTenancy(Protocol):
    """What a request needs of a `Tenancy`."""

    @property
    def directory(self) -> TenantDirectory: ...

    @property
    def resolvers(self) -> ResolverChain: ...

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
        self.app = app
        self._tenancy = tenancy
        self._exclude = _checked(exclude)
        self._required = required
        self._steps = tenancy.resolvers.steps
        self._remembered = tenancy.directory.remembered
        self._find = tenancy.directory.find

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            await self.app(scope, receive, send)
            return
        if scope["type"] == "websocket" and not _offers_denial_response(scope):
            send = _closing_instead(send)
        state = scope.setdefault("state", {})
        state["tenancy"] = self._tenancy
        tenant: Tenant | None = None
        if not (self._exclude and self._is_excluded(scope)):
            try:
                tenant, scope = await self._resolve(scope)
            except HTTPException as error:
                if not _is_preflight(scope):
                    await _refuse(error, scope, receive, send)
                    return
        state["tenant"] = tenant
        with tenant_scope(tenant):
            await self.app(scope, receive, send)

    async def _resolve(self, scope: Scope) -> tuple[Tenant | None, Scope]:
        for resolver, enter in self._steps:
            named = resolver(scope)
            if named is None:
                continue
            if not isinstance(named, str):
                named = await settled(named, resolver)
                if named is None:
                    continue
            tenant = named if isinstance(named, Tenant) else self._remembered(named) or await self._find(named)
            return require_active(tenant), enter(scope, tenant.identifier) if enter else scope
        if self._required:
            raise TenantNotSpecifiedError("the request names no tenant, and the middleware has required=True")
        return None, scope

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


async def _refuse(error: HTTPException, scope: Scope, receive: Receive, send: Send) -> None:
    # A middleware's exception never reaches the application's handlers, so the answer is made here.
    response = JSONResponse({"detail": error.detail}, error.status_code, error.headers)
    await response(scope, receive, send)


def _offers_denial_response(scope: Scope) -> bool:
    """<https://asgi.readthedocs.io/en/latest/extensions.html#websocket-denial-response>."""
    return "websocket.http.response" in scope.get("extensions", {})


def _closing_instead(send: Send) -> Send:
    async def sending(message: Message) -> None:
        if message["type"] == "websocket.http.response.start":
            await send({"type": "websocket.close", "code": 1008})
        elif message["type"] != "websocket.http.response.body":
            await send(message)

    return sending
