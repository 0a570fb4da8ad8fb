"""The `basic` manager: every tenant has a database of its own, opened while it is in use."""

from collections.abc import Callable
from functools import partial
from typing import Any

from ..tenant import Tenant
from .base import BaseMultitenantManager
from .databases import DATABASES, Address, Addresses, Databases, uninterrupted
from .hygiene import leave_nothing
from .isolation import stamped_sessionmaker
from .isolation.sessions import AnyEngine, sync_engine
from .profile import Profile, RootProfile, Threads


class MultitenantManager(BaseMultitenantManager):
    """Keeps each tenant in a database of its own, with an engine for each open profile."""

    def __init__(self, root_profile: RootProfile) -> None:
        super().__init__(root_profile)
        self._addresses = Addresses(root_profile)
        self._databases = {backend: kind(root_profile) for backend, kind in DATABASES.items()}

    def namespace(self, tenant: Tenant) -> str:
        return self._addresses.namespace(tenant)

    async def place(self, tenant: Tenant) -> Tenant:
        return await super().place(await self._addresses.place(tenant))

    async def create_tenant(self, tenant: Tenant) -> None:
        databases, address = self._databases_of(tenant)
        await uninterrupted(databases.create(address, tenant))

    async def drop_tenant(self, tenant: Tenant) -> None:
        databases, address = self._databases_of(tenant)
        await uninterrupted(databases.drop(address, tenant))

    async def open_profile(self, tenant: Tenant) -> Profile:
        databases, address = self._databases_of(tenant)
        engines = await databases.open(address, tenant)
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
