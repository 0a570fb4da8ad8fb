"""What an operator does: create, change and delete tenants, give them keys and tokens, and look up who did it."""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import URL

from .directory import TenantDirectory
from .errors import ConfigurationError, TenantConflictError
from .lifecycle import OnReserved, TenantLifecycle
from .multitenant import DEFAULT_IMPERSONATION, IssuedToken, MultitenantTokenManager
from .multitenant.keys import GivenKey, KeyManagementMode
from .rekeying import TenantRekeying
from .store import Resealed, RetainedNamespace, SealingStore, TenantStore
from .tenant import Tenant, TenantStatus, check_identifier, check_name, check_settings
from .trail import AuditPage, AuditTrail


@dataclass(frozen=True, slots=True)
class TenantPage:
    """Some tenants in the order of their identifiers.

    Attributes:
        items: the tenants.
        next: what `after` takes to give the next page; None on the last.
    """

    items: Sequence[Tenant]
    next: str | None


class Administration(ABC):
    """The acts of a `Tenancy`, which makes what they need."""

    store: TenantStore
    directory: TenantDirectory
    _lifecycle: TenantLifecycle
    _rekeying: TenantRekeying
    _trail: AuditTrail | None

    @property
    @abstractmethod
    def tokens(self) -> MultitenantTokenManager: ...

    async def create_tenant(
        self,
        identifier: str,
        *,
        name: str | None = None,
        settings: Mapping[str, Any] | None = None,
        manager_type: str | None = None,
        database_url: str | URL | None = None,
        key_management_mode: KeyManagementMode = "managed",
        key: GivenKey | None = None,
        encrypted: bool | None = None,
        on_reserved: OnReserved | None = None,
    ) -> Tenant:
        """Create a tenant with its tables, and activate it.

        Where an earlier call was killed half-way, this one takes over, 10 s after that one was last heard of.

        Args:
            identifier: its slug; 1 to 63 of a-z, 0-9 and "-".
            name: what people read; the identifier if None.
            settings: the application's own values, JSON.
            manager_type: the manager that keeps it; the deployment's default if None.
            database_url: where it is kept; the place derived from the settings if None.
            key_management_mode: "managed" stores its key, if it has one, sealed with `encryption_keys`; "unmanaged"
                does not, and whoever opens the tenant has to bring it.
            key: its own, 32 bytes in URL-safe base64; None for none, or for a random one where its data are encrypted.
            encrypted: encrypt its data with its key, which the basic manager can do in SQLite files; None for
                `encrypt_tenants`, where it can be done.
            on_reserved: awaited with the tenant as soon as its identifier is taken, before its data are created; what
                it raises ends the creation.

        Raises:
            InvalidIdentifierError: `identifier` cannot be one.
            InvalidTenantError: `name` or `settings` cannot be stored.
            TenantExistsError: `identifier` is taken.
            NamespaceExistsError: `database_url` is another tenant's, or there is something already.
            TenantKeyMissingError: an unmanaged tenant gets no `key`.
            InvalidTenantKeyError: `key` cannot be one.
            ConfigurationError: `manager_type` is unknown or does not fit the deployment, the tenant cannot be
                encrypted, or its key not be sealed.
        """
        url = database_url.render_as_string(hide_password=False) if isinstance(database_url, URL) else database_url
        draft = self._lifecycle.draft(
            check_identifier(identifier),
            name=check_name(identifier if name is None else name),
            settings=check_settings(settings or {}),
            manager_type=manager_type,
            database_url=url,
            key_management_mode=key_management_mode,
        )
        return await self._lifecycle.create(draft, on_reserved, key=key, encrypted=encrypted)

    async def get_tenant(self, identifier: str) -> Tenant:
        """The tenant as the store has it now.

        Raises:
            TenantNotFoundError: there is none.
        """
        return await self.directory.read(identifier)

    async def list_tenants(
        self,
        limit: int = 100,
        after: str | None = None,
        status: TenantStatus | None = None,
        q: str | None = None,
    ) -> TenantPage:
        """Some tenants in the order of their identifiers.

        Args:
            limit: at most so many, 1 to 1000.
            after: the identifier beyond which they begin; None for the first.
            status: only these.
            q: only those whose identifier or name holds this text, in whatever letter case.

        Raises:
            InvalidIdentifierError: `after` cannot be an identifier.
        """
        if not 1 <= limit <= 1000:
            raise ValueError(f"limit is {limit}; give 1 to 1000")
        found = await self.directory.page(limit + 1, None if after is None else check_identifier(after), status, q)
        items = found[:limit]
        return TenantPage(items, items[-1].identifier if len(found) > limit else None)

    async def update_tenant(
        self,
        current: str | Tenant,
        /,
        *,
        name: str | None = None,
        identifier: str | None = None,
        settings: Mapping[str, Any] | None = None,
        version: int | None = None,
    ) -> Tenant:
        """Change what is given; `settings` replace the old ones as a whole.

        Args:
            current: the identifier that it has now, or the tenant as it was read: then the change is refused where
                somebody else changed it since.
            name: what people read.
            identifier: its new slug.
            settings: the application's own values.
            version: the `Tenant.version` that the change was decided on; None for whichever is there.

        Raises:
            TenantNotFoundError: there is no tenant `current`.
            TenantConflictError: somebody else changed it since; nothing was written.
            TenantExistsError: the new `identifier` is taken.
        """
        changes = {
            "name": None if name is None else check_name(name),
            "identifier": None if identifier is None else check_identifier(identifier),
            "settings": None if settings is None else check_settings(settings),
        }
        given = {field: value for field, value in changes.items() if value is not None}
        return await self._lifecycle.update(await self._as_read(current, version), **given)

    async def suspend_tenant(self, tenant: str | Tenant, *, version: int | None = None) -> Tenant:
        """Refuse its requests from now on; in this process at once, in others as soon as the bus tells them.

        Its arguments are as those of `delete_tenant`, and so are its errors.
        """
        return await self._lifecycle.set_status(await self._as_read(tenant, version), TenantStatus.SUSPENDED)

    async def activate_tenant(self, tenant: str | Tenant, *, version: int | None = None) -> Tenant:
        """Serve it again; arguments and errors are as with `suspend_tenant`."""
        return await self._lifecycle.set_status(await self._as_read(tenant, version), TenantStatus.ACTIVE)

    async def delete_tenant(self, tenant: str | Tenant, *, drop_data: bool = False, version: int | None = None) -> None:
        """Delete a tenant; its identifier is free afterwards. Calling it again ends a deletion that was cut short.

        Args:
            tenant: its identifier, or the tenant as it was read: then nothing is done where somebody else changed it.
            version: the `Tenant.version` that it was decided on; None for whichever is there.
            drop_data: destroy its data as well. Else they are kept, are listed by `retained_namespaces`, and are never
                handed to another tenant.

        Raises:
            TenantNotFoundError: there is none.
            TenantConflictError: somebody else changed it since, or is changing it; nothing was done.
        """
        await self._lifecycle.delete(await self._as_read(tenant, version), drop_data=drop_data)

    async def retained_namespaces(self) -> Sequence[RetainedNamespace]:
        """Where the data of tenants are that were deleted without `drop_data`."""
        return await self.directory.retained()

    async def rekey_tenant(
        self, identifier: str, *, key: GivenKey | None = None, new_key: GivenKey | None = None
    ) -> Tenant:
        """Give a tenant another key, and encrypt its data with it if they are encrypted.

        Where a call was cut short, at whatever moment, the tenant opens with the old key or the new one, and the same
        call ends the work. Requests that are under way in the meantime may get a 503.

        Args:
            identifier: whose.
            key: the one that it has, where that is not stored.
            new_key: the other one; None for a random one, where it is stored.

        Raises:
            TenantKeyMissingError: its key is not stored, and one of the two is missing or wrong.
            InvalidTenantKeyError: `new_key` cannot be a key.
            TenantConflictError: somebody else changed the tenant meanwhile, or it is being created or deleted.
            TenantUnavailableError: others write to its file all the time.
            ConfigurationError: it has no key.
        """
        return await self._rekeying.rekey(await self.directory.read(identifier), key, new_key)

    async def create_auth_token(
        self,
        identifier: str,
        *,
        name: str = "auth token",
        scopes: Iterable[str] = (),
        expires_in: float | None = None,
        key: GivenKey | None = None,
    ) -> str:
        """A new token of a tenant, as text; `tokens.create` gives its id as well, and raises the same."""
        return (await self.tokens.create(identifier, name=name, scopes=scopes, expires_in=expires_in, key=key)).token

    async def impersonate(
        self,
        identifier: str,
        *,
        reason: str,
        actor: str | None = None,
        scopes: Iterable[str] = (),
        expires_in: float = DEFAULT_IMPERSONATION,
    ) -> IssuedToken:
        """A token with which a support person may be a tenant; `redeem` exchanges it, once.

        Args:
            identifier: the tenant.
            reason: for the audit trail, 1 to 500 characters.
            actor: who it is; None takes the one of `acting_as`.
            scopes: what the session may do, as a token's.
            expires_in: seconds until it all ends, at most 900.

        Raises:
            ActorMissingError: nobody is named.
            ValueError: the reason, a scope or the life cannot be.
        """
        return await self.tokens.impersonations.issue(
            identifier, reason=reason, actor=actor, scopes=scopes, expires_in=expires_in
        )

    async def redeem(self, token: str) -> IssuedToken:
        """A tenant's bearer token for what `impersonate` gave, until the same moment; one call of many succeeds.

        Raises:
            InvalidTokenError: it was redeemed already, has expired, is revoked, or was never made.
        """
        return await self.tokens.impersonations.redeem(token)

    async def reseal(self) -> Resealed:
        """Seal all that the store keeps sealed with the newest key, also what it still has in plain.

        It can run while the application does, and where it is cut short, the next call goes on. The tenants do not
        change by it, so no cache has to know.

        Raises:
            ConfigurationError: there are no `encryption_keys`, or the store that was given seals nothing.
            StoreUnavailableError: the store failed.
        """
        if not isinstance(self.store, SealingStore):
            raise ConfigurationError(f"{type(self.store).__name__} seals nothing; give it the methods of SealingStore")
        audit = [] if self._trail is None else [self._trail.entry("resealed")]
        return await self.directory.ask(self.store.reseal(audit), patiently=True)

    async def audit_trail(self, identifier: str | None = None, limit: int = 100, after: int | None = None) -> AuditPage:
        """What was done to tenants, or to one of them, the newest first.

        Args:
            identifier: whose; of a tenant that is gone, and of all that have had this identifier, if none has it now.
            limit: at most so many, 1 to 1000.
            after: the `next` of a page.

        Raises:
            TenantNotFoundError: there is none, and was none.
            ConfigurationError: the trail goes elsewhere.
        """
        return await self._audited().page(identifier, limit, after)

    async def prune_audit(self, *, before: datetime) -> int:
        """Forget the entries that are older, and return how many they were; that is an entry, too."""
        return await self._audited().prune(before)

    async def _as_read(self, tenant: str | Tenant, version: int | None) -> Tenant:
        """What a change is to be written over; the store then refuses it if it is not there any more."""
        found = tenant if isinstance(tenant, Tenant) else await self.directory.read(tenant)
        if version is not None and found.version != version:
            raise TenantConflictError(f"the tenant {found.identifier!r} is not in version {version}; read it again")
        return found

    def _audited(self) -> AuditTrail:
        if self._trail is None:
            raise ConfigurationError(
                "the audit trail is not in the store; read it where Tenancy(audit=…) sends it, or give the store the "
                "methods of AuditStore"
            )
        return self._trail
