"""Read the tenant from the host, where tenants have domains of their own."""

import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Protocol

from starlette.types import Scope

from ..errors import ConfigurationError
from ..tenant import Tenant
from .base import single_header

# RFC 9110, section 7.2: a host and an optional port, which may be empty.
_HOST = re.compile(r"([a-z0-9-]+(?:\.[a-z0-9-]+)+)\.?(?::[0-9]*)?")

TenantOfHost = Callable[[str], Awaitable[Tenant | None]]


class Domains(Protocol):
    """What a host is asked of."""

    async def tenant_of(self, host: str) -> Tenant | None: ...


class HasDomains(Protocol):
    """What a `HostResolver` needs of a `Tenancy`."""

    @property
    def domains(self) -> Domains: ...


@dataclass(frozen=True, slots=True)
class HostResolver:
    """The tenant is the one for which the request's host is verified; any other host names none.

    Letter case, a trailing dot and the port do not matter. `X-Forwarded-Host` is not read: the proxy passes `Host` on.
    """

    _find: TenantOfHost | None = field(default=None, repr=False)

    def bound_to(self, tenancy: HasDomains) -> "HostResolver":
        """This resolver with the domains that it asks; `Tenancy` binds those that it is given."""
        return HostResolver(tenancy.domains.tenant_of)

    def __call__(self, scope: Scope) -> Awaitable[Tenant | None] | None:
        if self._find is None:
            raise ConfigurationError(
                "this HostResolver knows no domains; give it to Tenancy(resolvers=[HostResolver()])"
            )
        host = _HOST.fullmatch((single_header(scope, b"host") or "").lower())
        return None if host is None else self._find(host[1])
