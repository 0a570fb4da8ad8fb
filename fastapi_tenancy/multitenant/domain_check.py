"""Find out from DNS whether a domain is proven; the one module that needs dnspython."""

from typing import Protocol

from ..errors import ConfigurationError, DomainCheckError
from ..store.domain import record_name

try:
    from dns.asyncresolver import Resolver
    from dns.exception import DNSException
    from dns.name import NameTooLong
    from dns.resolver import NXDOMAIN, NoAnswer
except ModuleNotFoundError:
    _INSTALLED = False
else:
    _INSTALLED = True


class DomainChecker(Protocol):
    """Looks for a tenant's proof that a host is its own."""

    async def check(self, host: str, token: str) -> bool:
        """Whether the token is where only the owner of `host` can have put it.

        Raises:
            DomainCheckError: it cannot be found out right now.
        """


class DNSChecker:
    """Looks for a TXT record of `_fastapi-tenancy.<host>` that is the token, and nothing else.

    Args:
        nameservers: addresses of the servers to ask; the machine's own if empty.
        port: where they listen.
    """

    def __init__(self, *nameservers: str, port: int = 53) -> None:
        self._nameservers = nameservers
        self._port = port

    async def check(self, host: str, token: str) -> bool:
        """As `DomainChecker.check`.

        Raises:
            ConfigurationError: dnspython is not installed.
            DomainCheckError: no server answers, or only with failures.
        """
        if not _INSTALLED:
            raise ConfigurationError("domains are verified through DNS, which needs dnspython: pip install dnspython")
        try:
            answer = await self._resolver().resolve(f"{record_name(host)}.", "TXT")
        except (NXDOMAIN, NoAnswer, NameTooLong):
            return False
        except DNSException as error:
            raise DomainCheckError(f"DNS gives no answer about {host!r}; try again: {type(error).__name__}") from error
        # One record may come in several strings, RFC 1035, section 3.3.14.
        return token.encode() in {b"".join(record.strings) for record in answer}

    def _resolver(self) -> "Resolver":
        resolver = Resolver(configure=not self._nameservers)
        if self._nameservers:
            resolver.nameservers = list(self._nameservers)
            resolver.port = self._port
        return resolver
