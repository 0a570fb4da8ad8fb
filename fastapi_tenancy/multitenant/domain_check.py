"""Find out from DNS whether a domain is proven; the one module that needs dnspython."""

from collections.abc import Sequence
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


class Nameservers:
    """The servers that are asked, the machine's own if none is given; what nobody has is empty.

    Raises:
        ConfigurationError: on a question, if dnspython is not installed.
        DomainCheckError: on a question, if no server answers, or only with failures.
    """

    def __init__(self, addresses: Sequence[str], port: int) -> None:
        self._addresses = list(addresses)
        self._port = port

    async def texts(self, name: str) -> set[bytes]:
        """The TXT records of a name."""
        resolver = self._resolver()
        try:
            answer = await resolver.resolve(f"{name}.", "TXT")
        except (NXDOMAIN, NoAnswer, NameTooLong):
            return set()
        except DNSException as error:
            raise _no_answer(name, error) from error
        # One record may come in several strings, RFC 1035, section 3.3.14.
        return {b"".join(record.strings) for record in answer}

    async def addresses(self, host: str) -> list[str]:
        """The IPv4 and IPv6 addresses of a host; the machine's own list of hosts is not read."""
        resolver = self._resolver()
        try:
            return list((await resolver.resolve_name(f"{host}.")).addresses())
        except (NXDOMAIN, NoAnswer, NameTooLong):
            return []
        except DNSException as error:
            raise _no_answer(host, error) from error

    def _resolver(self) -> "Resolver":
        if not _INSTALLED:
            raise ConfigurationError(
                "domains are verified with dnspython, in the extra 'domains': pip install './fastapi-tenancy[domains]'"
            )
        resolver = Resolver(configure=not self._addresses)
        if self._addresses:
            resolver.nameservers = self._addresses
            resolver.port = self._port
        return resolver


class DNSChecker:
    """Looks for a TXT record of `_fastapi-tenancy.<host>` that is the token, and nothing else.

    Args:
        nameservers: addresses of the servers to ask; the machine's own if empty.
        port: where they listen.
    """

    def __init__(self, *nameservers: str, port: int = 53) -> None:
        self._nameservers = Nameservers(nameservers, port)

    async def check(self, host: str, token: str) -> bool:
        """As `DomainChecker.check`.

        Raises:
            ConfigurationError: dnspython is not installed.
            DomainCheckError: no server answers, or only with failures.
        """
        return token.encode() in await self._nameservers.texts(record_name(host))


class AnyChecker:
    """A tenant may prove its host to any of several checkers; they are asked in turn until one is content.

    Args:
        checkers: such as `DNSChecker(), HTTPChecker()`.
    """

    def __init__(self, *checkers: DomainChecker) -> None:
        self._checkers = checkers

    async def check(self, host: str, token: str) -> bool:
        """As `DomainChecker.check`.

        Raises:
            DomainCheckError: one of them could not tell, and no other was content; or what else it said, an OSError.
        """
        failure: Exception | None = None
        for checker in self._checkers:
            try:
                if await checker.check(host, token):
                    return True
            except (DomainCheckError, OSError) as error:  # a TimeoutError is an OSError
                failure = error
        if failure is not None:
            raise failure
        return False


def _no_answer(name: str, error: Exception) -> DomainCheckError:
    return DomainCheckError(f"DNS gives no answer about {name!r}; try again: {type(error).__name__}")
