"""A tenant store in a dict, for tests."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime

from ..audit import AuditEntry
from ..tenant import Tenant, TenantStatus
from .base import (
    RetainedNamespace,
    folded,
    identifier_taken,
    namespace_taken,
    searched,
    tenant_changed,
    tenant_gone,
)
from .domain import Domain, domain_changed, host_taken
from .in_memory_fleet import InMemoryFleet
from .in_memory_idempotency import InMemoryIdempotency
from .in_memory_moves import InMemoryMoves
from .in_memory_pending import InMemoryPending
from .token import LAST_USE_EVERY, TokenRecord, no_tenant_for_token


class InMemoryTenantStore(InMemoryIdempotency, InMemoryPending, InMemoryFleet, InMemoryMoves):
    """A `TenantStore`, `DomainStore`, `TokenStore` and `AuditStore` that forgets everything with its process."""

    def __init__(self) -> None:
        super().__init__()
        self._tenants: dict[str, Tenant] = {}
        self._retained: dict[str, RetainedNamespace] = {}
        self._domains: dict[tuple[str, str], Domain] = {}
        self._tokens: dict[str, TokenRecord] = {}
        self._audit: list[AuditEntry] = []
        self._entries_written = 0

    async def open(self) -> None:
        """Nothing to connect to."""

    async def close(self) -> None:
        """Nothing to disconnect from."""

    async def add(self, tenant: Tenant) -> None:
        self._check_unique(tenant)
        self._tenants[tenant.id] = tenant

    async def get(self, tenant_id: str) -> Tenant | None:
        return self._tenants.get(tenant_id)

    async def get_by_identifier(self, identifier: str) -> Tenant | None:
        return next((tenant for tenant in self._tenants.values() if tenant.identifier == identifier), None)

    async def page(
        self, limit: int, after: str | None = None, status: TenantStatus | None = None, q: str | None = None
    ) -> Sequence[Tenant]:
        found = sorted(self._tenants.values(), key=lambda tenant: tenant.identifier)
        return [
            tenant
            for tenant in found
            if (after is None or tenant.identifier > after)
            and (status is None or tenant.status is status)
            and (q is None or folded(q) in searched(tenant))
        ][:limit]

    async def save(self, tenant: Tenant, *, audit: Sequence[AuditEntry] = ()) -> Tenant:
        current = self._tenants.get(tenant.id)
        if current is None:
            raise tenant_gone(tenant)
        if current.version != tenant.version:
            raise tenant_changed(tenant)
        self._check_unique(tenant)
        saved = replace(tenant, version=tenant.version + 1, work=current.work, work_until=current.work_until)
        self._tenants[tenant.id] = saved
        self._write_entries(audit)
        return saved

    async def remove(self, tenant: Tenant, *, keep_namespace: bool, audit: Sequence[AuditEntry] = ()) -> bool:
        if self._tenants.pop(tenant.id, None) is None:
            return False
        self._domains = {key: domain for key, domain in self._domains.items() if domain.tenant_id != tenant.id}
        self._tokens = {key: token for key, token in self._tokens.items() if token.tenant_id != tenant.id}
        if keep_namespace:
            self._retained[tenant.id] = RetainedNamespace(
                tenant.id, tenant.identifier, tenant.namespace, tenant.database_url, tenant.manager_type
            )
        self._write_entries(audit)
        return True

    async def retained(self) -> Sequence[RetainedNamespace]:
        return list(self._retained.values())

    async def add_domain(self, domain: Domain, *, audit: Sequence[AuditEntry] = ()) -> None:
        if domain.tenant_id not in self._tenants or _key(domain) in self._domains:
            raise domain_changed(domain)
        self._domains[_key(domain)] = domain
        self._write_entries(audit)

    async def get_domain(self, tenant_id: str, host: str) -> Domain | None:
        return self._domains.get((tenant_id, host))

    async def find_domain(self, host: str) -> Domain | None:
        return self._verified(host)

    async def find_primary(self, tenant_id: str) -> Domain | None:
        return next((each for each in await self.list_domains(tenant_id) if each.is_primary), None)

    async def list_domains(
        self, tenant_id: str, limit: int | None = None, after: str | None = None
    ) -> Sequence[Domain]:
        found = sorted(
            (domain for domain in self._domains.values() if domain.tenant_id == tenant_id), key=lambda each: each.host
        )
        return [each for each in found if after is None or each.host > after][:limit]

    async def change_domain(self, before: Domain, after: Domain, *, audit: Sequence[AuditEntry] = ()) -> None:
        self._check_unchanged(before)
        holder = self._verified(after.host)
        if after.is_verified and holder is not None and holder.tenant_id != after.tenant_id:
            raise host_taken(after.host)
        self._domains[_key(before)] = replace(after, is_primary=after.is_primary and after.is_verified)
        self._write_entries(audit)

    async def make_primary(self, domain: Domain, *, audit: Sequence[AuditEntry] = ()) -> None:
        self._check_unchanged(domain)
        if not domain.is_verified:
            raise domain_changed(domain)
        for each in await self.list_domains(domain.tenant_id):
            self._domains[_key(each)] = replace(each, is_primary=each.host == domain.host)
        self._write_entries(audit)

    async def remove_domain(self, domain: Domain, *, audit: Sequence[AuditEntry] = ()) -> bool:
        if self._domains.pop(_key(domain), None) is None:
            return False
        self._write_entries(audit)
        return True

    async def add_token(self, token: TokenRecord, *, audit: Sequence[AuditEntry] = ()) -> None:
        if token.tenant_id not in self._tenants:
            raise no_tenant_for_token(token)
        for old in await self.list_tokens(token.tenant_id):
            if old.expires_at is not None and old.expires_at <= token.created_at:
                del self._tokens[old.token_id]
        self._tokens[token.token_id] = token
        self._write_entries(audit)

    async def get_token(self, token_id: str) -> TokenRecord | None:
        return self._tokens.get(token_id)

    async def list_tokens(
        self, tenant_id: str, limit: int | None = None, after: str | None = None
    ) -> Sequence[TokenRecord]:
        found = sorted(
            (token for token in self._tokens.values() if token.tenant_id == tenant_id), key=lambda each: each.token_id
        )
        return [each for each in found if after is None or each.token_id > after][:limit]

    async def remove_token(self, tenant_id: str, token_id: str, *, audit: Sequence[AuditEntry] = ()) -> bool:
        token = self._tokens.get(token_id)
        if token is None or token.tenant_id != tenant_id:
            return False
        del self._tokens[token_id]
        self._write_entries(audit)
        return True

    async def exchange_token(self, token_id: str, successor: TokenRecord, *, audit: Sequence[AuditEntry] = ()) -> bool:
        if not await self.remove_token(successor.tenant_id, token_id, audit=audit):
            return False
        self._tokens[successor.token_id] = successor
        return True

    async def note_token_uses(self, uses: Mapping[str, datetime]) -> None:
        for token_id, moment in uses.items():
            token = self._tokens.get(token_id)
            if token is None or (token.last_used_at is not None and moment - token.last_used_at < LAST_USE_EVERY):
                continue
            self._tokens[token_id] = replace(token, last_used_at=moment)

    async def list_audit(
        self, limit: int, after: int | None = None, *, tenant_id: str | None = None, identifier: str | None = None
    ) -> Sequence[AuditEntry]:
        bearers = {each.tenant_id for each in self._audit if each.identifier == identifier}
        return [
            each
            for each in reversed(self._audit)
            if (after is None or (each.id or 0) < after)
            and tenant_id in (None, each.tenant_id)
            and (identifier is None or each.tenant_id in bearers)
        ][:limit]

    async def prune_audit(self, before: datetime, audit: Sequence[AuditEntry] = ()) -> int:
        kept = [each for each in self._audit if each.at >= before]
        pruned, self._audit = len(self._audit) - len(kept), kept
        self._write_entries(audit)
        return pruned

    def _write_entries(self, entries: Sequence[AuditEntry]) -> None:
        for entry in entries:
            self._entries_written += 1
            self._audit.append(replace(entry, id=self._entries_written))

    def _verified(self, host: str) -> Domain | None:
        return next((each for each in self._domains.values() if each.is_verified and each.host == host), None)

    def _check_unchanged(self, domain: Domain) -> None:
        current = self._domains.get(_key(domain))
        if current is None or (current.status, current.token) != (domain.status, domain.token):
            raise domain_changed(domain)

    def _check_unique(self, tenant: Tenant) -> None:
        others = [other for other in self._tenants.values() if other.id != tenant.id]
        if any(other.identifier == tenant.identifier for other in others):
            raise identifier_taken(tenant)
        namespaces = {other.namespace for other in others} | {kept.namespace for kept in self._retained.values()}
        if tenant.namespace is not None and tenant.namespace in namespaces:
            raise namespace_taken()


def _key(domain: Domain) -> tuple[str, str]:
    return domain.tenant_id, domain.host
