"""A tenant store in a dict, for tests."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime

from ..tenant import Tenant, TenantStatus
from .base import RetainedNamespace, identifier_taken, namespace_taken, tenant_changed, tenant_gone
from .domain import Domain, domain_changed, host_taken
from .token import LAST_USE_EVERY, TokenRecord, no_tenant_for_token


class InMemoryTenantStore:
    """A `TenantStore`, `DomainStore` and `TokenStore` that forgets everything with its process."""

    def __init__(self) -> None:
        self._tenants: dict[str, Tenant] = {}
        self._retained: dict[str, RetainedNamespace] = {}
        self._domains: dict[tuple[str, str], Domain] = {}
        self._tokens: dict[str, TokenRecord] = {}

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

    async def page(self, limit: int, after: str | None = None, status: TenantStatus | None = None) -> Sequence[Tenant]:
        found = sorted(self._tenants.values(), key=lambda tenant: tenant.identifier)
        return [
            tenant
            for tenant in found
            if (after is None or tenant.identifier > after) and (status is None or tenant.status is status)
        ][:limit]

    async def save(self, tenant: Tenant) -> Tenant:
        current = self._tenants.get(tenant.id)
        if current is None:
            raise tenant_gone(tenant)
        if current.version != tenant.version:
            raise tenant_changed(tenant)
        self._check_unique(tenant)
        self._tenants[tenant.id] = saved = replace(tenant, version=tenant.version + 1)
        return saved

    async def remove(self, tenant: Tenant, *, keep_namespace: bool) -> None:
        self._tenants.pop(tenant.id, None)
        self._domains = {key: domain for key, domain in self._domains.items() if domain.tenant_id != tenant.id}
        self._tokens = {key: token for key, token in self._tokens.items() if token.tenant_id != tenant.id}
        if keep_namespace:
            self._retained[tenant.id] = RetainedNamespace(
                tenant.id, tenant.identifier, tenant.namespace, tenant.database_url, tenant.manager_type
            )

    async def retained(self) -> Sequence[RetainedNamespace]:
        return list(self._retained.values())

    async def add_domain(self, domain: Domain) -> None:
        if domain.tenant_id not in self._tenants or _key(domain) in self._domains:
            raise domain_changed(domain)
        self._domains[_key(domain)] = domain

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

    async def change_domain(self, before: Domain, after: Domain) -> None:
        self._check_unchanged(before)
        holder = self._verified(after.host)
        if after.is_verified and holder is not None and holder.tenant_id != after.tenant_id:
            raise host_taken(after.host)
        self._domains[_key(before)] = replace(after, is_primary=after.is_primary and after.is_verified)

    async def make_primary(self, domain: Domain) -> None:
        self._check_unchanged(domain)
        if not domain.is_verified:
            raise domain_changed(domain)
        for each in await self.list_domains(domain.tenant_id):
            self._domains[_key(each)] = replace(each, is_primary=each.host == domain.host)

    async def remove_domain(self, domain: Domain) -> None:
        self._domains.pop(_key(domain), None)

    async def add_token(self, token: TokenRecord) -> None:
        if token.tenant_id not in self._tenants:
            raise no_tenant_for_token(token)
        for old in await self.list_tokens(token.tenant_id):
            if old.expires_at is not None and old.expires_at <= token.created_at:
                del self._tokens[old.token_id]
        self._tokens[token.token_id] = token

    async def get_token(self, token_id: str) -> TokenRecord | None:
        return self._tokens.get(token_id)

    async def list_tokens(
        self, tenant_id: str, limit: int | None = None, after: str | None = None
    ) -> Sequence[TokenRecord]:
        found = sorted(
            (token for token in self._tokens.values() if token.tenant_id == tenant_id), key=lambda each: each.token_id
        )
        return [each for each in found if after is None or each.token_id > after][:limit]

    async def remove_token(self, tenant_id: str, token_id: str) -> bool:
        token = self._tokens.get(token_id)
        if token is None or token.tenant_id != tenant_id:
            return False
        del self._tokens[token_id]
        return True

    async def note_token_uses(self, uses: Mapping[str, datetime]) -> None:
        for token_id, moment in uses.items():
            token = self._tokens.get(token_id)
            if token is None or (token.last_used_at is not None and moment - token.last_used_at < LAST_USE_EVERY):
                continue
            self._tokens[token_id] = replace(token, last_used_at=moment)

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
