"""Read the tenant from the host, where tenants have domains of their own."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import NoReturn, Protocol
from urllib.parse import quote

from starlette.exceptions import HTTPException
from starlette.types import Scope

from ..errors import ConfigurationError
from ..tenant import Tenant
from .base import is_under, single_header

Found = Tenant | Awaitable[Tenant | None] | None

_ACME = "/.well-known/acme-challenge"  # RFC 8555, section 8.3: each host answers for itself
_PATH = "%/:@!$&'()*+,;="  # what a path may hold beside letters, digits and "-._~": RFC 3986, section 3.3
_QUERY = f"{_PATH}?"  # section 3.4


class Domains(Protocol):
    """What a host is asked of."""

    def look_up(self, header: str) -> Found: ...

    async def primary_elsewhere(self, tenant_id: str, header: str) -> str | None: ...


class HasDomains(Protocol):
    """What a `HostResolver` needs of a `Tenancy`."""

    @property
    def domains(self) -> Domains: ...


def _unbound(*_: str) -> NoReturn:
    raise ConfigurationError("this HostResolver knows no domains; give it to Tenancy(resolvers=[HostResolver()])")


@dataclass(frozen=True, slots=True)
class HostResolver:
    """The tenant is the one for which the request's host is verified; any other host names none.

    Letter case, a trailing dot and the port do not matter. Only `Host` is read: a proxy passes it on, or is one of
    `TenancySettings.trusted_proxies`, from which `X-Forwarded-Host` takes its place.

    Args:
        redirect: answer a request by another verified host of an active tenant with a 307 to its primary host, if it
            has one. Not a 308: browsers keep that, and another choice would send them to and fro. WebSockets, `OPTIONS`
            (a CORS preflight may not be redirected) and the challenges for certificates are served where they came.
    """

    _look_up: Callable[[str], Found] = field(default=_unbound, repr=False)
    _primary_elsewhere: Callable[[str, str], Awaitable[str | None]] = field(default=_unbound, repr=False)
    redirect: bool = field(default=False, kw_only=True)

    def bound_to(self, tenancy: HasDomains) -> "HostResolver":
        """This resolver with the domains that it asks; `Tenancy` binds those that it is given."""
        domains = tenancy.domains
        return HostResolver(domains.look_up, domains.primary_elsewhere, redirect=self.redirect)

    def __call__(self, scope: Scope) -> Found:
        host = single_header(scope, b"host")
        if host is None:
            return None
        found = self._look_up(host)
        if self.redirect and found is not None and _can_be_redirected(scope):
            return self._redirected(found, host, scope)
        return found

    async def _redirected(self, found: Tenant | Awaitable[Tenant | None], host: str, scope: Scope) -> Tenant | None:
        tenant = found if isinstance(found, Tenant) else await found
        if tenant is not None and tenant.is_active:
            primary = await self._primary_elsewhere(tenant.id, host)
            if primary is not None:
                _, colon, port = host.partition(":")
                raise HTTPException(307, headers={"Location": _url_at(f"{primary}{colon}{port}", scope)})
        return tenant


def _can_be_redirected(scope: Scope) -> bool:
    return scope["type"] == "http" and scope["method"] != "OPTIONS" and not is_under(scope["path"], _ACME)


def _url_at(authority: str, scope: Scope) -> str:
    """The URL that was asked for, at another host."""
    raw: bytes | None = scope.get("raw_path")
    path = quote(raw, _PATH) if raw else quote(scope["path"])
    root = scope.get("root_path", "")
    if not is_under(scope["path"], root):  # the proxy has stripped it
        path = quote(root) + path
    query = quote(scope.get("query_string", b""), _QUERY)
    # The slash is ours: without one, "@evil.com" would turn the host into a user's name.
    return f"{scope['scheme']}://{authority}/{path.removeprefix('/')}{query and '?'}{query}"
