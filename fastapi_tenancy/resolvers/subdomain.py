"""Read the tenant from the first label of the host."""

import re
from dataclasses import dataclass, field
from typing import Any

from starlette.types import Scope

from ..errors import ConfigurationError, InvalidIdentifierError
from .base import server_of, single_header

_DOMAIN = re.compile(r"\.?(?P<domain>[a-z0-9-]+(?:\.[a-z0-9-]+)*)\.?(?::\d+)?")


@dataclass(frozen=True, slots=True)
class SubdomainResolver:
    """The tenant is `acme` in `acme.<domain>`; the domain itself, and any other host, names none.

    Letter case, a trailing dot and a port do not matter, neither in the request nor in `domain`.

    Raises:
        ConfigurationError: `domain` is empty or no domain.
    """

    domain: str
    ignore: frozenset[str] = frozenset({"www"})
    _suffix: str = field(init=False, repr=False)

    def __post_init__(self) -> None:
        parsed = _DOMAIN.fullmatch(self.domain.lower())
        if parsed is None:
            raise ConfigurationError(f"{self.domain!r} is not a domain; give the part after the tenant, 'example.com'")
        object.__setattr__(self, "_suffix", f".{parsed['domain']}")
        object.__setattr__(self, "ignore", frozenset(self.ignore))

    def __call__(self, scope: Scope) -> str | None:
        host = single_header(scope, b"host")
        if host is None:
            return None
        if not host.endswith(self._suffix) or ":" in host:  # else it is spelt as nearly all are
            host = _normalized(host, self._suffix)
            if host is None:
                return None
        label = host[: -len(self._suffix)].lower()
        return None if label in self.ignore else label

    def server(self) -> dict[str, Any]:
        return server_of(f"//{{tenant}}.{self.domain.strip('.')}")


def _normalized(host: str, suffix: str) -> str | None:
    """The host in lower case, without port and final dot, if it ends in `suffix`."""
    name, _, port = host.lower().partition(":")
    name = name.removesuffix(".")
    if not name.endswith(suffix):
        return None
    if port and not (port.isascii() and port.isdigit()):
        raise InvalidIdentifierError("the Host header has a malformed port; send the host and an optional number")
    return name
