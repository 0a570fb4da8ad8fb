"""What is done to the fleet: migrate all tenants, keep some ready, take one elsewhere, and look what is wrong."""

from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AbstractContextManager
from datetime import datetime
from pathlib import Path
from typing import TypeVar
from uuid import uuid4

from sqlalchemy import URL, MetaData

from ..administration import Administration
from ..errors import ConfigurationError
from ..limits import LimitGate
from ..multitenant import MultitenantManagerProvider, Profile
from ..multitenant.keys import GivenKey, KeyManagementMode
from ..sealing import Sealer
from ..settings import TenancySettings
from ..tenant import Tenant, TenantStatus
from .archive import Exported, TenantArchives
from .doctor import Deployment, Finding, examine
from .gather import Outcome, gather
from .migrating import FleetMigrations, MigrationReport, MigrationStatus
from .migrating.runner import OnProgress as OnMigrated
from .migrating.runner import Plan
from .moving import Moved, TenantMoves
from .moving.report import OnProgress as OnMoved
from .pending import OnProgress, PendingPool
from .reference import Reference, reference_to

T = TypeVar("T")

_PAGE = 500  # tenants that are listed at once


class Fleet(Administration, ABC):
    """The acts of a `Tenancy` that concern many tenants, or one as a whole; `Tenancy` makes what they need."""

    settings: TenancySettings
    sealer: Sealer | None
    limits: LimitGate | None
    now: Callable[[], datetime]
    provider: MultitenantManagerProvider
    _pool: PendingPool | None
    _migrations: FleetMigrations | None
    _moves: TenantMoves | None
    _archives: TenantArchives

    @abstractmethod
    def use(self, identifier: str) -> AbstractAsyncContextManager[Profile]: ...

    @property
    def metadata(self) -> MetaData:
        """The tables that each tenant gets."""
        return self.provider.root_profile.metadata

    def reference(self, identifier: str | None = None) -> AbstractContextManager[Reference]:
        """Tables to compare the models with, for a tenancy that is not open; `run_tenant_migrations` does so.

        Args:
            identifier: of the tenant whose tables are meant; None for an empty place of the kind that new tenants get,
                which is gone at the end of the block.

        Raises:
            TenantNotFoundError: there is no such tenant.
            ConfigurationError: the server does not let us make such a place; the message says what to do.
        """
        return reference_to(identifier, self.store, self.provider)

    async def gather(
        self,
        function: Callable[[Profile], Awaitable[T] | T],
        tenants: Iterable[str] | None = None,
        *,
        limit: int = 10,
        timeout: float | None = None,  # noqa: ASYNC109 - of each tenant, not of the call
    ) -> list[Outcome[T]]:
        """Ask many tenants, some at a time: an outcome for each, in their order, and no failure stops the others.

        Args:
            function: is called with the tenant's profile, inside `use`; a `def` runs in a thread.
            tenants: identifiers; None for all active tenants.
            limit: how many are asked at once.
            timeout: seconds for each tenant; None for no end. A thread goes on unseen beyond it.

        Raises:
            ValueError: `limit` is below 1.
            StoreUnavailableError: the tenants could not be listed.
        """
        if limit < 1:
            raise ValueError(f"limit is {limit}; ask at least 1 tenant at once")
        identifiers = self._active() if tenants is None else _each(tenants)
        return await gather(self.use, identifiers, function, limit=limit, seconds=timeout)

    async def migrate(
        self,
        to: str = "head",
        *,
        tenants: Sequence[str] | None = None,
        workers: int = 2,
        canary: int = 0,
        max_failures: int | None = None,
        timeout: float = 600.0,  # noqa: ASYNC109 - of each tenant, not of the call
        stamp: bool = False,
        keys: Mapping[str, GivenKey] | None = None,
        on_progress: OnMigrated | None = None,
    ) -> MigrationReport:
        """Bring the tenants' tables to a revision of `TenancySettings.migrations`, in processes of their own.

        First it is looked where each tenant stands, which is cheap; those that are there already are left alone. What
        is cut short, also by a kill, is taken up by the next call, within 20 s.

        Args:
            to: the revision, the beginning of its name, or "head". None is downgraded: who is beyond it is left out.
            tenants: identifiers; None for all, in whatever status.
            workers: how many are migrated at the same time, each in a process of its own.
            canary: how many are migrated before the others; where one of them fails, no other is begun.
            max_failures: after so many failures no other is begun; None goes on to the end.
            timeout: seconds that a tenant may take; then its process is killed, and what it began is rolled back.
            stamp: run nothing, and note that the tables are at the revision: for tenants that were made before there
                were migrations. One that has a revision is left out, unless it is named.
            keys: of encrypted tenants whose key is not stored, by identifier.
            on_progress: called after each tenant.

        Raises:
            ConfigurationError: no `migrations` are set, or there is no such revision.
            TenantNotFoundError: one that is named is not there.
            StoreUnavailableError: the store failed; what is under way is ended.
            ValueError: a number is too low.
        """
        migrations = self._with_migrations()
        if workers < 1 or canary < 0 or timeout <= 0 or (max_failures is not None and max_failures < 1):
            raise ValueError("give workers and max_failures of at least 1, a canary of at least 0, and a timeout above")
        plan = Plan(
            run_id=uuid4().hex,
            to=to,
            stamp=stamp,
            workers=workers,
            canary=canary,
            max_failures=max_failures,
            timeout=timeout,
            on_progress=on_progress,
        )
        chosen = None if tenants is None else [await self.directory.read(each) for each in dict.fromkeys(tenants)]
        return await migrations.migrate(plan, chosen, keys)

    async def migration_status(self) -> MigrationStatus:
        """Where all tenants stand; what the store has recorded of them is mended where it is not true.

        Raises:
            ConfigurationError: no `migrations` are set.
            StoreUnavailableError: the store failed.
        """
        return await self._with_migrations().status()

    def _with_migrations(self) -> FleetMigrations:
        if self._migrations is None:
            raise ConfigurationError(
                "there is nothing to migrate by: set TenancySettings.migrations to the Alembic folder; a store of your "
                "own needs the methods of FleetStore, too"
            )
        return self._migrations

    async def doctor(self) -> Sequence[Finding]:
        """What is wrong with this deployment, the gravest first; also of a tenancy that is not, or cannot be, open.

        It changes nothing. Whatever stops a check is a finding, too, and so is a check that takes longer than 30 s.
        """
        limited = self.limits is not None
        return await examine(
            Deployment(self.settings, self.provider, self.store, self.sealer, is_limited=limited, now=self.now)
        )

    async def fill_pending(self, number: int, *, on_progress: OnProgress | None = None) -> int:
        """Make tenants ahead until `number` are ready, for the next calls of `create_tenant`.

        What was made as no tenant would be made any more, by older settings, tables or migrations, is dropped first.

        Args:
            number: how many there are to be, over all processes.
            on_progress: called after each with how many were made, and `number`.

        Returns:
            How many were made.

        Raises:
            ConfigurationError: none can be made ahead by these settings, or the store keeps none.
            StoreUnavailableError: the store failed.
        """
        return await self._pending().fill(number, on_progress)

    async def pending_tenants(self) -> int:
        """How many are ready; raises as `fill_pending` does."""
        return await self._pending().ready()

    def _pending(self) -> PendingPool:
        if self._pool is None:
            raise ConfigurationError(
                f"{type(self.store).__name__} keeps no pending tenants; give it the methods of PendingStore"
            )
        return self._pool

    async def export_tenant(
        self, identifier: str, file: str | Path, *, key: GivenKey | None = None, secrets: bool = False
    ) -> Exported:
        """Write a tenant's rows, as they are at one moment, and its record into a file, to be imported anywhere.

        The file is there whole or not at all. It is not encrypted, also where the tenant is; only its owner reads it.

        Args:
            identifier: whose.
            file: the archive; one that is there is replaced.
            key: of a tenant whose key is not stored.
            secrets: write its `secret_settings` and its database URL, too.

        Raises:
            TenantKeyMissingError: the tenant's key is not stored, and is missing or wrong.
            TenantConflictError: the tenant is being created or deleted.
            ArchiveError: it has tables that are not in the metadata, or the file cannot be written.
        """
        return await self._archives.export(identifier, Path(file), key, secrets=secrets)

    async def import_tenant(
        self,
        file: str | Path,
        *,
        identifier: str | None = None,
        manager_type: str | None = None,
        database_url: str | URL | None = None,
        key_management_mode: KeyManagementMode = "managed",
        key: GivenKey | None = None,
        encrypted: bool | None = None,
    ) -> Tenant:
        """Create a tenant with the name, settings and rows of an archive; what fails leaves nothing. No seeds are sown.

        The whole archive is checked before anything is created. Other errors are as those of `create_tenant`.

        Args:
            file: the archive.
            identifier: the new tenant's; the archived one's if None.
            manager_type: as `create_tenant` takes it, and so are those below.
            database_url: where it is kept.
            key_management_mode: whether its key is stored.
            key: its own.
            encrypted: encrypt its data.

        Raises:
            ArchiveError: it is damaged, foreign, of other tables or another revision, or its keys are other tenants'.
        """
        return await self._archives.import_(
            Path(file),
            identifier=identifier,
            manager_type=manager_type,
            database_url=database_url,
            key_management_mode=key_management_mode,
            key=key,
            encrypted=encrypted,
        )

    async def move_tenant(
        self,
        identifier: str,
        *,
        to: str,
        isolation: str | None = None,
        database_url: str | URL | None = None,
        on_progress: OnMoved | None = None,
    ) -> Moved:
        """Take a tenant to another isolation, database or server, with all its rows.

        It is served all the time, and can be read only while its rows are copied and compared. A call that fails undoes
        what it did; where one was killed, the same call goes on, within 20 s, or `abort_move` undoes it. What the
        tenant leaves is kept until `confirm_move`.

        Args:
            identifier: whose.
            to: the manager that is to keep it, a name in `MANAGER_TYPES`.
            isolation: with "shared-profile": "schema", "row" or "rls"; None for what new tenants get.
            database_url: with "basic": where its database is to be; None for the place that the settings name.
            on_progress: called with a `MoveProgress` from time to time.

        Raises:
            ConfigurationError: `to`, `isolation` or `database_url` cannot be, or does not fit the deployment.
            MoveError: it is there already, is encrypted or behind the migrations, left a place that is still kept, or
                the new place cannot hold its rows: keys collide, or values would change.
            TenantConflictError: it is being migrated or moved by somebody else, created or deleted.
            NamespaceExistsError: there is something already where it is to be.
            TenantUnavailableError: a server cannot be reached, or the tenant is written all the time.
        """
        return await self._with_moves().move(identifier, to, isolation, database_url, on_progress)

    async def confirm_move(self, identifier: str, *, at_once: bool = False) -> None:
        """Drop what a tenant that was moved has left.

        Args:
            identifier: whose.
            at_once: also within `cache_ttl` of the move, where no other process serves the tenant: one that has not
                heard of the move yet would find its old place empty.

        Raises:
            MoveError: it was not moved, or is still being moved.
            TenantUnavailableError: `cache_ttl` is not over yet.
        """
        await self._with_moves().confirm(identifier, at_once=at_once)

    async def abort_move(self, identifier: str) -> Tenant:
        """Undo a move that was cut short: the tenant can be written again where it is, and the new place is dropped.

        Raises:
            MoveError: it is not being moved, or it has been: then `confirm_move` it, and move it back.
            TenantConflictError: whoever moves it is still at work.
        """
        return await self._with_moves().abort(identifier)

    async def delete_tenant(self, tenant: str | Tenant, *, drop_data: bool = False, version: int | None = None) -> None:
        """As `Administration.delete_tenant`.

        Raises:
            MoveError: it is being moved, or what it has left is still kept: nobody would know of that any more.
        """
        if self._moves is not None:
            await self._moves.refuse_while_moving(await self._as_read(tenant, version))
        await super().delete_tenant(tenant, drop_data=drop_data, version=version)

    def _with_moves(self) -> TenantMoves:
        if self._moves is None:
            raise ConfigurationError(
                f"{type(self.store).__name__} keeps no moves; give it the methods of MoveStore and FleetStore"
            )
        return self._moves

    async def _active(self) -> AsyncIterator[str]:
        after = None
        while True:
            page = await self.list_tenants(_PAGE, after, TenantStatus.ACTIVE)
            for tenant in page.items:
                yield tenant.identifier
            after = page.next
            if after is None:
                return


async def _each(identifiers: Iterable[str]) -> AsyncIterator[str]:
    for identifier in identifiers:
        yield identifier
