"""The `basic` manager: every tenant has a database of its own, opened while it is in use."""

import asyncio
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from pydantic import SecretBytes
from sqlalchemy import URL

from ..tenant import Tenant
from ..urls import existing_sqlite, is_sqlite, synchronous
from .base import BaseMultitenantManager
from .databases import DATABASES, Address, Addresses, Databases, EncryptedFiles, uninterrupted
from .databases.sqlite_file import file_of
from .engine_pair import EnginePair
from .hygiene import leave_nothing
from .isolation import stamped_sessionmaker
from .isolation.sessions import AnyEngine, sync_engine
from .profile import Profile, RootProfile, Threads
from .recipe import Recipe
from .tables import TenantTables


class MultitenantManager(BaseMultitenantManager):
    """Keeps each tenant in a database of its own, with an engine for each open profile."""

    def __init__(self, root_profile: RootProfile) -> None:
        super().__init__(root_profile)
        self._addresses = Addresses(root_profile)
        self._databases = {backend: kind(root_profile) for backend, kind in DATABASES.items()}
        self._encrypted = EncryptedFiles(root_profile)
        self._recipe = _recipe(root_profile, self._addresses.common)

    def namespace(self, tenant: Tenant) -> str:
        return self._addresses.namespace(tenant)

    async def place(self, tenant: Tenant) -> Tenant:
        return await super().place(await self._addresses.place(tenant))

    def recipe(self) -> str | None:
        return None if self._recipe is None else self._recipe.digest()

    async def create_tenant(self, tenant: Tenant) -> None:
        if tenant.encrypted:
            return await self.provision(tenant)
        databases, address = self._databases_of(tenant)
        await uninterrupted(databases.create(address, tenant))
        return None

    async def drop_tenant(self, tenant: Tenant) -> None:
        databases, address = self._databases_of(tenant)
        drop = self._encrypted.drop if tenant.encrypted else databases.drop
        await uninterrupted(drop(address, tenant))

    async def open_profile(self, tenant: Tenant) -> Profile:
        databases, address = self._databases_of(tenant)
        return self._profile(tenant, await databases.open(address, tenant))

    def encrypts(self, tenant: Tenant) -> bool:
        return is_sqlite(self._addresses.of(tenant).url)

    async def create_encrypted(self, tenant: Tenant, key: SecretBytes) -> None:
        await uninterrupted(self._encrypted.create(self._addresses.of(tenant), tenant, key))

    async def open_encrypted(self, tenant: Tenant, keys: Sequence[SecretBytes]) -> Profile:
        return self._profile(tenant, await self._encrypted.open(self._addresses.of(tenant), tenant, keys))

    async def rekey_encrypted(self, tenant: Tenant, keys: Sequence[SecretBytes], new: SecretBytes) -> None:
        await self._profiles.retire(tenant.id, timeout=self.root_profile.settings.shutdown_timeout)
        await uninterrupted(self._encrypted.rekey(self._addresses.of(tenant), tenant, keys, new))
        self._profiles.remove(tenant.id)  # it may have been opened meanwhile, and can read nothing any more

    async def tables(self, tenant: Tenant, key: SecretBytes | None = None) -> TenantTables:
        address = self._addresses.of(tenant)
        if tenant.encrypted:
            keys = self.root_profile.keys.own(tenant, key)
            cipher = await asyncio.to_thread(self._encrypted.cipher, address, tenant, keys)
            return TenantTables(synchronous(existing_sqlite(file_of(address))), cipher=cipher)
        url = existing_sqlite(file_of(address)) if is_sqlite(address.url) else address.admin
        return TenantTables(synchronous(url))

    def _profile(self, tenant: Tenant, engines: EnginePair) -> Profile:
        sessionmaker = partial(self._sessionmaker, tenant)
        return Profile(
            tenant,
            self.settings_of(tenant),
            sessionmaker(engines.engine),
            engines.dispose,
            engines.connections,
            Threads(engines, sessionmaker),
        )

    def _sessionmaker(self, tenant: Tenant, engine: AnyEngine) -> Callable[[], Any]:
        # From now on, not before: what was asked to open it would count as a trace, and cost the connection.
        leave_nothing(sync_engine(engine))
        new_session: Callable[[], Any] = stamped_sessionmaker(engine, self.root_profile.session_class, tenant.id)
        return new_session

    def _databases_of(self, tenant: Tenant) -> tuple[Databases, Address]:
        address = self._addresses.of(tenant)
        return self._databases[address.url.get_backend_name()], address


def _recipe(root_profile: RootProfile, pattern: URL | None) -> Recipe | None:
    settings = root_profile.settings
    if pattern is None or (settings.encrypt_tenants and is_sqlite(pattern)):
        return None
    place = pattern.render_as_string(hide_password=True)
    return Recipe(root_profile, pattern.get_dialect()(), "basic", place, settings.tenant_template)
