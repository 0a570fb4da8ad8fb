"""The tenants' tokens, and a look at one that every request can afford."""

import logging
import time
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from hmac import compare_digest

from ...acts import Acts
from ...bearer import Recent, digest_of
from ...bus import Change
from ...cache import ABSENT
from ...errors import InvalidTokenError, TokenNotFoundError
from ...events import EventKind
from ...settings import TenancySettings
from ...store import TokenRecord, TokenStore
from ...store.calls import one_load
from ...store.token import LAST_USE_EVERY, is_token_id
from ...tenant import Tenant
from ..finds_tenants import FindsTenants
from ..keys import GivenKey, TenantKeys, needs_key
from .formats import TokenFormats, carried_by, new_token_id, opaque_token
from .impersonation import Impersonations
from .issue import IssuedToken, TokenPage, checked_scopes
from .last_use import LastUses
from .memory import TOKENS_PER_TENANT, Records

logger = logging.getLogger(__name__)


@dataclass(slots=True)
class _Seen:
    """A text that was found to be the token of a record, which may be revoked since, and when its use is due again."""

    token_id: str
    note_at: float


class MultitenantTokenManager:
    """The tenants' own tokens; tenants are named by their identifiers.

    A token is valid while the store has its record. A token that is revoked is refused in this process at once, and in
    others as soon as the bus tells them, or within `cache_ttl`.

    Args:
        store: where the records are kept.
        tenants: the tenants' directory.
        settings: of the deployment.
        now: the time of day in UTC.
        clock: seconds that only go forward, for what is remembered.
        acts: for the audit trail and events; None for neither.

    Attributes:
        impersonations: what `Tenancy.impersonate` and `Tenancy.redeem` do.
        on_change: is told what other processes have to forget; None for nobody.

    Raises:
        ConfigurationError: `token_secrets` cannot be used, or PyJWT is not installed.
    """

    def __init__(
        self,
        store: TokenStore,
        tenants: FindsTenants,
        settings: TenancySettings,
        now: Callable[[], datetime],
        clock: Callable[[], float] = time.monotonic,
        acts: Acts | None = None,
    ) -> None:
        self._store = store
        self._tenants = tenants
        self._remembered_tenant = tenants.remembered_by_id
        self._now = now
        self._acts = acts or Acts(now=now)
        self.impersonations = Impersonations(store, tenants, now, self._acts)
        self._clock = clock
        self._formats = TokenFormats(settings.token_secrets)
        self._keys = TenantKeys(settings.encryption_keys)
        self._records = Records(settings, now, clock)
        self._recall = self._records.known.recall
        self._seen = Recent[bytes, _Seen](settings.cache_size * TOKENS_PER_TENANT)
        self.on_change: Callable[[Change], None] | None = None
        self._uses = LastUses(lambda uses: tenants.ask(store.note_token_uses(uses)), now)
        self._loads = 0

    async def create(
        self,
        tenant: str,
        *,
        name: str,
        scopes: Iterable[str] = (),
        expires_in: float | None = None,
        opaque: bool = False,
        key: GivenKey | None = None,
    ) -> IssuedToken:
        """Make a token for a tenant, signed by the first of `token_secrets`; opaque where there are none.

        Args:
            tenant: whose.
            name: what people call it, 1 to 200 characters.
            scopes: what it allows, in the application's own words; at most 32 of at most 64 characters, without spaces.
            expires_in: seconds, at most ten years; None for a token that is valid until it is revoked.
            opaque: make a random text in any case.
            key: of a tenant whose key is not stored; the token then carries it, sealed with `encryption_keys`, and
                opens the tenant. Of other tenants it is not looked at.

        Raises:
            TenantNotFoundError: there is no such tenant.
            WrongTenantKeyError: `key` is not the tenant's.
            ConfigurationError: `key` cannot be sealed, since there are no `encryption_keys`.
            ValueError: the name, a scope or the life cannot be.
        """
        granted = checked_scopes(name, scopes, expires_in)
        owner = await self._tenants.read(tenant)
        carried = None if key is None or not needs_key(owner) else self._keys.carried(owner, key)
        created_at = self._now()
        token_id = new_token_id(created_at)
        expires_at = None if expires_in is None else created_at + timedelta(seconds=expires_in)
        if opaque:
            token = opaque_token(token_id, carried)
        else:
            token = self._formats.signed(token_id, owner.id, granted, created_at, expires_at, carried)
        record = TokenRecord(
            token_id=token_id,
            tenant_id=owner.id,
            name=name,
            scopes=granted,
            digest=digest_of(token).hex(),
            created_at=created_at,
            expires_at=expires_at,
        )
        details = {"token_id": token_id, "name": name, "scopes": sorted(granted), "expires_in": expires_in}
        act = await self._acts.act({EventKind.TOKEN_CREATED: details}, owner).ask()
        await self._tenants.ask(self._store.add_token(record, audit=act.entries))
        logger.info("token created", extra={"tenant": owner.id, "token_id": token_id})
        await act.done()
        return IssuedToken(token_id, token)

    async def revoke(self, tenant: str, token_id: str) -> None:
        """Refuse a token from now on, and forget it.

        Raises:
            TokenNotFoundError: the tenant has no such token.
            TenantNotFoundError: there is no such tenant.
        """
        owner = await self._tenants.read(tenant)
        unknown = TokenNotFoundError(f"{tenant!r} has no token of that id; list its tokens to see what is there")
        if not is_token_id(token_id):
            raise unknown
        act = await self._acts.act({EventKind.TOKEN_REVOKED: {"token_id": token_id}}, owner).ask()
        try:
            removed = await self._tenants.ask(self._store.remove_token(owner.id, token_id, audit=act.entries))
        finally:
            # After the write, not before: a load that read the old row in between is then overtaken, and not kept.
            await self.forget(token_id)
            if self.on_change is not None:
                self.on_change(Change.of_token(token_id))
        if not removed:
            raise unknown
        logger.info("token revoked", extra={"tenant": owner.id, "token_id": token_id})
        await act.done()

    async def verify(self, token: str) -> TokenRecord:
        """The record of a valid token, in whatever status its tenant is; from memory, or loaded once.

        Raises:
            InvalidTokenError: it is malformed, forged, expired or revoked, or its tenant is gone.
            StoreUnavailableError: the store failed or took longer than `store_timeout`.
        """
        return (await self._find(token))[0]

    async def key_in(self, token: str, tenant: Tenant) -> GivenKey | None:
        """The key that a valid token of the tenant carries; None for every other token.

        Raises:
            WrongTenantKeyError: it does not open, since the key that has sealed it is no longer listed.
        """
        try:
            record = await self.verify(token)
        except InvalidTokenError:
            return None
        sealed = carried_by(token) if record.tenant_id == tenant.id else None
        return None if sealed is None else self._keys.uncarried(tenant, sealed)

    def tenant_of(self, token: str) -> Tenant | Awaitable[Tenant]:
        """As `find_tenant`; at once where the token is remembered, and otherwise to be awaited."""
        found = self._remembered(digest_of(token))
        return self.find_tenant(token) if found is None else found[1]

    async def find_tenant(self, token: str) -> Tenant:
        """The tenant of a valid token, in any status; raises as `verify` does."""
        return (await self._find(token))[1]

    async def forget(self, token_id: str | None = None) -> None:
        """Read the token from the store the next time; every token if None."""
        if token_id is None:
            await self._records.flush()
        else:
            await self._records.clear(token_id)

    async def forget_all(self) -> None:
        """Forget what is remembered, after what is still to be written was written."""
        await self._uses.aclose()
        self._seen.clear()
        await self.forget()

    def stats(self) -> dict[str, int]:
        return {
            "seen": len(self._seen),
            "known": self._records.known.size(),
            "unknown": self._records.unknown.size(),
            "loads": self._loads,
        }

    async def list(self, tenant: str, limit: int = 100, after: str | None = None) -> TokenPage:
        """At most `limit` tokens (1 to 1000) of a tenant beyond the id `after`, in the order of their creation.

        Those that have expired are listed until the tenant gets a new one.
        """
        if not 1 <= limit <= 1000:
            raise ValueError(f"limit is {limit}; give 1 to 1000")
        owner = await self._tenants.read(tenant)
        found = await self._tenants.ask(self._store.list_tokens(owner.id, limit + 1, after))
        items = found[:limit]
        return TokenPage(items, items[-1].token_id if len(found) > limit else None)

    def _remembered(self, digest: bytes) -> tuple[TokenRecord, Tenant] | None:
        seen = self._seen.get(digest)
        if seen is None:
            return None
        record = self._recall(seen.token_id)
        if record is ABSENT:
            return None
        tenant = self._remembered_tenant(record.tenant_id)
        if tenant is None:
            return None
        self._note(seen)
        return record, tenant

    async def _find(self, token: str) -> tuple[TokenRecord, Tenant]:
        digest = digest_of(token)
        return self._remembered(digest) or await self._look_up(token, digest)

    async def _look_up(self, token: str, digest: bytes) -> tuple[TokenRecord, Tenant]:
        seen = self._seen.get(digest)
        token_id = self._formats.token_id(token) if seen is None else seen.token_id
        record = await self._record(token_id)
        if record is None or not compare_digest(record.digest, digest.hex()):
            raise InvalidTokenError("the token is revoked, has expired, or was never made")
        tenant = await self._tenants.find_by_id(record.tenant_id)
        if tenant is None:
            await self._records.clear(token_id)  # its tenant was deleted, and its tokens with it
            raise InvalidTokenError("the token's tenant is gone")
        if seen is None:
            seen = _Seen(token_id, 0.0)
            self._seen.put(digest, seen)
        self._note(seen)
        return record, tenant

    async def _record(self, token_id: str) -> TokenRecord | None:
        async def load() -> tuple[TokenRecord | None, None]:
            self._loads += 1
            found = await self._tenants.ask(self._store.get_token(token_id))
            alive = found is not None and found.token_id == token_id and self._records.life_of(found) > 0
            return found if alive else None, None

        record: TokenRecord | None = await one_load(self._records, token_id, load)
        return record

    def _note(self, seen: _Seen) -> None:
        now = self._clock()
        if now >= seen.note_at:
            seen.note_at = now + LAST_USE_EVERY.total_seconds()
            self._uses.note(seen.token_id)
