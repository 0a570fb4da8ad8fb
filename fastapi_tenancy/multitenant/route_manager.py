"""Which host is which tenant's: claims, their proof, and a look-up that every request can afford."""

import asyncio
import logging
import secrets
import time
from collections.abc import Callable, Coroutine, Iterable, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any, Protocol, TypeVar

from ..cache import ABSENT, BaseCache, InMemoryCache
from ..errors import DomainCheckError, DomainNotFoundError, DomainNotProvenError, InvalidDomainError
from ..settings import TenancySettings
from ..store import Domain, DomainStatus, DomainStore
from ..store.domain import check_host, host_taken
from ..tenant import Tenant
from .domain_check import DNSChecker, DomainChecker

logger = logging.getLogger(__name__)

T = TypeVar("T")


class FindsTenants(Protocol):
    """What domains need of the tenants' directory."""

    async def read(self, identifier: str) -> Tenant: ...

    async def find_by_id(self, tenant_id: str) -> Tenant | None: ...

    async def ask(self, question: Coroutine[Any, Any, T]) -> T: ...


class _Hosts(BaseCache):
    """What a worker knows by host: tenants' ids, and hosts that are nobody's (kept as None)."""

    def __init__(self, settings: TenancySettings, clock: Callable[[], float]) -> None:
        self.known = InMemoryCache(settings.cache_size, clock=clock)
        self.unknown = InMemoryCache(settings.unknown_cache_size, clock=clock)
        self._ttl = settings.cache_ttl
        self._unknown_ttl = settings.unknown_cache_ttl

    async def get(self, key: str, default: Any = None) -> Any:
        tenant_id = await self.known.get(key)
        return await self.unknown.get(key, default) if tenant_id is None else tenant_id

    async def set(self, keys: str | Iterable[str], value: str | None, ttl: float | None = None) -> None:
        if value is None:
            await self.unknown.set(keys, None, ttl or self._unknown_ttl)
        else:
            await self.known.set(keys, value, ttl or self._ttl)

    async def clear(self, key: str) -> None:
        await self.known.clear(key)
        await self.unknown.clear(key)

    async def flush(self) -> None:
        await self.known.flush()
        await self.unknown.flush()


