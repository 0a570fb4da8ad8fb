"""What a multitenant manager does: it knows where a tenant's data is, creates it, opens it and removes it."""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import replace
from functools import partial
from types import MappingProxyType
from typing import Any

from ..errors import NamespaceMissingError
from ..tenant import Tenant
from .cache import ProfileCache
from .profile import Profile, RootProfile


class BaseMultitenantManager(ABC):
    """Base of all managers; one instance serves all tenants of its type, and is made by the provider.

    A manager writes `namespace`, `create_tenant`, `drop_tenant` and `open_profile`; leasing, closing and retiring
    profiles is done here.

    Raises:
        ConfigurationError: the deployment's settings or tables do not allow this manager.
    """

    def __init__(self, root_profile: RootProfile) -> None:
        self.root_profile = root_profile
        settings = root_profile.settings
        self._profiles = ProfileCache[Profile](
            settings.profile_cache_size, idle_timeout=settings.profile_idle_timeout, clock=root_profile.clock
        )

    @abstractmethod
    def namespace(self, tenant: Tenant) -> str:
        """The name of the place where the tenant's data is, the same for ever and of no other tenant.

        Raises:
            ConfigurationError: this manager has no place for the tenant.
        """

    async def place(self, tenant: Tenant) -> Tenant:
        """The new tenant with its namespace, and what else is to be recorded of its place before anything is created.

        Raises:
            ConfigurationError: this manager has no place for the tenant.
        """
        return replace(tenant, namespace=self.namespace(tenant))

    @abstractmethod
    async def create_tenant(self, tenant: Tenant) -> None:
        """Create the namespace with its tables. After a failure or a kill, calling it again ends the work.

        Raises:
            NamespaceExistsError: something is there that is not the tenant's; it was not touched.
        """

    @abstractmethod
    async def drop_tenant(self, tenant: Tenant) -> None:
        """Destroy the namespace, which nobody uses any more; calling it again ends the work.

        Raises:
            NamespaceExistsError: what is there is not the tenant's; it was not touched.
        """

    @abstractmethod
    async def open_profile(self, tenant: Tenant) -> Profile:
        """Open the tenant's data; called once however many requests ask for the tenant.

        Raises:
            NamespaceMissingError: the data is not where it should be.
        """

    async def open(self) -> None:  # noqa: B027 - a manager may have nothing to connect
        """Connect what all tenants share; called when the application starts."""

    @property
    def open_profiles(self) -> Iterable[Profile]:
        """The profiles that are open now."""
        return self._profiles.open_profiles

    def lease(self, tenant: Tenant) -> AbstractAsyncContextManager[Profile]:
        """The tenant's profile, opened if need be, and not closed inside the block; raises as `open_profile` does."""
        opened = self._profiles.peek(tenant.id)
        if opened is not None and opened.tenant.version < tenant.version:
            self._profiles.remove(tenant.id)
        return self._profiles.lease(tenant.id, partial(self._open_recorded, tenant))

    async def get_tenant_profile(
        self, tenant: Tenant, extra_settings: Mapping[str, Any] | None = None, *, provision: bool = False
    ) -> Profile:
        """The tenant's opened profile, which the manager may close when others need the room: prefer `lease`.

        Args:
            tenant: whose profile.
            extra_settings: laid over the profile's settings, for this caller only.
            provision: create the namespace first.
        """
        if provision:
            await self.create_tenant(tenant)
        async with self.lease(tenant) as profile:
            return profile.with_settings(extra_settings) if extra_settings else profile

    async def update_tenant(self, tenant: Tenant) -> None:
        """Take notice that the tenant changed: what is leased goes on, the next lease sees the change."""
        self._profiles.remove(tenant.id)

    async def remove_tenant(self, tenant: Tenant, *, drop_data: bool) -> None:
        """Close the tenant, after at most `shutdown_timeout` seconds, and with `drop_data` destroy its namespace."""
        await self._profiles.retire(tenant.id, timeout=self.root_profile.settings.shutdown_timeout)
        if drop_data:
            await self.drop_tenant(tenant)

    async def remove_tenant_profile(self, profile: Profile) -> None:
        """Close a profile as soon as nobody uses it; its data stays."""
        self._profiles.remove(profile.tenant.id)

    async def close_idle(self) -> int:
        """Close what nobody has used for `profile_idle_timeout`, and return how many profiles that were."""
        return await self._profiles.close_idle()

    async def aclose(self) -> None:
        """Close everything, after waiting `shutdown_timeout` for what is leased."""
        await self._profiles.aclose(timeout=self.root_profile.settings.shutdown_timeout)

    def stats(self) -> dict[str, int]:
        """What `ProfileCache` counts, and the connections that are open now."""
        return {**self._profiles.stats(), "connections": sum(each.connections() for each in self.open_profiles)}

    def settings_of(self, tenant: Tenant) -> Mapping[str, Any]:
        """The deployment's `default_settings`, overlaid by the tenant's own."""
        return MappingProxyType({**self.root_profile.settings.default_settings, **tenant.settings})

    async def _open_recorded(self, tenant: Tenant) -> Profile:
        expected = self.namespace(tenant)
        if tenant.namespace != expected:
            # Else a changed setting would show the tenant an empty place, and let it write there.
            raise NamespaceMissingError(
                f"the data of tenant {tenant.identifier!r} was created as {tenant.namespace!r}, and the settings now "
                f"lead to {expected!r}; restore manager_type, or set the tenant's own"
            )
        return await self.open_profile(tenant)
