"""Mark a route as one of tenants, as one that belongs to no tenant, or as one that works with and without."""

from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping
from enum import StrEnum
from types import MappingProxyType
from typing import Annotated, Any

from fastapi import Depends, params, routing
from starlette.requests import HTTPConnection

from .context import tenant_scope
from .dependencies import optional_tenant, required_tenant
from .errors import ConfigurationError, TenantNotAllowedError
from .tenant import Tenant


class RouteKind(StrEnum):
    """Whom a route is for."""

    TENANT = "tenant"
    CENTRAL = "central"
    UNIVERSAL = "universal"


# FastAPI keeps the first answer of a request, so this is the tenant that was named, also once it is hidden.
_Named = Annotated[Tenant | None, Depends(optional_tenant)]


async def _hide_tenant(connection: HTTPConnection, named: _Named) -> AsyncIterator[None]:
    state = connection.scope["state"]
    state["tenant"] = None
    try:
        with tenant_scope(None):
            yield
    finally:
        state["tenant"] = named


async def _refuse_tenant(named: _Named) -> None:
    if named is not None:
        raise TenantNotAllowedError(
            f"this route belongs to no tenant and the request names {named.identifier!r}; send it without a tenant"
        )


async def _allow_both() -> None:
    """Nothing to check: being there is the mark."""


def tenant_route() -> params.Depends:
    """Mark as a route of tenants: a request that names none is refused with a 400 before the route runs."""
    return params.Depends(required_tenant)


def central_route(*, refuse_tenants: bool = False) -> params.Depends:
    """Mark as a route that belongs to no tenant, such as sign-up, billing or a health check.

    Args:
        refuse_tenants: refuse a request that names a tenant, with a 400. Else it is served as if it named none: what
            runs after this mark finds no tenant.
    """
    return params.Depends(_refuse_tenant if refuse_tenants else _hide_tenant)


def universal_route() -> params.Depends:
    """Mark as a route that works with a tenant and without one."""
    return params.Depends(_allow_both)


_MEANS: Mapping[Any, RouteKind] = MappingProxyType(
    {
        required_tenant: RouteKind.TENANT,
        _hide_tenant: RouteKind.CENTRAL,
        _refuse_tenant: RouteKind.CENTRAL,
        _allow_both: RouteKind.UNIVERSAL,
    }
)

# An older FastAPI copies the routes that it includes, and has no need for this.
own_routes: Callable[[Iterable[Any]], Iterator[Any]] = getattr(routing, "iter_route_contexts", iter)


def all_routes(routes: Iterable[Any], below: str = "") -> Iterator[tuple[str, Any]]:
    """Each route with its whole path, also of what is included or mounted."""
    for route in own_routes(routes):
        path = below + (getattr(route, "path", None) or "")
        yield path, route
        mounted = getattr(route, "routes", None)
        if isinstance(mounted, list):  # another framework's application may mean something else by the word
            yield from all_routes(mounted, path)


def kind_of(route: Any, path: str) -> RouteKind | None:
    """What its marks and dependencies make of a route; None where it has none that tell.

    Raises:
        ConfigurationError: they make two kinds of it.
    """
    asked = _dependencies(route)
    kinds = sorted({_MEANS[each] for each in asked if each in _MEANS})
    if len(kinds) > 1:
        methods = ", ".join(sorted(getattr(route, "methods", None) or ["WebSocket"]))
        raise ConfigurationError(
            f"{methods} {path} is a {kinds[0]} route and a {kinds[1]} route; mark it as one; CurrentTenant, a profile "
            "and a session make it a tenant route, and OptionalTenant fits all"
        )
    if kinds:
        return kinds[0]
    return RouteKind.UNIVERSAL if optional_tenant in asked else None


def refuses_tenants(route: Any) -> bool:
    return _refuse_tenant in _dependencies(route)


def _dependencies(route: Any) -> set[Any]:
    """All that a route depends on, directly or not."""
    found: set[Any] = set()
    pending = [route.dependant] if getattr(route, "dependant", None) is not None else []
    while pending:
        for each in pending.pop().dependencies:
            found.add(each.call)
            pending.append(each)
    return found
