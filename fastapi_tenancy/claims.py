"""Give a new tenant one of the places that were made ahead."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence

from .audit import AuditEntry
from .directory import TenantDirectory
from .errors import TenantExistsError
from .multitenant import MultitenantManagerProvider
from .store import PendingStore, TenantStore
from .tenant import Tenant

# Seconds for which creations do not ask again where none was ready.
_EMPTY_FOR = 1.0

# Seconds that a creation which was given up waits for the claim to be undone.
_UNDO_PATIENCE = 5.0


class Claims:
    """Takes what is ready.

    Attributes:
        taken: is set whenever this process took one.
    """

    def __init__(
        self,
        store: TenantStore,
        directory: TenantDirectory,
        provider: MultitenantManagerProvider,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._store = store
        self._directory = directory
        self._provider = provider
        self._clock = clock
        self._empty_until = float("-inf")
        self._undoing: set[asyncio.Task[None]] = set()
        self.taken = asyncio.Event()

    def fits(self, tenant: Tenant) -> bool:
        """Whether a new tenant is as all are that are made ahead, with nothing of its own but its name."""
        is_plain = (
            tenant.manager_type is None
            and tenant.database_url is None
            and tenant.key_management_mode == "managed"
            and tenant.key_record is None
            and not tenant.encrypted
        )
        return is_plain and isinstance(self._store, PendingStore) and self._clock() >= self._empty_until

    def refilled(self) -> None:
        """Ask again from now on."""
        self._empty_until = float("-inf")

    async def claim(
        self, tenant: Tenant, undo: Callable[[Tenant], Awaitable[None]], audit: Sequence[AuditEntry] = ()
    ) -> Tenant | None:
        """As `PendingStore.claim_pending`; raises as that does.

        Args:
            tenant: one that `fits`.
            undo: called with what was claimed, where the caller was cancelled, or waited in vain, before it was.
            audit: the entries to be written with it.
        """
        recipe = self._provider.for_tenant(tenant).recipe()
        if recipe is None or not isinstance(self._store, PendingStore):
            return None
        claiming = asyncio.ensure_future(self._store.claim_pending(tenant, recipe, audit=audit))
        try:
            claimed = await self._directory.ask(_outcome(claiming))
        except TenantExistsError:
            raise
        except BaseException:
            await self._undo(claiming, undo)
            raise
        finally:
            await self._directory.forget(tenant)
        if claimed is None:
            self._empty_until = self._clock() + _EMPTY_FOR
        else:
            self.taken.set()
        return claimed

    async def _undo(self, claiming: asyncio.Future[Tenant | None], undo: Callable[[Tenant], Awaitable[None]]) -> None:
        """Undo what may be recorded all the same; where the store hangs, as soon as it says so, with nobody waiting."""

        async def work() -> None:
            await asyncio.wait((claiming,))
            if not claiming.cancelled() and claiming.exception() is None and (claimed := claiming.result()) is not None:
                await undo(claimed)

        undoing = asyncio.create_task(work())
        self._undoing.add(undoing)
        undoing.add_done_callback(self._undoing.discard)
        await asyncio.wait((undoing,), timeout=_UNDO_PATIENCE)


async def _outcome(claiming: asyncio.Future[Tenant | None]) -> Tenant | None:
    """What is claimed; whoever gives up waiting does not stop the claim."""
    return await asyncio.shield(claiming)
