"""Who does what to which tenant: the actor of the running code, and the entries of the audit trail."""

from collections.abc import Mapping
from contextvars import ContextVar, Token
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol

from .errors import ActorMissingError

MAX_ACTOR = 255  # characters

_ACTOR: ContextVar[str | None] = ContextVar("fastapi_tenancy.actor", default=None)


def current_actor() -> str | None:
    """Who is acting, as `acting_as` has said; None if nobody is named."""
    return _ACTOR.get()


class acting_as:  # noqa: N801 - used as a function, like contextlib.suppress
    """Name who acts inside a `with` block, for the audit trail and for events; None for nobody.

    Raises:
        ActorMissingError: the name is blank, not printable, or longer than 255 characters.
    """

    __slots__ = ("_actor", "_token")

    def __init__(self, actor: str | None) -> None:
        self._actor = None if actor is None else check_actor(actor)

    def __enter__(self) -> str | None:
        self._token: Token[str | None] = _ACTOR.set(self._actor)
        return self._actor

    def __exit__(self, *_: object) -> None:
        _ACTOR.reset(self._token)


def check_actor(actor: str) -> str:
    if not actor.strip() or not actor.isprintable() or len(actor) > MAX_ACTOR:
        raise ActorMissingError(f"an actor is named by 1 to {MAX_ACTOR} printable characters")
    return actor


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditEntry:
    """One administrative act.

    Attributes:
        action: what was done, in the words of `EventKind`; also "audit_pruned".
        at: when, UTC.
        actor: who; None if nobody was named.
        tenant_id: to which tenant; None if to none.
        identifier: the tenant's identifier after the act.
        details: what else there is to say, JSON, and never a secret.
        id: its number in the trail, greater than those before it; None until it is written.
    """

    action: str
    at: datetime
    actor: str | None
    tenant_id: str | None
    identifier: str | None
    details: Mapping[str, Any]
    id: int | None = None


class AuditSink(Protocol):
    """Where a `Tenancy(audit=…)` sends its entries instead of into the store."""

    async def write(self, entry: AuditEntry) -> None:
        """Take an entry, after its act was committed; what it raises is logged, and the act stands."""
