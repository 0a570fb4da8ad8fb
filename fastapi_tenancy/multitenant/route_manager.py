"""Which host is which tenant's: claims, their proof, and a look-up that every request can afford."""

import asyncio
import logging
import secrets
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import datetime

from ..acts import Act, Acts
from ..bus import Change
from ..cache import ABSENT, InMemoryCache
from ..errors import (
    DomainCheckError,
    DomainNotFoundError,
    DomainNotProvenError,
    InvalidDomainError,
    StoreUnavailableError,
)
from ..events import EventKind
from ..settings import TenancySettings
from ..store import Domain, DomainStatus, DomainStore
from ..store.calls import one_load
from ..store.domain import check_host, host_in, host_taken
from ..tenant import Tenant
from .domain_check import DNSChecker, DomainChecker
from .finds_tenants import FindsTenants
from .host_memory import Hosts

logger = logging.getLogger(__name__)

# Seconds. Workers that remember different primary hosts would send a browser to and fro for no longer than this.
_REDIRECT_TTL = 1.0


class MultitenantRouteManager:
    """The tenants' own domains; tenants are named by their identifiers, hosts as people write them.

    A tenant claims a host with `add`, puts the token where the checker looks for it, and calls `verify`; from then on
    the host names the tenant. Other processes see a change as soon as the bus tells them; else within `cache_ttl`, a
    new domain within `unknown_cache_ttl`, and another primary host, for those whom it redirects, within a second.

    Args:
        store: where domains are kept.
        tenants: the tenants' directory.
        settings: of the deployment.
        now: the time of day in UTC.
        clock: seconds that only go forward, for the cache.
        checker: looks for the proof; None asks DNS.
        check_timeout: seconds that it may take.
        acts: for the audit trail and events; None for neither.

    Attributes:
        on_change: is told what other processes have to forget; None for nobody.
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
        acts: Acts | None = None,
    ) -> None:
        self._store = store
        self._tenants = tenants
        self._hosts = Hosts(settings, clock)
        self._entry = self._hosts.entries.get
        self._remembered_tenant = tenants.remembered_by_id
        self._primaries = InMemoryCache(settings.cache_size, clock=clock)
        self._redirects = InMemoryCache(settings.cache_size, clock=clock)
        self._primary_ttl = settings.cache_ttl
        self._clock = clock
        self._now = now
        self._checker = DNSChecker() if checker is None else checker
        self._check_timeout = check_timeout
        self._acts = acts or Acts(now=now)
        self.on_change: Callable[[Change], None] | None = None
        self._loads = 0

    async def add(self, tenant: str, host: str) -> Domain:
        """Claim a host; the answer says what proves it. A claim that stands already is returned as it is.

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
        if earlier is not None:
            await self._change(EventKind.DOMAIN_ADDED, owner, earlier, claim)
            return claim
        act = await self._act(EventKind.DOMAIN_ADDED, owner, claim)
        await self._tenants.ask(self._store.add_domain(claim, audit=act.entries))
        await act.done()
        return claim

    async def verify(self, tenant: str, host: str) -> Domain:
        """Look for the proof and, if it is there, let the host name the tenant. After a failure the claim still stands.

        Raises:
            DomainNotFoundError: the tenant has no such claim, or it is revoked.
            DomainNotProvenError: the token is not there, or something else is.
            DomainCheckError: nobody could tell within the time-out.
            DomainTakenError: it is verified for another tenant.
            ConfigurationError: what the check needs is not installed.
        """
        owner, claim = await self._read(tenant, host)
        if claim.is_verified:
            # Another process may have verified it, or we did and never learnt of it: what is remembered may be older.
            await self._forget(claim)
            return claim
        if claim.status is DomainStatus.REVOKED:
            raise DomainNotFoundError(f"the domain {claim.host!r} is revoked; add it again, which makes a new token")
        if not await self._is_proven(claim):
            raise DomainNotProvenError(
                f"there is no proof of {claim.host!r}; make {claim.token!r} the TXT record of {claim.record_name}, or "
                f"the answer of {claim.challenge_url}, whichever this application looks at, and try again"
            )
        verified = replace(claim, status=DomainStatus.VERIFIED, verified_at=self._now())
        await self._change(EventKind.DOMAIN_VERIFIED, owner, claim, verified)
        return verified

    async def revoke(self, tenant: str, host: str) -> Domain:
        """Let the host name nobody from now on, and keep the record; `add` claims it anew, with another token."""
        owner, domain = await self._read(tenant, host)
        revoked = replace(domain, status=DomainStatus.REVOKED, is_primary=False)
        await self._change(EventKind.DOMAIN_REVOKED, owner, domain, revoked)
        return revoked

    async def remove(self, tenant: str, host: str) -> None:
        """Let the host name nobody from now on, and forget it."""
        owner, domain = await self._read(tenant, host)
        act = await self._act(EventKind.DOMAIN_REMOVED, owner, domain)
        try:
            removed = await self._tenants.ask(self._store.remove_domain(domain, audit=act.entries))
        finally:
            await self._forget(domain)
        logger.info("domain removed", extra={"tenant": domain.tenant_id, "host": domain.host})
        if removed:  # else somebody else was faster
            await act.done()

    async def set_primary(self, tenant: str, host: str) -> Domain:
        """Make a verified domain the one to link and to redirect to, in place of the one that was.

        Raises:
            DomainNotFoundError: the tenant has no such domain, or it is not verified.
        """
        owner, domain = await self._read(tenant, host)
        if not domain.is_verified:
            raise DomainNotFoundError(f"the domain {domain.host!r} is {domain.status}; verify it first")
        act = await self._act(EventKind.DOMAIN_MADE_PRIMARY, owner, domain)
        try:
            await self._tenants.ask(self._store.make_primary(domain, audit=act.entries))
        finally:
            await self._forget(domain)
        logger.info("domain made primary", extra={"tenant": domain.tenant_id, "host": domain.host})
        await act.done()
        return replace(domain, is_primary=True)

    async def find(self, host: str) -> str | None:
        """The id of the tenant for which the host is verified, from memory or loaded once; None if there is none."""
        found = await self._hosts.get(host, ABSENT)
        return await self._load(host) if found is ABSENT else found

    async def tenant_of(self, host: str) -> Tenant | None:
        """As `find`, the tenant itself as it is now, in any status."""
        tenant_id = await self.find(host)
        if tenant_id is None:
            return None
        tenant = await self._tenants.find_by_id(tenant_id)
        if tenant is None:
            await self._hosts.clear(host)  # it was deleted, and its domains with it
        return tenant

    def look_up(self, header: str) -> Tenant | Awaitable[Tenant | None] | None:
        """As `tenant_of`, for what a `Host` header says, and at once where it is remembered."""
        entry = self._entry(header)  # nearly all clients write a host as it is kept
        if entry is not None and self._clock() < entry[1]:
            if entry[0] is None:
                return None
            tenant = self._remembered_tenant(entry[0])
            if tenant is not None:
                return tenant
        host = host_in(header)
        if host is None:
            return None
        return self.tenant_of(host) if host == header else self.look_up(host)

    def remembers(self, host: str) -> bool:
        """Whether the host is known to be a tenant's, without a question to the store."""
        entry = self._entry(host)
        return entry is not None and entry[0] is not None and self._clock() < entry[1]

    async def primary_elsewhere(self, tenant_id: str, header: str) -> str | None:
        """The tenant's primary host, if it has one and the `Host` header says another."""
        host = host_in(header)
        primary = await self._primary(tenant_id, self._primaries, self._primary_ttl)
        if primary not in (None, host):
            with suppress(StoreUnavailableError):  # then what is remembered has to do
                primary = await self._primary(tenant_id, self._redirects, _REDIRECT_TTL)
        return None if primary == host else primary

    async def forget(self, tenant_id: str, host: str) -> None:
        """Read the host, and the tenant's primary one, from the store the next time."""
        await self._hosts.clear(host)
        await self._primaries.clear(tenant_id)
        await self._redirects.clear(tenant_id)

    async def forget_all(self) -> None:
        for cache in (self._hosts, self._primaries, self._redirects):
            await cache.flush()

    def stats(self) -> dict[str, int]:
        sizes = {"known": self._hosts.size(known=True), "unknown": self._hosts.size(known=False)}
        return {**sizes, "loads": self._loads}

    async def list(self, tenant: str, limit: int | None = None, after: str | None = None) -> Sequence[Domain]:
        """The domains of a tenant in the order of their hosts; all, or `limit` of them beyond the host `after`.

        Raises:
            TenantNotFoundError: there is no such tenant.
            InvalidDomainError: `after` cannot be a domain.
        """
        owner = await self._tenants.read(tenant)
        beyond = None if after is None else check_host(after)
        return await self._tenants.ask(self._store.list_domains(owner.id, limit, beyond))

    async def _load(self, host: str) -> str | None:
        try:
            host = check_host(host)
        except InvalidDomainError:
            return None  # not worth remembering: it costs no query

        async def load() -> tuple[str | None, None]:
            self._loads += 1
            domain = await self._tenants.ask(self._store.find_domain(host))
            return None if domain is None or domain.host != host else domain.tenant_id, None

        tenant_id: str | None = await one_load(self._hosts, host, load)
        return tenant_id

    async def _primary(self, tenant_id: str, cache: InMemoryCache, ttl: float) -> str | None:
        found = await cache.get(tenant_id, ABSENT)

        async def load() -> tuple[str | None, float]:
            self._loads += 1
            domain = await self._tenants.ask(self._store.find_primary(tenant_id))
            return None if domain is None else domain.host, ttl

        primary: str | None = await one_load(cache, tenant_id, load) if found is ABSENT else found
        return primary

    async def _read(self, tenant: str, host: str) -> tuple[Tenant, Domain]:
        owner = await self._tenants.read(tenant)
        domain = await self._tenants.ask(self._store.get_domain(owner.id, check_host(host)))
        if domain is None:
            raise DomainNotFoundError(f"{tenant!r} has no domain {host!r}; add it first")
        return owner, domain

    async def _act(self, kind: EventKind, owner: Tenant, domain: Domain) -> Act:
        return await self._acts.act({kind: {"host": domain.host}}, owner).ask()

    async def _change(self, kind: EventKind, owner: Tenant, before: Domain, after: Domain) -> None:
        act = await self._act(kind, owner, after)
        try:
            await self._tenants.ask(self._store.change_domain(before, after, audit=act.entries))
        finally:
            await self._forget(after)
        logger.info("domain status changed", extra={"tenant": after.tenant_id, "host": after.host, "to": after.status})
        await act.done()

    async def _forget(self, domain: Domain) -> None:
        # After the write, not before: a load that read the old row in between is then overtaken, and not kept.
        await self.forget(domain.tenant_id, domain.host)
        if self.on_change is not None:
            self.on_change(Change.of_domain(domain.tenant_id, domain.host))

    async def _is_proven(self, claim: Domain) -> bool:
        try:
            async with asyncio.timeout(self._check_timeout):
                return await self._checker.check(claim.host, claim.token)
        except (TimeoutError, OSError) as error:
            raise DomainCheckError(f"whether {claim.host!r} is proven could not be found out; try again") from error
