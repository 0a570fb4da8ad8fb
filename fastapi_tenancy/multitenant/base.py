"""What a multitenant manager does: it knows where a tenant's data is, creates it, opens it and removes it."""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from contextlib import AbstractAsyncContextManager
from types import MappingProxyType
from typing import Any

from ..errors import NamespaceMissingError
from ..tenant import Tenant
from .profile import Profile, RootProfile


class BaseMultitenantManager(ABC):
    """Base of all managers; one instance serves all tenants of its type, and is made by the provider.

    Raises:
        ConfigurationError: the deployment's settings or tables do not allow this manager.
    """

    def __init__(self, root_profile: RootProfile) -> None:
        self.root_profile = root_profile

    @property
    @abstractmethod
    def open_profiles(self) -> Iterable[Profile]:
        """The profiles that are open now."""

    @abstractmethod
    def namespace(self, tenant: Tenant) -> str:
        """The name of the place where the tenant's data is, the same for ever and of no other tenant.

        Raises:
            ConfigurationError: this manager has no place for the tenant.
        """

    @abstractmethod
    async def create_tenant(self, tenant: Tenant) -> None:
        """Create the namespace with its tables. After a failure or a kill, calling it again ends the work.

        Raises:
            NamespaceExistsError: something is there that is not the tenant's; it was not touched.
        """

    @abstractmethod
    async def update_tenant(self, tenant: Tenant) -> None:
        """Take notice that the tenant changed: what is leased goes on, the next lease sees the change."""

    @abstractmethod
    async def remove_tenant(self, tenant: Tenant, *, drop_data: bool) -> None:
        """Close the tenant and, with `drop_data`, destroy its namespace; calling it again ends the work.

        Raises:
            NamespaceExistsError: what is there is not the tenant's; it was not touched.
        """

    @abstractmethod
    def lease(self, tenant: Tenant) -> AbstractAsyncContextManager[Profile]:
        """The tenant's profile, opened if need be, and not closed inside the block.

        Raises:
            NamespaceMissingError: the tenant's data is not where it should be.
        """

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

    async def remove_tenant_profile(self, profile: Profile) -> None:
        """Close a profile as soon as nobody uses it; its data stays."""
        await self.update_tenant(profile.tenant)

    async def open(self) -> None:  # noqa: B027 - a manager may have nothing to connect
        """Connect what all tenants share; called when the application starts."""

    async def close_idle(self) -> int:
        """Close what nobody has used for `profile_idle_timeout`, and return how many profiles that were."""
        return 0

    async def aclose(self) -> None:  # noqa: B027 - nor to close
        """Close everything, after waiting `shutdown_timeout` for what is leased."""

    def stats(self) -> dict[str, int]:
        return {"open": len(list(self.open_profiles))}

    def _settings_of(self, tenant: Tenant) -> Mapping[str, Any]:
        return MappingProxyType({**self.root_profile.settings.default_settings, **tenant.settings})

    def _check_recorded(self, tenant: Tenant) -> None:
        """Refuse a tenant whose data was created elsewhere, instead of showing it an empty place."""
        expected = self.namespace(tenant)
        if tenant.namespace != expected:
            raise NamespaceMissingError(
                f"the data of tenant {tenant.identifier!r} was created as {tenant.namespace!r}, and the settings now "
                f"lead to {expected!r}; restore manager_type, or set the tenant's own"
            )
