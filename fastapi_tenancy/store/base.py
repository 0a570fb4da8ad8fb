"""What a tenant store must do; every answer comes from the store itself, never from a cache."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from ..errors import NamespaceExistsError, TenantConflictError, TenantExistsError, TenantNotFoundError
from ..tenant import Tenant, TenantStatus


@dataclass(frozen=True, slots=True)
class RetainedNamespace:
    """What is left of a tenant that was deleted without its data.

    Attributes:
        id: the tenant's id.
        identifier: the identifier that it had last.
        namespace: where its data still is; never given to another tenant.
        database_url: its own database, where it had one.
        manager_type: the manager that kept it.
    """

    id: str
    identifier: str
    namespace: str | None
    database_url: str | None
    manager_type: str | None


class TenantStore(Protocol):
    """The list of all tenants. Identifiers are unique, and so are namespaces, also those of deleted tenants."""

    async def open(self) -> None:
        """Connect, and bring the store's own tables to the state that the code expects."""

    async def close(self) -> None:
        """Give up all connections; `open` may follow again."""

    async def add(self, tenant: Tenant) -> None:
        """Record a new tenant.

        Raises:
            TenantExistsError: its identifier is taken.
            NamespaceExistsError: its namespace is taken.
        """

    async def get(self, tenant_id: str) -> Tenant | None: ...

    async def get_by_identifier(self, identifier: str) -> Tenant | None: ...

    async def page(self, limit: int, after: str | None = None, status: TenantStatus | None = None) -> Sequence[Tenant]:
        """At most `limit` tenants in the order of their identifiers, from the first one beyond `after`."""

    async def save(self, tenant: Tenant) -> Tenant:
        """Write `tenant` over the version it was made from, and return it with the next version number.

        Raises:
            TenantNotFoundError: it is gone.
            TenantConflictError: it was changed since.
            TenantExistsError: its new identifier is taken.
        """

    async def remove(self, tenant: Tenant, *, keep_namespace: bool) -> None:
        """Take the tenant off the list. With `keep_namespace`, remember its namespace as taken for ever."""

    async def retained(self) -> Sequence[RetainedNamespace]:
        """The namespaces that outlived their tenants."""


def identifier_taken(tenant: Tenant) -> TenantExistsError:
    return TenantExistsError(f"the identifier {tenant.identifier!r} is taken; choose another")


def namespace_taken() -> NamespaceExistsError:
    return NamespaceExistsError("the namespace belongs to another tenant; choose another database_url")


def tenant_gone(tenant: Tenant) -> TenantNotFoundError:
    return TenantNotFoundError(f"the tenant {tenant.identifier!r} is gone; list the tenants to see what is there")


def tenant_changed(tenant: Tenant) -> TenantConflictError:
    return TenantConflictError(f"the tenant {tenant.identifier!r} was changed since it was read; read it again")
