"""How an administrative act goes: ask those who may stop it, write it with its entries, tell that it is done."""

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any, Self

from .audit import AuditEntry, AuditSink, current_actor
from .events import LISTENER_TIMEOUT, EventKind, Events, TenancyEvent, within
from .tenant import Tenant

logger = logging.getLogger(__name__)


def _utc_now() -> datetime:
    return datetime.now(UTC)


class Acts:
    """Makes acts.

    Args:
        events: whom to ask and to tell.
        now: the time of day in UTC.
        sink: gets the entries after each act.
        in_store: have the store write them with the act, in its transaction.
    """

    def __init__(
        self,
        events: Events | None = None,
        now: Callable[[], datetime] = _utc_now,
        sink: AuditSink | None = None,
        *,
        in_store: bool = False,
    ) -> None:
        self.events = Events() if events is None else events
        self._now = now
        self._sink = sink
        self._in_store = in_store

    def act(
        self,
        kinds: Mapping[EventKind, Mapping[str, Any]],
        tenant: Tenant,
        *,
        before: Tenant | None = None,
        actor: str | None = None,
    ) -> "Act":
        """An act of one or several kinds, each with its details; the actor is the current one if None."""
        at, actor = self._now(), actor or current_actor()
        return Act(
            self,
            tuple(
                TenancyEvent(kind=kind, tenant=tenant, at=at, actor=actor, before=before, details=details)
                for kind, details in kinds.items()
            ),
        )

    def entries(self, events: Sequence[TenancyEvent]) -> Sequence[AuditEntry]:
        """What the store writes in the transaction of the act; nothing where a sink gets it."""
        return [_entry(event) for event in events] if self._in_store else ()

    async def tell(self, events: Sequence[TenancyEvent]) -> None:
        if self._sink is not None:
            await self.events.finish(self._send(self._sink, [_entry(event) for event in events]))
        await self.events.tell(events)

    async def _send(self, sink: AuditSink, entries: Sequence[AuditEntry]) -> None:
        for entry in entries:
            try:
                await within(LISTENER_TIMEOUT, sink.write(entry))
            except Exception as error:  # the application's own code: the act is done, and stays so
                logger.error(  # noqa: TRY400 - the traceback is given as a field
                    "audit sink failed",
                    extra={"action": entry.action, "tenant": entry.tenant_id, "actor": entry.actor},
                    exc_info=error,
                )


@dataclass(frozen=True, slots=True)
class Act:
    """One act, on its way from `ask` over the write of `entries` to `done`."""

    _acts: Acts
    _events: Sequence[TenancyEvent]

    @property
    def entries(self) -> Sequence[AuditEntry]:
        return self._acts.entries(self._events)

    async def ask(self) -> Self:
        """Go on, unless a listener with a veto is against it.

        Raises:
            VetoedError: one is.
        """
        await self._acts.events.ask(self._events)
        return self

    async def done(self, tenant: Tenant | None = None) -> None:
        """Tell that it is committed, and with `tenant`, how it was saved."""
        await self._acts.tell(
            self._events if tenant is None else [replace(event, tenant=tenant) for event in self._events]
        )


def _entry(event: TenancyEvent) -> AuditEntry:
    return AuditEntry(
        action=event.kind.value,
        at=event.at,
        actor=event.actor,
        tenant_id=event.tenant.id,
        identifier=event.tenant.identifier,
        details=dict(event.details),
    )
