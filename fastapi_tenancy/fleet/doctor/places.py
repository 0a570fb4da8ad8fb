"""Where each tenant's data should be, as the records and the settings say."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

from sqlalchemy import URL

from ...errors import TenancyError
from ...multitenant import BaseMultitenantManager, MultitenantManagerProvider
from ...multitenant.databases import Addresses
from ...multitenant.databases.sqlite_file import file_of
from ...multitenant.isolation.places import schema_named
from ...multitenant.manager import MultitenantManager
from ...multitenant.shared_profile_manager import SharedProfileMultitenantManager
from ...tenant import Tenant, TenantStatus
from ...urls import is_sqlite, parse_url, server_of

Kind = Literal["file", "database", "schema", "rows"]

# An id that no tenant has, by which to see how names are made of ids.
NOBODY = "0" * 32


@dataclass(frozen=True, slots=True)
class Place:
    """Where a tenant's data should be.

    Attributes:
        tenant: whose.
        kind: what it has of its own; nothing but rows where the tables are all tenants'.
        url: what to connect to.
        name: of the file, database or schema; of the isolation where there are rows only.
        maintenance: what else can be connected to on the server, while the place is not there.
    """

    tenant: Tenant
    kind: Kind
    url: URL
    name: str
    maintenance: tuple[URL, ...] = ()

    @property
    def file(self) -> Path:
        return Path(self.name)

    @property
    def server(self) -> str | None:
        return None if is_sqlite(self.url) else server_of(self.url)


@dataclass(frozen=True, slots=True)
class Places:
    """The places of all tenants.

    Attributes:
        found: those that are known; a manager of one's own does not tell.
        lost: tenants for whom there is none, and why.
        of_new: where a tenant would go that says nothing of it; None where that is not known.
        own: where one would go that is to have a file or a database of its own.
    """

    found: Sequence[Place]
    lost: Sequence[tuple[Tenant, TenancyError]]
    of_new: Place | None
    own: Place | None

    def all(self) -> Iterator[Place]:
        """Those of all tenants, and of the next one."""
        yield from self.found
        if self.of_new is not None:
            yield self.of_new

    def isolations(self) -> set[str]:
        """By which tenants share tables in `database_url`."""
        return {place.name for place in self.all() if place.kind == "rows"}


def places_of(tenants: Iterable[Tenant], provider: MultitenantManagerProvider) -> Places:
    addresses = _addresses(provider)
    found: list[Place] = []
    lost: list[tuple[Tenant, TenancyError]] = []
    for tenant in tenants:
        try:
            manager = provider.for_tenant(tenant)
            place = _place_of(tenant, manager, addresses)
            manager.check_namespace(tenant)
        except TenancyError as error:
            lost.append((tenant, error))
        else:
            found += [place] if place is not None else []
    now = datetime.now(UTC)
    status = TenantStatus.PROVISIONING
    nobody = Tenant(id=NOBODY, identifier="0", name="0", status=status, created_at=now, updated_at=now)
    of_new = _place_of(nobody, provider.provide({}), addresses)
    return Places(found, lost, of_new, None if addresses is None else _own(nobody, addresses))


def _addresses(provider: MultitenantManagerProvider) -> Addresses | None:
    try:
        return Addresses(provider.root_profile)
    except TenancyError:
        return None  # the deployment's settings are for other managers only


def _place_of(tenant: Tenant, manager: BaseMultitenantManager, addresses: Addresses | None) -> Place | None:
    root = manager.root_profile
    if isinstance(manager, MultitenantManager):
        return None if addresses is None else _own(tenant, addresses)
    if not isinstance(manager, SharedProfileMultitenantManager):
        return None
    isolation = manager.namespace(tenant).partition("/")[0]
    url = parse_url(root.settings.database_url, "database_url")
    if isolation != "schema":
        return Place(tenant, "rows", url, isolation)
    schema = schema_named(tenant.id)
    if url.get_backend_name() == "postgresql":
        return Place(tenant, "schema", url, schema)
    return Place(tenant, "database", url.set(database=schema), schema, (url,))


def _own(tenant: Tenant, addresses: Addresses) -> Place:
    address = addresses.of(tenant)
    if is_sqlite(address.url):
        return Place(tenant, "file", address.url, str(file_of(address)))
    return Place(tenant, "database", address.admin, address.name, address.maintenance)
