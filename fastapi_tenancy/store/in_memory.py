"""A tenant store in a dict, for tests."""

from collections.abc import Sequence
from dataclasses import replace

from ..tenant import Tenant, TenantStatus
from .base import RetainedNamespace, identifier_taken, namespace_taken, tenant_changed, tenant_gone


class InMemoryTenantStore:
    """A `TenantStore` that forgets everything with its process."""

    def __init__(self) -> None:
        self._tenants: dict[str, Tenant] = {}
        self._retained: dict[str, RetainedNamespace] = {}

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
        if keep_namespace:
            self._retained[tenant.id] = RetainedNamespace(
                tenant.id, tenant.identifier, tenant.namespace, tenant.database_url, tenant.manager_type
            )

    async def retained(self) -> Sequence[RetainedNamespace]:
        return list(self._retained.values())

    def _check_unique(self, tenant: Tenant) -> None:
        others = [other for other in self._tenants.values() if other.id != tenant.id]
        if any(other.identifier == tenant.identifier for other in others):
            raise identifier_taken(tenant)
        namespaces = {other.namespace for other in others} | {kept.namespace for kept in self._retained.values()}
        if tenant.namespace is not None and tenant.namespace in namespaces:
            raise namespace_taken()