class MultitenantRouteManager:
    """The tenants' own domains; tenants are named by their identifiers, hosts as people write them.

    A tenant claims a host with `add`, puts the token into DNS, and calls `verify`; from then on the host names the
    tenant. In other processes a change is seen within `cache_ttl`, a new domain within `unknown_cache_ttl`.

    Args:
        store: where domains are kept.
        tenants: the tenants' directory.
        settings: of the deployment.
        now: the time of day in UTC.
        clock: seconds that only go forward, for the cache.
        checker: looks for the proof; None asks DNS.
        check_timeout: seconds that it may take.
    """

    def __init__(
        self,
        store: DomainStore,
        tenants: FindsTenants,
        settings: TenancySettings,
        now: Callable[[], datetime],
        clock: Callable[[], float] = time.monotonic,
        checker: DomainChecker | None = None,
        check_timeout: float = 5.0,
    ) -> None:
        self._store = store
        self._tenants = tenants
        self._remembered = _Hosts(settings, clock)
        self._now = now
        self._checker = DNSChecker() if checker is None else checker
        self._check_timeout = check_timeout
        self._loads = 0

    async def add(self, tenant: str, host: str) -> Domain:
        """Claim a host; the answer says which TXT record proves it. A claim that stands already is returned as it is.

        Raises:
            InvalidDomainError: `host` cannot be a domain.
            DomainTakenError: it is verified for another tenant.
            TenantNotFoundError: there is no such tenant.
        """
        owner, host = await self._tenants.read(tenant), check_host(host)
        holder = await self._tenants.ask(self._store.find_domain(host))
        if holder is not None and holder.tenant_id != owner.id:
            raise host_taken(host)
        earlier = await self._tenants.ask(self._store.get_domain(owner.id, host))
        if earlier is not None and earlier.status is not DomainStatus.REVOKED:
            return earlier
        claim = Domain(
            host=host,
            tenant_id=owner.id,
            status=DomainStatus.PENDING,
            token=secrets.token_urlsafe(32),
            created_at=self._now(),
        )
        if earlier is None:
            await self._tenants.ask(self._store.add_domain(claim))
        else:
            await self._change(earlier, claim)
        return claim

    async def verify(self, tenant: str, host: str) -> Domain:
        """Look for the proof and, if it is there, let the host name the tenant. After a failure the claim still stands.

        Raises:
            DomainNotFoundError: the tenant has no such claim, or it is revoked.
            DomainNotProvenError: the record is not there, or says something else.
            DomainCheckError: nobody could tell within the time-out.
            DomainTakenError: it is verified for another tenant.
            ConfigurationError: what the check needs is not installed.
        """
        claim = await self._read(tenant, host)
        if claim.is_verified:
            return claim
        if claim.status is DomainStatus.REVOKED:
            raise DomainNotFoundError(f"the domain {claim.host!r} is revoked; add it again, which makes a new token")
        if not await self._is_proven(claim):
            raise DomainNotProvenError(
                f"{claim.record_name} has no TXT record {claim.token!r}; set it, wait until DNS shows it, and try again"
            )
        verified = replace(claim, status=DomainStatus.VERIFIED, verified_at=self._now())
        await self._change(claim, verified)
        return verified

    async def revoke(self, tenant: str, host: str) -> Domain:
        """Let the host name nobody from now on, and keep the record; `add` claims it anew, with another token."""
        domain = await self._read(tenant, host)
        revoked = replace(domain, status=DomainStatus.REVOKED, is_primary=False)
        await self._change(domain, revoked)
        return revoked

    async def remove(self, tenant: str, host: str) -> None:
        """Let the host name nobody from now on, and forget it."""
        domain = await self._read(tenant, host)
        try:
            await self._tenants.ask(self._store.remove_domain(domain))
        finally:
            await self._remembered.clear(domain.host)
        logger.info("domain removed", extra={"tenant": domain.tenant_id, "host": domain.host})

    async def set_primary(self, tenant: str, host: str) -> Domain:
        """Make a verified domain the one that the application should link to, in place of the one that was.

        Raises:
            DomainNotFoundError: the tenant has no such domain, or it is not verified.
        """
        domain = await self._read(tenant, host)
        if not domain.is_verified:
            raise DomainNotFoundError(f"the domain {domain.host!r} is {domain.status}; verify it first")
        await self._tenants.ask(self._store.make_primary(domain))
        return replace(domain, is_primary=True)

    async def find(self, host: str) -> str | None:
        """The id of the tenant for which the host is verified, from memory or loaded once; None if there is none."""
        found = await self._remembered.get(host, ABSENT)
        return await self._load(host) if found is ABSENT else found

    async def tenant_of(self, host: str) -> Tenant | None:
        """As `find`, the tenant itself as it is now, in any status; what a `HostResolver` answers."""
        tenant_id = await self.find(host)
        if tenant_id is None:
            return None
        tenant = await self._tenants.find_by_id(tenant_id)
        if tenant is None:
            await self._remembered.clear(host)  # it was deleted, and its domains with it
        return tenant

    async def forget_all(self) -> None:
        await self._remembered.flush()

    def stats(self) -> dict[str, int]:
        return {
            "known": self._remembered.known.size(),
            "unknown": self._remembered.unknown.size(),
            "loads": self._loads,
        }

    async def list(self, tenant: str) -> Sequence[Domain]:
        """All domains of a tenant, in the order of their hosts."""
        owner = await self._tenants.read(tenant)
        return await self._tenants.ask(self._store.list_domains(owner.id))

    async def _load(self, host: str) -> str | None:
        try:
            host = check_host(host)
        except InvalidDomainError:
            return None  # not worth remembering: it costs no query
        async with self._remembered.acquire(host) as lookup:
            if not lookup.done:
                self._loads += 1
                domain = await self._tenants.ask(self._store.find_domain(host))
                await lookup.set_result(None if domain is None or domain.host != host else domain.tenant_id)
        tenant_id: str | None = lookup.result
        return tenant_id

    async def _read(self, tenant: str, host: str) -> Domain:
        owner = await self._tenants.read(tenant)
        domain = await self._tenants.ask(self._store.get_domain(owner.id, check_host(host)))
        if domain is None:
            raise DomainNotFoundError(f"{tenant!r} has no domain {host!r}; add it first")
        return domain

    async def _change(self, before: Domain, after: Domain) -> None:
        try:
            await self._tenants.ask(self._store.change_domain(before, after))
        finally:
            # After the write, not before: a load that read the old row in between is then overtaken, and not kept.
            await self._remembered.clear(after.host)
        logger.info("domain status changed", extra={"tenant": after.tenant_id, "host": after.host, "to": after.status})

    async def _is_proven(self, claim: Domain) -> bool:
        try:
            async with asyncio.timeout(self._check_timeout):
                return await self._checker.check(claim.host, claim.token)
        except (TimeoutError, OSError) as error:
            raise DomainCheckError(f"whether {claim.host!r} is proven could not be found out; try again") from error
