"""What a tenant store must do; every answer comes from the store itself, never from a cache."""

import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

from ..audit import AuditEntry
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
    database_url: str | None = field(repr=False)  # it may hold a password
    manager_type: str | None


@dataclass(frozen=True, slots=True)
class Resealed:
    """What became of the store's secrets.

    Attributes:
        resealed: how many tenants' secrets are now sealed with the newest key, and were not before.
        left: the identifiers of tenants whose secrets could not be opened, and stay as they are.
    """

    resealed: int
    left: Sequence[str]


class TenantStore(Protocol):
    """The list of all tenants. Identifiers are unique, and so are namespaces, also those of deleted tenants.

    `audit` holds entries only where the store is an `AuditStore`.
    """

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

    async def page(
        self, limit: int, after: str | None = None, status: TenantStatus | None = None, q: str | None = None
    ) -> Sequence[Tenant]:
        """At most `limit` tenants in the order of their identifiers, from the first one beyond `after`.

        Args:
            limit: how many.
            after: an identifier; None begins with the first.
            status: only these.
            q: only those in whose identifier or name it occurs, both as `folded` has them.
        """

    async def save(self, tenant: Tenant, *, audit: Sequence[AuditEntry] = ()) -> Tenant:
        """Write `tenant` over the version it was made from, and return it with the next version number.

        Raises:
            TenantNotFoundError: it is gone.
            TenantConflictError: it was changed since.
            TenantExistsError: its new identifier is taken.
        """

    async def remove(self, tenant: Tenant, *, keep_namespace: bool, audit: Sequence[AuditEntry] = ()) -> bool:
        """Take the tenant off the list; False, and no entry, if it is not there.

        With `keep_namespace`, remember its namespace as taken for ever.
        """

    async def retained(self) -> Sequence[RetainedNamespace]:
        """The namespaces that outlived their tenants."""


# PostgreSQL has no NUL, and a line feed stands between the two texts that are searched.
_UNSEARCHED = str.maketrans({"\0": "\ufffd", "\n": " "})


def folded(text: str) -> str:
    """What tenants are searched by: letter case and the way a letter is composed make no difference, accents do.

    Not the database's own comparison, which knows only ASCII in SQLite, and on a server what its locale says.
    """
    return unicodedata.normalize("NFC", text.casefold()).translate(_UNSEARCHED)


def searched(tenant: Tenant) -> str:
    """The text in which `q` is looked for; none reaches from the identifier into the name."""
    return f"{tenant.identifier}\n{folded(tenant.name)}"


@runtime_checkable
class ProbedStore(Protocol):
    """A store that says whether it can be used."""

    async def is_current(self) -> bool:
        """Whether its own tables are what the code expects, or newer; it raises where it cannot be asked."""


@runtime_checkable
class SealingStore(Protocol):
    """A store that seals what is secret in a tenant: its database URL and its secret settings."""

    @property
    def is_sealing(self) -> bool:
        """Whether it was given a key to seal with."""

    async def reseal(self, audit: Sequence[AuditEntry] = ()) -> Resealed:
        """Seal again what is in plain, or sealed with another key than the newest, also of tenants that were deleted.

        No tenant's version changes. Where this is cut short, all can be read, and the next call goes on.

        Raises:
            ConfigurationError: there is no key to seal with.
        """


def identifier_taken(tenant: Tenant) -> TenantExistsError:
    return TenantExistsError(f"the identifier {tenant.identifier!r} is taken; choose another")


def namespace_taken() -> NamespaceExistsError:
    return NamespaceExistsError("the namespace belongs to another tenant; choose another database_url")


def tenant_gone(tenant: Tenant) -> TenantNotFoundError:
    return TenantNotFoundError(f"the tenant {tenant.identifier!r} is gone; list the tenants to see what is there")


def tenant_changed(tenant: Tenant) -> TenantConflictError:
    return TenantConflictError(f"the tenant {tenant.identifier!r} was changed since it was read; read it again")
