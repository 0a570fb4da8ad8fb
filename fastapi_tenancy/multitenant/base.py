"""What a multitenant manager does: it knows where a tenant's data is, creates it, opens it and removes it."""

from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from types import MappingProxyType
from typing import Any

from pydantic import SecretBytes

from ..errors import ConfigurationError, NamespaceMissingError
from ..events import EventKind, TenancyEvent
from ..tenant import Tenant
from .cache import ProfileCache
from .keys import GivenKey, needs_key
from .profile import Profile, RootProfile
from .tables import TenantTables


class BaseMultitenantManager(ABC):
    """Base of all managers; one instance serves all tenants of its type, and is made by the provider.

    A manager writes `namespace`, `create_tenant`, `drop_tenant` and `open_profile`; leasing, closing and retiring
    profiles is done here. One that can encrypt says so in `encrypts`, and writes what has `encrypted` in its name.

    Raises:
        ConfigurationError: the deployment's settings or tables do not allow this manager.
    """

    def __init__(self, root_profile: RootProfile) -> None:
        self.root_profile = root_profile
        settings = root_profile.settings
        self._profiles = ProfileCache[Profile](
            settings.profile_cache_size,
            idle_timeout=settings.profile_idle_timeout,
            clock=root_profile.clock,
            on_opened=partial(self._tell, EventKind.PROFILE_OPENED),
            on_closed=partial(self._tell, EventKind.PROFILE_CLOSED),
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

    def with_key(
        self, tenant: Tenant, key: GivenKey | None, encrypted: bool | None
    ) -> tuple[Tenant, SecretBytes | None]:
        """The new, placed tenant with what is to be recorded of its key, and the key; for `provision`.

        Args:
            tenant: with its key management mode.
            key: its own; None for a random one where it needs one.
            encrypted: whether its data are to be encrypted; None for `encrypt_tenants`, where it can be done.

        Raises:
            TenantKeyMissingError: none is given, and none can be made, as it would not be stored.
            InvalidTenantKeyError: what is given cannot be a key.
            ConfigurationError: it cannot be encrypted here, or its key cannot be sealed.
        """
        possible = self.encrypts(tenant)
        if encrypted and not possible:
            raise _cannot_encrypt(tenant)
        if encrypted is None:
            encrypted = possible and self.root_profile.settings.encrypt_tenants
        return self.root_profile.keys.with_key(replace(tenant, encrypted=encrypted), key)

    async def provision(self, tenant: Tenant, key: SecretBytes | None = None) -> None:
        """Create the namespace, encrypted where the tenant is to be; with its key where that is not stored."""
        if tenant.encrypted:
            await self.create_encrypted(tenant, self.root_profile.keys.own(tenant, key)[0])
        else:
            await self.create_tenant(tenant)

    def recipe(self) -> str | None:
        """A digest of what decides how a new tenant is made: what was made ahead fits while it is the same.

        None where no place can be made before its tenant is known.
        """
        return None

    async def revision(self, tenant: Tenant) -> str | None:
        """Of the tables that a new tenant gets now, as Alembic names it; None where no migrations are kept."""
        return self.root_profile.head

    async def migrated(self, tenant: Tenant) -> None:  # noqa: B027 - most need nothing
        """Take notice that migrations changed the tenant's tables: new ones that tenants share are put under guard.

        Raises:
            ConfigurationError: tenants could not be kept apart in them; the message says what to do.
        """

    @asynccontextmanager
    async def unserved(self, tenant: Tenant, key: SecretBytes | None = None) -> AsyncIterator[Profile]:
        """The profile of a tenant that is still being created, for the length of a block."""
        profile = await self._open_recorded(tenant, key)
        try:
            yield profile
        finally:
            await profile.close()

    def encrypts(self, tenant: Tenant) -> bool:
        """Whether it can keep the tenant's data encrypted."""
        return False

    async def create_encrypted(self, tenant: Tenant, key: SecretBytes) -> None:
        """As `create_tenant`, encrypted with the tenant's key."""
        raise _cannot_encrypt(tenant)

    async def open_encrypted(self, tenant: Tenant, keys: Sequence[SecretBytes]) -> Profile:
        """As `open_profile`, with whichever of the keys opens the tenant's data."""
        raise _cannot_encrypt(tenant)

    async def rekey_encrypted(self, tenant: Tenant, keys: Sequence[SecretBytes], new: SecretBytes) -> None:
        """Encrypt with `new` what one of `keys` opens. After a failure or a kill, calling it again ends the work."""
        raise _cannot_encrypt(tenant)

    async def tables(self, tenant: Tenant, key: SecretBytes | None = None) -> TenantTables:
        """Where the tenant's tables are; `key` is that of a tenant whose key is not stored.

        Raises:
            ConfigurationError: this manager does not tell.
            TenantKeyMissingError: they are encrypted, and `key` is missing or wrong.
            NamespaceMissingError: they are not where they should be.
        """
        raise ConfigurationError(
            f"{type(self).__name__} does not tell where the tables of {tenant.identifier!r} are; give it a method "
            "tables()"
        )

    async def open(self) -> None:  # noqa: B027 - a manager may have nothing to connect
        """Connect what all tenants share; called when the application starts."""

    @property
    def open_profiles(self) -> Iterable[Profile]:
        """The profiles that are open now."""
        return self._profiles.open_profiles

    def lease(self, tenant: Tenant, key: GivenKey | None = None) -> AbstractAsyncContextManager[Profile]:
        """The tenant's profile, opened if need be, and not closed inside the block; raises as `open_profile` does.

        Args:
            tenant: whose.
            key: of a tenant whose key is not stored; it has to be there each time, and else it is not looked at.

        Raises:
            TenantKeyMissingError: the key is missing or, as `WrongTenantKeyError`, wrong.
        """
        own = self.root_profile.keys.given(tenant, key) if needs_key(tenant) else None
        return self._profiles.lease(tenant.id, partial(self._open_recorded, tenant, own), tenant.version)

    async def get_tenant_profile(
        self,
        tenant: Tenant,
        extra_settings: Mapping[str, Any] | None = None,
        *,
        provision: bool = False,
        key: GivenKey | None = None,
    ) -> Profile:
        """The tenant's opened profile, which the manager may close when others need the room: prefer `lease`.

        Args:
            tenant: whose profile.
            extra_settings: laid over the profile's settings, for this caller only.
            provision: create the namespace first.
            key: as `lease` takes it.
        """
        if provision:
            await self.provision(tenant, self.root_profile.keys.given(tenant, key) if needs_key(tenant) else None)
        async with self.lease(tenant, key) as profile:
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

    def forget_profile(self, tenant_id: str) -> None:
        """Close the tenant's profile as soon as nobody uses it, since another process changed or deleted the tenant."""
        self._profiles.remove(tenant_id)

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

    def check_namespace(self, tenant: Tenant) -> None:
        """Look whether the settings still lead to where the tenant's data was created.

        Raises:
            NamespaceMissingError: a changed setting would show the tenant an empty place, and let it write there.
        """
        expected = self.namespace(tenant)
        if tenant.namespace != expected:
            raise NamespaceMissingError(
                f"the data of tenant {tenant.identifier!r} was created as {tenant.namespace!r}, and the settings now "
                f"lead to {expected!r}; restore manager_type, or set the tenant's own"
            )

    def _tell(self, kind: EventKind, profile: Profile) -> None:
        events = self.root_profile.events
        if events.is_heard(kind):
            events.tell_soon(TenancyEvent(kind=kind, tenant=profile.tenant, at=datetime.now(UTC)))

    async def _open_recorded(self, tenant: Tenant, key: SecretBytes | None) -> Profile:
        self.check_namespace(tenant)
        if tenant.encrypted:
            profile = await self.open_encrypted(tenant, self.root_profile.keys.own(tenant, key))
        else:
            profile = await self.open_profile(tenant)
        profile.services = self.root_profile.services.of(profile)
        return profile


def _cannot_encrypt(tenant: Tenant) -> ConfigurationError:
    return ConfigurationError(
        f"the tenant {tenant.identifier!r} cannot be encrypted where it is kept; only the basic manager encrypts, in "
        "SQLite files"
    )
