"""Let a support person be a tenant for some minutes, on the record."""

from collections.abc import Callable, Iterable
from dataclasses import replace
from datetime import datetime, timedelta
from hmac import compare_digest

from ...acts import Acts
from ...audit import check_actor, current_actor
from ...bearer import digest_of
from ...errors import ActorMissingError, InvalidTokenError
from ...events import EventKind
from ...store import TokenRecord, TokenStore
from ..finds_tenants import FindsTenants
from .formats import new_token_id, one_time_id, one_time_token, opaque_token
from .issue import IssuedToken, checked_scopes

DEFAULT_IMPERSONATION = 300  # seconds
MAX_IMPERSONATION = 900  # seconds
MAX_REASON = 500  # characters

_NAME = "impersonation"


def is_reason(text: str) -> bool:
    return bool(text.strip()) and text.isprintable() and len(text) <= MAX_REASON


class Impersonations:
    """Tokens that are redeemed once, for a session's token; both end at the same moment, and can be revoked.

    Args:
        store: where the records are kept.
        tenants: the tenants' directory.
        now: the time of day in UTC.
        acts: for the audit trail and events.
    """

    def __init__(self, store: TokenStore, tenants: FindsTenants, now: Callable[[], datetime], acts: Acts) -> None:
        self._store = store
        self._tenants = tenants
        self._now = now
        self._acts = acts

    async def issue(
        self, tenant: str, *, reason: str, actor: str | None, scopes: Iterable[str], expires_in: float
    ) -> IssuedToken:
        granted, impersonator = checked_scopes(_NAME, scopes, expires_in), _checked(reason, actor, expires_in)
        owner, now = await self._tenants.read(tenant), self._now()
        token_id = new_token_id(now)
        token = one_time_token(token_id)
        record = TokenRecord(
            token_id=token_id,
            tenant_id=owner.id,
            name=_NAME,
            scopes=granted,
            digest=digest_of(token).hex(),
            created_at=now,
            expires_at=now + timedelta(seconds=expires_in),
            impersonated_by=impersonator,
        )
        details = {"reason": reason, "token_id": token_id, "scopes": sorted(granted), "expires_in": expires_in}
        act = await self._acts.act({EventKind.IMPERSONATED: details}, owner, actor=impersonator).ask()
        await self._tenants.ask(self._store.add_token(record, audit=act.entries))
        await act.done()
        return IssuedToken(token_id, token)

    async def redeem(self, token: str) -> IssuedToken:
        given, now = await self._record(token), self._now()
        owner = await self._tenants.find_by_id(given.tenant_id)
        if owner is None or given.expires_at is None or given.expires_at <= now:
            raise InvalidTokenError("the token has expired, or its tenant is gone")
        token_id = new_token_id(now)
        text = opaque_token(token_id)
        session = replace(given, token_id=token_id, digest=digest_of(text).hex(), created_at=now)
        details = {"token_id": given.token_id, "session": token_id}
        kinds = {EventKind.IMPERSONATION_REDEEMED: details}
        act = await self._acts.act(kinds, owner, actor=given.impersonated_by).ask()
        if not await self._tenants.ask(self._store.exchange_token(given.token_id, session, audit=act.entries)):
            raise InvalidTokenError("the token was redeemed already, or is revoked")
        await act.done()
        return IssuedToken(token_id, text)

    async def _record(self, token: str) -> TokenRecord:
        digest, token_id = digest_of(token), one_time_id(token)
        record = await self._tenants.ask(self._store.get_token(token_id))
        if record is None or not compare_digest(record.digest, digest.hex()):
            raise InvalidTokenError("the token was redeemed already, is revoked, or was never made")
        return record


def _checked(reason: str, actor: str | None, expires_in: float) -> str:
    """Who impersonates, if all is given that has to be."""
    if expires_in > MAX_IMPERSONATION:
        raise ValueError(f"expires_in is {expires_in}; give at most {MAX_IMPERSONATION} seconds")
    if not is_reason(reason):
        raise ValueError(f"a reason has 1 to {MAX_REASON} printable characters")
    named = current_actor() if actor is None else check_actor(actor)
    if named is None:
        raise ActorMissingError("nobody impersonates without a name; give actor=…, or use acting_as(…)")
    return named
