"""Export a tenant, and import one through the ordinary life of a new tenant."""

import asyncio
import logging
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

from pydantic import SecretBytes
from sqlalchemy import URL, MetaData

from ...acts import Acts
from ...directory import TenantDirectory
from ...errors import ArchiveError, TenantConflictError
from ...events import EventKind
from ...lifecycle import TenantLifecycle
from ...migrations import revision_of
from ...multitenant import MultitenantManagerProvider
from ...multitenant.keys import GivenKey, KeyManagementMode, needs_key
from ...multitenant.tables import TenantTables
from ...secret_settings import split
from ...store import AuditStore
from ...tenant import Tenant, check_identifier, check_name, check_settings, plain
from ..rows import RowsError, TenantRows, digest_of, refuse_collisions, writer_for
from .export import Exported, export
from .manifest import Manifest
from .reading import opened

logger = logging.getLogger(__name__)

_BEFORE_ALL = datetime(1970, 1, 1, tzinfo=UTC)


class TenantArchives:
    """Writes archives, and reads them.

    Args:
        directory: reads the tenants.
        lifecycle: creates those that are imported.
        provider: of the managers that keep them.
        now: the time of day in UTC.
        acts: asks and tells.
        trail: where an export is recorded; None where that goes elsewhere.
    """

    def __init__(
        self,
        directory: TenantDirectory,
        lifecycle: TenantLifecycle,
        provider: MultitenantManagerProvider,
        now: Callable[[], datetime],
        acts: Acts,
        trail: AuditStore | None,
    ) -> None:
        self._directory = directory
        self._lifecycle = lifecycle
        self._provider = provider
        self._now = now
        self._acts = acts
        self._trail = trail

    async def export(self, identifier: str, file: Path, key: GivenKey | None, *, secrets: bool) -> Exported:
        """As `Tenancy.export_tenant`."""
        tenant = await self._directory.read(identifier)
        if not tenant.is_settled:
            raise TenantConflictError(f"the tenant {identifier!r} is {tenant.status}; wait until that has ended")
        manager, keys = self._provider.for_tenant(tenant), self._provider.root_profile.keys
        own = keys.given(tenant, key) if needs_key(tenant) else None
        manager.check_namespace(tenant)
        tables = await manager.tables(tenant, own)
        act = await self._acts.act({EventKind.EXPORTED: {"secrets": secrets}}, tenant).ask()
        record, moment = self._record(tenant, secrets=secrets), self._now().isoformat()
        exported = await asyncio.to_thread(export, tables, self._metadata, tenant.id, file, record, moment)
        if self._trail is not None:  # it changes nothing that the entry could be written with
            await self._directory.ask(self._trail.prune_audit(_BEFORE_ALL, act.entries))
        logger.info("tenant exported", extra={"tenant": tenant.id, "rows": exported.rows})
        await act.done()
        return exported

    async def import_(
        self,
        file: Path,
        *,
        identifier: str | None,
        manager_type: str | None,
        database_url: str | URL | None,
        key_management_mode: KeyManagementMode,
        key: GivenKey | None,
        encrypted: bool | None,
    ) -> Tenant:
        """As `Tenancy.import_tenant`."""
        manifest = await asyncio.to_thread(_checked, file)
        archived = manifest.tenant
        url = database_url.render_as_string(hide_password=False) if isinstance(database_url, URL) else database_url
        draft = self._lifecycle.draft(
            check_identifier(archived["identifier"] if identifier is None else identifier),
            name=check_name(archived["name"]),
            settings=check_settings(archived["settings"]),
            manager_type=manager_type,
            database_url=url,
            key_management_mode=key_management_mode,
        )
        _refuse_other_revision(manifest, await self._provider.for_tenant(draft).revision(draft))
        told = {"from": archived["identifier"], "rows": sum(table.rows for table in manifest.tables)}
        return await self._lifecycle.create(
            draft,
            key=key,
            encrypted=encrypted,
            fill=partial(self._fill, file),
            told={EventKind.IMPORTED: told},
        )

    async def _fill(self, file: Path, tenant: Tenant, key: SecretBytes | None) -> None:
        tables = await self._provider.for_tenant(tenant).tables(tenant, key)
        await asyncio.to_thread(_write, file, tables, self._metadata, tenant.id)

    def _record(self, tenant: Tenant, *, secrets: bool) -> Mapping[str, Any]:
        settings, names = plain(tenant.settings), self._provider.root_profile.settings.secret_settings
        record = {
            "identifier": tenant.identifier,
            "name": tenant.name,
            "status": tenant.status.value,
            "settings": settings if secrets else split(settings, names)[0],
            "created_at": tenant.created_at.isoformat(),
        }
        return {**record, "database_url": tenant.database_url} if secrets else record

    @property
    def _metadata(self) -> MetaData:
        return self._provider.root_profile.metadata


def _checked(file: Path) -> Manifest:
    with opened(file) as archive:
        archive.check()
        return archive.manifest


def _write(file: Path, tables: TenantTables, metadata: MetaData, tenant_id: str) -> None:
    """Write the rows of the archive into the new tenant's tables, and look whether they arrived."""
    with opened(file) as archive, TenantRows.at(tables, metadata, tenant_id) as target:
        archive.fits(target)
        _refuse_other_revision(archive.manifest, revision_of(target.connection))
        read = partial(archive.read, target)
        try:
            refuse_collisions(target, read)
            target.connection.rollback()
            writer_for(target).write(read, archive.counts(target))
        except RowsError as error:
            raise ArchiveError(str(error)) from error
        for table in target.tables:
            if digest_of(read(table), target.columns[table]) != target.digest(table):
                raise ArchiveError(f"the rows of {table.name} did not arrive as they are in the archive")


def _refuse_other_revision(manifest: Manifest, here: str | None) -> None:
    if manifest.revision != here:
        raise ArchiveError(
            f"the archive is of revision {manifest.revision}, and new tenants get {here}; import it with the code that "
            "was at its revision and migrate then, or migrate the tenant where it comes from and export it again"
        )
