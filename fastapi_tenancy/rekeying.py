"""Give a tenant another key, so that it opens whatever happens meanwhile."""

import logging
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime

from pydantic import SecretBytes

from .acts import Acts
from .directory import TenantDirectory
from .errors import TenantConflictError, WrongTenantKeyError
from .events import EventKind
from .multitenant import MultitenantManagerProvider
from .multitenant.keys import GivenKey, needs_key
from .tenant import Tenant

logger = logging.getLogger(__name__)


class TenantRekeying:
    """Records the new key beside the old one, encrypts the data with it, and then forgets the old one.

    No recorded key is forgotten before the data are seen to be under the new one: two who do this at the same time
    cannot lose the key that the other has just used.
    """

    def __init__(
        self, directory: TenantDirectory, provider: MultitenantManagerProvider, now: Callable[[], datetime], acts: Acts
    ) -> None:
        self._directory = directory
        self._provider = provider
        self._keys = provider.root_profile.keys
        self._now = now
        self._acts = acts

    async def rekey(self, tenant: Tenant, key: GivenKey | None, new_key: GivenKey | None) -> Tenant:
        """As `Tenancy.rekey_tenant`."""
        if not tenant.is_settled:
            raise TenantConflictError(f"the tenant {tenant.identifier!r} is {tenant.status}; wait until that has ended")
        given = self._given(tenant, key, new_key) if needs_key(tenant) else None
        keys = self._keys.own(tenant, given)
        # More than one is recorded where this was cut short: then it goes on with the newest.
        new = keys[0] if new_key is None and len(keys) > 1 else self._keys.chosen(tenant, new_key)
        act = await self._acts.act({EventKind.REKEYED: {}}, tenant).ask()
        if tenant.encrypted:
            tenant = await self._record(tenant, self._keys.record(tenant, new, or_recorded=True))
            await self._provider.for_tenant(tenant).rekey_encrypted(tenant, keys, new)
        done = replace(tenant, key_record=self._keys.record(tenant, new), updated_at=self._now())
        saved = await self._directory.change(tenant, done, audit=act.entries)
        await self._provider.for_tenant(saved).update_tenant(saved)
        logger.info("tenant rekeyed", extra={"tenant": saved.id})
        await act.done(saved)
        return saved

    def _given(self, tenant: Tenant, key: GivenKey | None, new_key: GivenKey | None) -> SecretBytes:
        try:
            return self._keys.given(tenant, key)
        except WrongTenantKeyError:
            if new_key is None:
                raise
            return self._keys.given(tenant, new_key)  # an earlier call may have ended, and nobody heard of it

    async def _record(self, tenant: Tenant, record: str) -> Tenant:
        saved = await self._directory.change(tenant, replace(tenant, key_record=record, updated_at=self._now()))
        await self._provider.for_tenant(saved).update_tenant(saved)
        return saved
