"""Pick the manager that serves a tenant."""

import asyncio
import pkgutil
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from types import MappingProxyType
from typing import Any, ClassVar

from ..errors import ConfigurationError
from ..settings import TenancySettings
from ..tenant import Tenant
from .base import BaseMultitenantManager
from .profile import RootProfile


class MultitenantManagerProvider:
    """Makes each manager once, when the first tenant needs it.

    Attributes:
        MANAGER_TYPES: the built-in names, and the dotted path that each stands for.
    """

    MANAGER_TYPES: ClassVar[Mapping[str, str]] = MappingProxyType(
        {
            "basic": "fastapi_tenancy.multitenant.manager.MultitenantManager",
            "shared-profile": "fastapi_tenancy.multitenant.shared_profile_manager.SharedProfileMultitenantManager",
        }
    )

    def __init__(self, root_profile: RootProfile) -> None:
        self.root_profile = root_profile
        self._managers: dict[str, BaseMultitenantManager] = {}

    @property
    def managers(self) -> Mapping[str, BaseMultitenantManager]:
        """The managers made so far, by dotted path."""
        return MappingProxyType(self._managers)

    def provide(self, settings: TenancySettings | Mapping[str, Any]) -> BaseMultitenantManager:
        """The manager that `manager_type` in `settings` names, a built-in name or a dotted path of one's own.

        Settings that name none get the deployment's default.

        Raises:
            ConfigurationError: there is no such manager, or it does not fit the deployment's settings.
        """
        given = settings.manager_type if isinstance(settings, TenancySettings) else settings.get("manager_type")
        name = given or self.root_profile.settings.manager_type
        path = self.MANAGER_TYPES.get(name.lower(), name)
        if path not in self._managers:
            self._managers[path] = self._load(name, path)(self.root_profile)
        return self._managers[path]

    def for_tenant(self, tenant: Tenant) -> BaseMultitenantManager:
        return self.provide({"manager_type": tenant.manager_type})

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Open the default manager, close idle profiles in the meantime, and close everything at the end."""
        sweeping = asyncio.create_task(self._close_idle())
        try:
            await self.provide({}).open()
            yield
        finally:
            sweeping.cancel()
            await self.aclose()

    async def aclose(self) -> None:
        while self._managers:
            _, manager = self._managers.popitem()
            await manager.aclose()

    async def _close_idle(self) -> None:
        timeout = self.root_profile.settings.profile_idle_timeout
        while timeout is not None:
            await asyncio.sleep(timeout / 4)
            for manager in list(self._managers.values()):
                await manager.close_idle()

    def _load(self, name: str, path: str) -> type[BaseMultitenantManager]:
        choices = f"use one of {', '.join(self.MANAGER_TYPES)}, or the dotted path of a BaseMultitenantManager"
        try:
            found = pkgutil.resolve_name(path)
        except (ImportError, AttributeError, ValueError) as error:
            raise ConfigurationError(f"no manager is called {name!r} ({error}); {choices}") from error
        if not (isinstance(found, type) and issubclass(found, BaseMultitenantManager)):
            raise ConfigurationError(f"{name!r} is not a manager; {choices}")
        return found
