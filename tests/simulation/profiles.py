"""A manager whose tenants have no data, and whose profiles know how they are treated."""

import asyncio
from collections.abc import Callable
from contextvars import ContextVar
from typing import Any

from fastapi_tenancy import Tenant
from fastapi_tenancy.errors import NamespaceMissingError
from fastapi_tenancy.multitenant import BaseMultitenantManager, Profile
from fastapi_tenancy.multitenant.profile import RootProfile

from .process import OWNER, Process
from .weather import Fate, Weather

BEGUN: ContextVar[float] = ContextVar("simulation.begun")
"""When the request that is being served began."""


class Watcher:
    """What a manager tells, and where it lives.

    Attributes:
        namespaces: that exist.
        weather: there.
        opens: called with a tenant before its profile is opened.
        complain: called with what must not be.
    """

    def __init__(
        self,
        namespaces: set[str],
        weather: Weather,
        opens: Callable[[Process, Tenant], None],
        complain: Callable[[str], None],
    ) -> None:
        self.namespaces = namespaces
        self.weather = weather
        self.opens = opens
        self.complain = complain


WATCHER: ContextVar[Watcher] = ContextVar("simulation.watcher")


class SimulatedProfile(Profile):
    """Knows who uses it."""

    __slots__ = ("closings", "users", "watched")

    def __init__(self, tenant: Tenant, settings: Any, watched: tuple[Process, Watcher]) -> None:
        super().__init__(tenant, settings, lambda: None)  # type: ignore[arg-type, return-value]  # it has no sessions
        self.users = 0
        self.closings = 0
        self.watched = watched

    async def close(self) -> None:
        process, watcher = self.watched
        self.closings += 1
        if process.is_alive and self.closings > 1:
            watcher.complain(f"{self!r} is closed {self.closings} times")
        if process.is_alive and self.users:
            watcher.complain(f"{self!r} is closed while {self.users} use it")
        await super().close()
        await asyncio.sleep(watcher.weather.pause(0.0005, 0.1))


class SimulatedManager(BaseMultitenantManager):
    """Keeps tenants' places in a set."""

    def __init__(self, root_profile: RootProfile) -> None:
        super().__init__(root_profile)
        process = OWNER.get()
        assert process is not None
        self._process = process
        self._watcher = WATCHER.get()
        self.opened: list[SimulatedProfile] = []

    def namespace(self, tenant: Tenant) -> str:
        return f"simulated/{tenant.id}"

    async def create_tenant(self, tenant: Tenant) -> None:
        await self._go()
        self._watcher.namespaces.add(self.namespace(tenant))
        await self._go()

    async def drop_tenant(self, tenant: Tenant) -> None:
        await self._go()
        self._watcher.namespaces.discard(self.namespace(tenant))
        await self._go()

    async def open_profile(self, tenant: Tenant) -> Profile:
        self._watcher.opens(self._process, tenant)
        await self._go()
        if self.namespace(tenant) not in self._watcher.namespaces:
            raise NamespaceMissingError(f"the data of {tenant.identifier!r} are gone")
        profile = SimulatedProfile(tenant, self.settings_of(tenant), (self._process, self._watcher))
        self.opened.append(profile)
        return profile

    async def _go(self) -> None:
        """To the tenants' server.

        Raises:
            ConnectionError: it is not to be reached.
        """
        await self._process.reach()
        call = self._watcher.weather.call(self._process)
        await asyncio.sleep(call.there)
        if call.fate in (Fate.LOST, Fate.UNCERTAIN):
            raise ConnectionError("the connection was lost")
        await self._process.reach()
