"""The front door in process: a request goes through the middleware, and we see for which tenant it is served."""

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any
from urllib.parse import unquote

from sqlalchemy import MetaData
from starlette.types import Message, Receive, Scope, Send

from fastapi_tenancy import (
    InMemoryTenantStore,
    InvalidIdentifierError,
    Tenancy,
    TenancyMiddleware,
    TenancySettings,
    Tenant,
    TenantStatus,
)
from fastapi_tenancy.resolvers import Resolver
from fastapi_tenancy.tenant import check_identifier
from fastapi_tenancy.testing import tenant_named

REFUSED = 400
LONGEST = "a" * 63
TENANTS = ("acme", "globex", "a", "7", "a-1", "www2", "xn--bcher-kva", LONGEST)
SLEEPING = "sleepy"

Header = tuple[bytes, bytes]
Row = tuple[Any, str | int | None]
Table = Mapping[str, Sequence[Row]]
"""By topic: what is sent, and the identifier that it names, None, or `REFUSED`."""


def rows_of(table: Table) -> list[Row]:
    return [row for rows in table.values() for row in rows]


def scope_of(headers: Iterable[Header] = (), path: str = "/", query: bytes = b"", **given: Any) -> dict[str, Any]:
    """The scope of a GET request; `given` are further keys."""
    return {
        "type": "http",
        "method": "GET",
        "path": path,
        "query_string": query,
        "headers": list(headers),
        "extensions": {"websocket.http.response": {}},
        **given,
    }


def target(raw: bytes, root_path: str = "") -> dict[str, Any]:
    """The scope that uvicorn makes of a request's target."""
    path, _, query = raw.partition(b"?")
    decoded = root_path + unquote(path.decode("latin-1"))
    return scope_of(path=decoded, query=query, root_path=root_path, raw_path=root_path.encode() + path)


def outcome(resolver: Resolver, scope: Scope) -> Any:
    """What is read; `REFUSED` where the resolver or the rule for identifiers refuses it."""
    try:
        named = resolver(scope)
        return named if named is None else check_identifier(named)
    except InvalidIdentifierError as error:
        return error.status


class AskedStore(InMemoryTenantStore):
    """Knows `TENANTS`, and remembers which identifiers it was asked for."""

    def __init__(self) -> None:
        super().__init__()
        tenants = [tenant_named(name) for name in TENANTS]
        tenants.append(tenant_named(SLEEPING, status=TenantStatus.SUSPENDED))
        self._tenants = {tenant.id: tenant for tenant in tenants}
        self.asked: list[str] = []

    async def get_by_identifier(self, identifier: str) -> Tenant | None:
        self.asked.append(identifier)
        return await super().get_by_identifier(identifier)


class Door:
    """The middleware with these resolvers, in front of an application that notes its tenant."""

    def __init__(self, *resolvers: Resolver, conflict: Any = "refuse", **settings: Any) -> None:
        self.store = AskedStore()
        tenancy = Tenancy(
            TenancySettings(database_url="sqlite:///unused.db", **settings),
            resolvers=resolvers,
            conflict=conflict,
            metadata=MetaData(),
            store=self.store,
        )
        self.middleware = TenancyMiddleware(self._application, tenancy)
        self._seen: list[Any] = []

    async def ask(self, scope: Scope) -> Any:
        """The identifier of the tenant that is served, None where the application is reached without one, or else the
        status of the refusal.
        """
        self._seen.clear()
        await self.middleware(scope, self._receive, self._send)
        assert len(self._seen) == 1
        return self._seen[0]

    def impossible(self) -> list[str]:
        """What the store was asked for in vain: no tenant can be called so."""
        return [name for name in self.store.asked if not re.fullmatch(r"(?!-)[a-z0-9-]{1,63}(?<!-)", name)]

    async def _application(self, scope: Scope, receive: Receive, send: Send) -> None:
        tenant = scope["state"]["tenant"]
        self._seen.append(tenant and tenant.identifier)

    async def _receive(self) -> Message:
        raise AssertionError("a request that is refused is not read")

    async def _send(self, message: Message) -> None:
        if message["type"].endswith("response.start"):
            self._seen.append(message["status"])
        elif message["type"] == "websocket.close":
            self._seen.append(message["code"])


async def check_through_the_middleware(resolver: Resolver, requests: Iterable[tuple[Scope, Any]]) -> None:
    """Each request is answered as its row says, over HTTP and as a WebSocket; the store is asked for no nonsense."""
    door = Door(resolver)
    wrong = []
    for scope, expected in requests:
        if isinstance(expected, str) and expected not in TENANTS:
            expected = 404
        answers = [await door.ask({**scope, "type": kind}) for kind in ("http", "websocket")]
        if answers != [expected, expected]:
            wrong.append((scope, expected, answers))
    assert wrong == []
    assert door.impossible() == []
