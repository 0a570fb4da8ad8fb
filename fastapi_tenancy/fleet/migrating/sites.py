"""See at which revisions the tables of many tenants are: cheaply, without Alembic."""

import asyncio
import logging
import sqlite3
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote

from pydantic import SecretBytes
from sqlalchemy import URL
from sqlalchemy.exc import SQLAlchemyError

from ...errors import TenancyError
from ...migrations import revision_of, revisions_in
from ...multitenant import MultitenantManagerProvider
from ...multitenant.keys import GivenKey, needs_key
from ...multitenant.tables import TenantTables
from ...tenant import Tenant
from ...urls import is_sqlite

logger = logging.getLogger(__name__)

_AT_ONCE = 8  # databases that are connected to at the same time, beside the budget for requests
_CHUNK = 250  # files that one thread reads

_VERSION = "SELECT min(version_num) FROM alembic_version"


@dataclass(slots=True, eq=False)
class Site:
    """Tables, and whose they are: one tenant's, or all tenants' that have rows in them.

    Attributes:
        tables: where they are.
        tenants: as they were read from the store.
        revision: that the tables are at; where they cannot be read, the one that is recorded.
    """

    tables: TenantTables
    tenants: list[Tenant]
    revision: str | None

    @property
    def is_shared(self) -> bool:
        return self.tables.rows_of is not None

    @property
    def ids(self) -> set[str]:
        return {tenant.id for tenant in self.tenants}

    @property
    def drifted(self) -> dict[Tenant, str | None]:
        """The tenants that are recorded at another revision, with the true one."""
        return {tenant: self.revision for tenant in self.tenants if tenant.revision != self.revision}


async def sites_of(
    provider: MultitenantManagerProvider, tenants: Iterable[Tenant], keys: Mapping[str, GivenKey]
) -> tuple[list[Site], dict[str, str]]:
    """The tables of `tenants`, and by identifier why those of the others cannot be told.

    Args:
        provider: of their managers.
        tenants: that are neither being created nor deleted.
        keys: of tenants whose key is not stored, by identifier.
    """
    sites: list[Site] = []
    shared: dict[URL, Site] = {}
    unknown: dict[str, str] = {}
    for tenant in tenants:
        try:
            tables = await _tables(provider, tenant, keys)
        except (TenancyError, SQLAlchemyError, OSError) as error:
            unknown[tenant.identifier] = str(error)
            continue
        site = Site(tables, [tenant], tenant.revision)
        if not site.is_shared:
            sites.append(site)
        elif tables.url in shared:
            shared[tables.url].tenants.append(tenant)
        else:
            shared[tables.url] = site
            sites.append(site)
    return sites, unknown


async def read_revisions(sites: Collection[Site]) -> None:
    """Set the sites' revisions to what is true, where it can be read."""
    files: list[Site] = []
    by_database: dict[URL, list[Site]] = {}
    others: list[Site] = []
    for site in sites:
        if is_sqlite(site.tables.url) and site.tables.cipher is None:
            files.append(site)
        elif site.tables.schema is not None:
            by_database.setdefault(site.tables.url, []).append(site)
        else:
            others.append(site)
    turns = asyncio.Semaphore(_AT_ONCE)

    async def in_a_thread(read: Callable[[Sequence[Site]], None], these: Sequence[Site]) -> None:
        async with turns:
            await asyncio.to_thread(read, these)

    await asyncio.gather(
        *(in_a_thread(_read_files, files[start : start + _CHUNK]) for start in range(0, len(files), _CHUNK)),
        *(in_a_thread(_read_schemas, these) for these in by_database.values()),
        *(in_a_thread(_read_database, (site,)) for site in others),
    )


async def _tables(provider: MultitenantManagerProvider, tenant: Tenant, keys: Mapping[str, GivenKey]) -> TenantTables:
    manager = provider.for_tenant(tenant)
    manager.check_namespace(tenant)
    key: SecretBytes | None = None
    if tenant.encrypted and needs_key(tenant):
        key = provider.root_profile.keys.given(tenant, keys.get(tenant.identifier))
    return await manager.tables(tenant, key)


def _read_files(sites: Sequence[Site]) -> None:
    for site in sites:
        try:
            site.revision = _revision_in(str(site.tables.url.database))
        except sqlite3.Error as error:
            _unread((site,), error)


def _revision_in(database: str) -> str | None:
    """The revision in a SQLite file, which is named as its URL does.

    A file that nobody has open is read as it is, in a quarter of the time that locks and shared memory take.
    """
    file = unquote(database.removeprefix("file:"))
    if not _is_in_use(file):
        with suppress(sqlite3.DatabaseError):  # somebody may have begun to write
            revision = _selected(f"{database}?mode=ro&immutable=1")
            if not _is_in_use(file):
                return revision
    # Not for reading only: SQLite would leave its files for the write-ahead log behind.
    return _selected(f"{database}?mode=rw")


def _is_in_use(file: str) -> bool:
    return Path(f"{file}-wal").exists() or Path(f"{file}-journal").exists()


def _selected(uri: str) -> str | None:
    with closing(sqlite3.connect(uri, uri=True)) as connection:
        try:
            revision: str | None = connection.execute(_VERSION).fetchone()[0]
        except sqlite3.OperationalError as error:
            if "no such table" in str(error):
                return None
            raise
        return revision


def _read_schemas(sites: Sequence[Site]) -> None:
    try:
        with sites[0].tables.connect() as connection:
            found = revisions_in(connection, [str(site.tables.schema) for site in sites])
    except (SQLAlchemyError, TenancyError) as error:
        _unread(sites, error)
    else:
        for site in sites:
            site.revision = found[str(site.tables.schema)]


def _read_database(sites: Sequence[Site]) -> None:
    for site in sites:
        try:
            with site.tables.connect() as connection:
                site.revision = revision_of(connection)
        except (SQLAlchemyError, TenancyError) as error:
            _unread((site,), error)


def _unread(sites: Sequence[Site], error: Exception) -> None:
    for site in sites:
        logger.warning("revision not read", extra={"tenant": site.tenants[0].id}, exc_info=error)
