"""Believe in `X-Forwarded-Host` where it comes from a proxy of our own."""

from collections.abc import Sequence
from functools import lru_cache
from ipaddress import IPv4Network, IPv6Address, IPv6Network, ip_address
from typing import Literal

from starlette.types import Scope

from ..errors import InvalidIdentifierError
from .base import single_header

Proxy = IPv4Network | IPv6Network | Literal["unix"]
"""Where a proxy's connections come from; "unix" is a Unix socket."""


class TrustedProxies:
    """The proxies that say which host the client asked for."""

    def __init__(self, proxies: Sequence[Proxy]) -> None:
        self._networks = tuple(each for each in proxies if not isinstance(each, str))
        self._trusts_unix = "unix" in proxies
        self._trusts = lru_cache(1024)(self._is_within)  # parsing an address takes longer than all the rest

    def as_asked(self, scope: Scope) -> Scope:
        """The scope with the host that the client asked for, so that everything behind us reads that one.

        Raises:
            InvalidIdentifierError: a trusted proxy sends several.
        """
        client = scope.get("client")
        if not (self._trusts(client[0]) if client and client[0] else self._trusts_unix):
            return scope
        host = single_header(scope, b"x-forwarded-host")
        if host is None:
            return scope
        if "," in host:
            raise InvalidIdentifierError("'x-forwarded-host' lists several hosts; let the last proxy replace it")
        others = [header for header in scope["headers"] if header[0] != b"host"]
        return {**scope, "headers": [(b"host", host.encode("latin-1")), *others]}

    def _is_within(self, peer: str) -> bool:
        try:
            address = ip_address(peer)
        except ValueError:
            return False
        if isinstance(address, IPv6Address) and address.ipv4_mapped:  # a socket that listens on both
            address = address.ipv4_mapped
        return any(address in network for network in self._networks)
