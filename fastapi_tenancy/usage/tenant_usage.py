"""Count what each tenant takes, for as many tenants as there is room for."""

import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from heapq import nlargest
from operator import attrgetter
from threading import RLock
from typing import get_args

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ..context import CURRENT
from ..tenant import Tenant
from .counts import Counted, Counts, Usage

# What begins an answer, and its status where it does not tell: a WebSocket closed before it is accepted is a 403
# <https://asgi.readthedocs.io/en/latest/specs/www.html#close-send-event>.
_ANSWERS: Mapping[str, int] = {
    "http.response.start": 500,
    "websocket.accept": 101,
    "websocket.close": 403,
    "websocket.http.response.start": 403,
}


class TenantUsage:
    """What each tenant has taken of this process, for `Tenancy(usage=TenantUsage())`.

    A manager of your own that opens its engines by itself tells of them by `statement` and `hold`.

    Args:
        max_tenants: that are counted one by one; those that have done nothing for the longest time are counted together
            with `other`.
        clock: seconds that only go forward.

    Raises:
        ValueError: `max_tenants` is below 1.
    """

    def __init__(self, max_tenants: int = 1000, *, clock: Callable[[], float] = time.perf_counter) -> None:
        if max_tenants < 1:
            raise ValueError(f"max_tenants is at least 1, not {max_tenants}; leave out usage= to count nothing")
        self.max_tenants = max_tenants
        self.clock = clock
        self._tenants: OrderedDict[str, Counts] = OrderedDict()  # the least recently active first
        self._other = Counts()
        # Reentrant, since the garbage collector may return a connection while this very thread is in here.
        self._lock = RLock()

    def of(self, tenant_id: str) -> Usage:
        """What a tenant has taken since it was last counted with `other`."""
        with self._lock:
            return self._tenants.get(tenant_id, Counts()).usage(tenant_id)

    def top(self, n: int = 10, by: Counted = "database_seconds") -> list[Usage]:
        """The tenants that have taken most, the first one most of all; none that has taken nothing.

        Raises:
            ValueError: nothing of that name is counted.
        """
        if by not in get_args(Counted):
            raise ValueError(f"by={by!r} is not counted; choose from {', '.join(get_args(Counted))}")
        taken = attrgetter(by)
        with self._lock:
            first = nlargest(n, self._tenants.items(), key=lambda each: taken(each[1]))
            return [counts.usage(tenant_id) for tenant_id, counts in first if taken(counts)]

    @property
    def other(self) -> Usage:
        """What those have taken together who are not counted one by one."""
        with self._lock:
            return self._other.usage()

    @property
    def total(self) -> Usage:
        """What all have taken together."""
        total = Counts()
        with self._lock:
            for counts in (self._other, *self._tenants.values()):
                total.add(counts)
        return total.usage()

    def stats(self) -> dict[str, float]:
        total = self.total
        return {
            "tenants": len(self._tenants),
            "max_tenants": self.max_tenants,
            **{name: getattr(total, name) for name in get_args(Counted)},
        }

    def around(self, app: ASGIApp) -> ASGIApp:
        """The application, with its requests counted. A request counts when it has ended."""

        async def counted(scope: Scope, receive: Receive, send: Send) -> None:
            state = scope.get("state", {})
            tenant: Tenant | None = state.get("tenant")
            # A mounted application may have the middleware, too.
            if tenant is None or state.get("counted") == tenant.id:
                await app(scope, receive, send)
                return
            state["counted"] = tenant.id
            status = 0

            def watched(message: Message) -> Awaitable[None]:
                nonlocal status
                if not status and (kind := message["type"]) in _ANSWERS:
                    status = message.get("status", _ANSWERS[kind])
                return send(message)

            began = self.clock()
            try:
                await app(scope, receive, watched)
            finally:
                # A WebSocket is open for hours, and does next to nothing.
                seconds = self.clock() - began if scope["type"] == "http" else 0.0
                self.request(tenant, status or 500, seconds)  # the server's own, where the application fails

        return counted

    def request(self, tenant: Tenant, status: int, seconds: float) -> None:
        """Count a request that was answered with `status` after so many seconds."""
        digit = status // 100
        with self._lock:
            counts = self._of(tenant.id)
            counts.identifier = tenant.identifier
            counts.by_class[digit] = counts.by_class.get(digit, 0) + 1
            counts.request_seconds += seconds

    def statement(self, tenant_id: str, seconds: float) -> None:
        """Count a statement that took so many seconds."""
        with self._lock:
            counts = self._of(tenant_id)
            counts.statements += 1
            counts.database_seconds += seconds

    def hold(self, tenant_id: str) -> Callable[[], None]:
        """Count a connection as held from now on.

        Returns:
            What ends it, to be called once.
        """
        since = self.clock()
        current = CURRENT.get()
        with self._lock:
            counts = self._of(tenant_id)
            counts.connections += 1
            if current is not None and current.id == tenant_id:
                counts.identifier = current.identifier
        return partial(self._return, counts, since)

    def _return(self, counts: Counts, since: float) -> None:
        seconds = self.clock() - since
        with self._lock:
            if counts.is_gone:
                counts = self._other
            counts.connections -= 1
            counts.connection_seconds += seconds

    def _of(self, tenant_id: str) -> Counts:
        if tenant_id in self._tenants:
            self._tenants.move_to_end(tenant_id)
            return self._tenants[tenant_id]
        counts = Counts()
        self._tenants[tenant_id] = counts
        if len(self._tenants) > self.max_tenants:
            _, gone = self._tenants.popitem(last=False)
            gone.is_gone = True  # first: a connection of it that comes back in the next line belongs to the others
            self._other.add(gone)
        return counts
