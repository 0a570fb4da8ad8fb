"""What a tenant's own domain is, the rule for its host, and what a store of domains must do."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Protocol, runtime_checkable

import idna

from ..audit import AuditEntry
from ..errors import DomainTakenError, InvalidDomainError, TenantConflictError

MAX_HOST = 253  # characters: RFC 1035, section 2.3.4, without the final dot

# At least two labels, the last of which no address has: RFC 3696, section 2, and the WHATWG's "ends in a number".
_HOST = re.compile(r"(?:[a-z0-9-]{1,63}\.)+[a-z][a-z0-9-]{0,61}[a-z0-9]")
_PORT = re.compile(r":[0-9]*\Z")

# RFC 9110, section 7.2: a host and an optional port, which may be empty.
_HEADER = re.compile(rf"({_HOST.pattern})\.?(?::[0-9]*)?")

# Below the prefix of RFC 8615. The token is not part of it: what a request does not say, no server can echo.
CHALLENGE_PATH = "/.well-known/fastapi-tenancy-challenge"


class DomainStatus(StrEnum):
    """Where a domain stands; only a verified one names its tenant."""

    PENDING = "pending"
    VERIFIED = "verified"
    REVOKED = "revoked"


@dataclass(frozen=True, slots=True, kw_only=True)
class Domain:
    """One tenant's claim to one host.

    Attributes:
        host: as `check_host` gives it.
        tenant_id: whose claim it is.
        status: pending claims of several tenants may coexist; one of them can be verified.
        token: what the tenant puts into DNS, or at a URL, as proof; another one for each claim.
        is_primary: whether it is the one to link and to redirect to; at most one of a tenant is.
        created_at: UTC.
        verified_at: UTC; None while it is pending.
    """

    host: str
    tenant_id: str
    status: DomainStatus
    token: str
    created_at: datetime
    verified_at: datetime | None = None
    is_primary: bool = False

    @property
    def is_verified(self) -> bool:
        return self.status is DomainStatus.VERIFIED

    @property
    def record_name(self) -> str:
        """Where the TXT record that proves the claim to a `DNSChecker` has to be; its value is the token."""
        return record_name(self.host)

    @property
    def challenge_url(self) -> str:
        """What has to answer with the token, to prove the claim to an `HTTPChecker`."""
        return f"http://{self.host}{CHALLENGE_PATH}"


@runtime_checkable
class DomainStore(Protocol):
    """The tenants' domains. A host is verified for one tenant at most, and none outlives its tenant.

    `audit` holds entries only where the store is an `AuditStore`.
    """

    async def add_domain(self, domain: Domain, *, audit: Sequence[AuditEntry] = ()) -> None:
        """Record a new claim.

        Raises:
            TenantConflictError: the tenant has claimed the host already, or is gone.
        """

    async def get_domain(self, tenant_id: str, host: str) -> Domain | None: ...

    async def find_domain(self, host: str) -> Domain | None:
        """The verified domain of that host."""

    async def find_primary(self, tenant_id: str) -> Domain | None: ...

    async def list_domains(
        self, tenant_id: str, limit: int | None = None, after: str | None = None
    ) -> Sequence[Domain]:
        """In the order of their hosts; all, or at most `limit` beyond the host `after`."""

    async def change_domain(self, before: Domain, after: Domain, *, audit: Sequence[AuditEntry] = ()) -> None:
        """Write `after` over `before`; a domain that is not verified any more is no primary one either.

        Raises:
            DomainTakenError: it would be the second that is verified for its host.
            TenantConflictError: it was changed or removed since it was read.
        """

    async def make_primary(self, domain: Domain, *, audit: Sequence[AuditEntry] = ()) -> None:
        """Make a verified domain its tenant's primary one, in place of the one that was.

        Raises:
            TenantConflictError: it is not verified any more, or gone.
        """

    async def remove_domain(self, domain: Domain, *, audit: Sequence[AuditEntry] = ()) -> bool:
        """Forget the claim; False, and no entry, if it is not there."""


def check_host(text: str) -> str:
    """`text` as hosts are compared: in lower case and ASCII (IDNA 2008 after UTS 46), without port and final dot.

    Raises:
        InvalidDomainError: it is no domain of at least two labels: an address, a URL, a wildcard, a name like
            `localhost`, or longer than 253 characters.
    """
    if len(text) > 2 * MAX_HOST:  # before the work that it would make
        raise _malformed(text)
    try:
        host = idna.encode(_PORT.sub("", text), uts46=True, std3_rules=True).decode().removesuffix(".")
    except UnicodeError as error:
        raise _malformed(text) from error
    if len(host) > MAX_HOST or not _HOST.fullmatch(host):
        raise _malformed(text)
    return host


def host_in(header: str) -> str | None:
    """The host that a `Host` header says, as `check_host` would give it; None if that is no tenant's for sure."""
    found = _HEADER.fullmatch(header.lower())
    return None if found is None else found[1]


def record_name(host: str) -> str:
    return f"_fastapi-tenancy.{host}"


def host_taken(host: str) -> DomainTakenError:
    return DomainTakenError(f"{host!r} is verified for another tenant; revoke it there first")


def domain_changed(domain: Domain) -> TenantConflictError:
    return TenantConflictError(
        f"the domain {domain.host!r} was changed since it was read; list the tenant's domains",
        detail="The domain was changed by somebody else; read it again.",
    )


def _malformed(text: str) -> InvalidDomainError:
    return InvalidDomainError(f"{text[:80]!r} cannot be a tenant's domain; give a host like 'app.acme.com'")
