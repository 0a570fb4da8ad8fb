"""Requests that arrive at a gate of limits, and last as long as a test wants."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from starlette.types import Message, Receive, Scope, Send

from fastapi_tenancy import Limit, TenancySettings, Tenant, TenantLimits, TenantStatus
from fastapi_tenancy.limits import LimitGate

_NOW = datetime(2026, 1, 1, tzinfo=UTC)


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


def a_tenant(identifier: str = "acme", **settings: Any) -> Tenant:
    return Tenant(
        id=f"id-of-{identifier}",
        identifier=identifier,
        name="",
        status=TenantStatus.ACTIVE,
        created_at=_NOW,
        updated_at=_NOW,
        settings=settings,
    )


@dataclass(eq=False)
class Request:
    """One request, its client, and what becomes of it."""

    tenant: Tenant | None
    path: str = "/notes"
    kind: str = "http"
    serving: bool = False
    served: bool = False
    status: int | None = None
    headers: dict[bytes, bytes] = field(default_factory=dict)
    finish: asyncio.Event = field(default_factory=asyncio.Event)
    incoming: asyncio.Queue[Message] = field(default_factory=asyncio.Queue)
    task: asyncio.Task[None] = field(init=False)

    @property
    def scope(self) -> Scope:
        state = {} if self.tenant is None else {"tenant": self.tenant}
        return {"type": self.kind, "path": self.path, "root_path": "", "state": state, "request": self}

    @property
    def retry_after(self) -> int:
        return int(self.headers[b"retry-after"])

    async def send(self, message: Message) -> None:
        if message["type"].endswith("response.start"):
            self.status = message["status"]
            self.headers = dict(message["headers"])

    def hang_up(self) -> None:
        self.incoming.put_nowait({"type": "http.disconnect"})

    async def end(self) -> None:
        self.finish.set()
        await asyncio.gather(self.task, return_exceptions=True)


async def until_finished(scope: Scope, receive: Receive, send: Send) -> None:
    request: Request = scope["request"]
    request.serving = True
    try:
        await request.finish.wait()
    finally:
        request.serving = False
    request.served = True


class Traffic:
    """A gate, and those who come to it.

    Args:
        limits: of all tenants, or by plan.
        app: what is behind the gate.
        clock: of the gate.
        settings: of the deployment.
    """

    def __init__(
        self,
        limits: Limit | TenantLimits,
        app: Callable[[Scope, Receive, Send], Any] = until_finished,
        clock: Callable[[], float] | None = None,
        **settings: Any,
    ) -> None:
        of_all = TenantLimits({}, default=limits) if isinstance(limits, Limit) else limits
        self.gate = LimitGate(of_all, TenancySettings(database_url="sqlite://", **settings), clock or Clock())
        self._app = self.gate.around(app)

    def begins(self, *given: Any, **more: Any) -> Request:
        request = Request(*given, **more)
        request.task = asyncio.create_task(self._app(request.scope, request.incoming.get, request.send))
        return request

    async def arrives(self, *given: Any, **more: Any) -> Request:
        """A request that has got as far as it gets at once."""
        request = self.begins(*given, **more)
        await settled()
        return request

    async def is_over(self, *given: Any, **more: Any) -> Request:
        """A request that is finished as soon as it is served."""
        request = self.begins(*given, **more)
        await request.end()
        return request


async def settled() -> None:
    for _ in range(10):
        await asyncio.sleep(0)
