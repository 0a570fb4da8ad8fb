"""Find out over HTTP whether a domain is proven; the one module that needs httpx2."""

import asyncio
import logging
import ssl
from collections.abc import Iterable, Sequence
from hmac import compare_digest
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network

from ..errors import ConfigurationError, DomainCheckError
from ..store.domain import CHALLENGE_PATH
from .domain_check import Nameservers

try:
    from httpx2 import AsyncClient, ConnectError, HTTPError, Response
except ModuleNotFoundError:
    _INSTALLED = False
else:
    _INSTALLED = True

logger = logging.getLogger(__name__)

Address = IPv4Address | IPv6Address

_MOST_READ = 1024  # bytes of a body; a token has 43

# What Python calls global, or did in some release, and is not for us to reach; all but the last from
# <https://www.iana.org/assignments/iana-ipv4-special-registry> and its counterpart for IPv6.
_NOT_PUBLIC = tuple(
    ip_network(network)
    for network in (
        "192.0.0.0/24",
        "192.88.99.0/24",  # 6to4 relays
        "224.0.0.0/4",
        "2001::/23",  # with Teredo, which leads to any IPv4 address
        "2001:db8::/32",
        "2002::/16",  # 6to4, which does so too
        "3fff::/20",
        "168.63.129.16/32",  # <https://learn.microsoft.com/azure/virtual-network/what-is-ip-address-168-63-129-16>
    )
)
_GLOBAL_UNICAST = ip_network("2000::/3")  # RFC 4291, section 2.4; IPv4 that is mapped or translated lies outside


class HTTPChecker:
    """Looks at `http://<host>/.well-known/fastapi-tenancy-challenge` for the token, and nothing else but a line's end.

    A stranger chooses the host, so only public addresses are asked, those that were looked at and no others; no
    redirect and no proxy is followed, and little is read. An application that tenants' hosts lead to must not let a
    tenant choose what it answers at that path: it would prove hosts that are another's.

    Args:
        nameservers: addresses of the DNS servers to ask; the machine's own if empty.
        nameserver_port: where they listen.
        port: where the host has to answer.
        allow: networks that may be asked although they are not public, such as "10.1.0.0/16".
        timeout: seconds for the whole check.

    Raises:
        ConfigurationError: httpx2 is not installed, or `allow` holds no network.
    """

    def __init__(
        self,
        *nameservers: str,
        nameserver_port: int = 53,
        port: int = 80,
        allow: Iterable[str] = (),
        timeout: float = 5.0,
    ) -> None:
        if not _INSTALLED:
            raise ConfigurationError(
                "HTTPChecker needs httpx2, in the extra 'domains': pip install './fastapi-tenancy[domains]'"
            )
        try:
            self._allowed = tuple(ip_network(each) for each in allow)
        except ValueError as error:
            raise ConfigurationError(f"allow holds no network: {error}; write it like '10.1.0.0/16'") from error
        self._nameservers = Nameservers(nameservers, nameserver_port)
        self._port = port
        self._timeout = timeout
        self._no_tls = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # trusts nobody: loading a trust store takes 20 ms

    async def check(self, host: str, token: str) -> bool:
        """As `DomainChecker.check`.

        Raises:
            ConfigurationError: dnspython is not installed.
            DomainCheckError: DNS or the host gives no answer within `timeout`.
        """
        try:
            async with asyncio.timeout(self._timeout):
                addresses = [ip_address(each) for each in await self._nameservers.addresses(host)]
                if not addresses or not all(self._may_be_asked(each) for each in addresses):
                    return False
                # IPv4 first: where IPv6 leads nowhere, that may take all the time to show.
                body = await self._fetch(host, sorted(addresses, key=lambda each: each.version))
                return compare_digest(body, token.encode())
        except (TimeoutError, HTTPError) as error:
            raise DomainCheckError(f"{host!r} gives no answer; try again: {type(error).__name__}") from error

    def _may_be_asked(self, address: Address) -> bool:
        return is_public(address) or any(address in network for network in self._allowed)

    async def _fetch(self, host: str, addresses: Sequence[Address]) -> bytes:
        """What the host answers, or nothing if that is no success; the first address that can be reached decides."""
        headers = {"Host": _authority(host, self._port), "Accept-Encoding": "identity"}
        async with AsyncClient(trust_env=False, verify=self._no_tls, headers=headers, timeout=self._timeout) as client:
            for address in addresses:
                at = f"[{address}]" if address.version == 6 else f"{address}"
                try:
                    async with client.stream("GET", f"http://{_authority(at, self._port)}{CHALLENGE_PATH}") as answer:
                        return await _body(answer) if answer.status_code == 200 else b""
                except ConnectError:
                    logger.info("address of a domain unreachable", extra={"host": host, "address": str(address)})
        raise DomainCheckError(f"{host!r} cannot be reached on port {self._port}; try again")


def is_public(address: Address) -> bool:
    """Whether an address is one of the public internet's, and leads to no other."""
    if isinstance(address, IPv6Address) and address not in _GLOBAL_UNICAST:
        return False
    return address.is_global and not any(address in network for network in _NOT_PUBLIC)


def _authority(host: str, port: int) -> str:
    return host if port == 80 else f"{host}:{port}"


async def _body(answer: "Response") -> bytes:
    body = b""
    async for part in answer.aiter_raw():
        body += part
        if len(body) > _MOST_READ:
            return b""
    return body.removesuffix(b"\n").removesuffix(b"\r")
