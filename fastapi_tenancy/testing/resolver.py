"""What every resolver promises, whatever strangers send."""

# ruff: noqa: S101 - assert is how pytest works

from collections.abc import Iterator
from copy import deepcopy
from inspect import isawaitable
from typing import Any

import pytest
from starlette.exceptions import HTTPException
from starlette.types import Scope

from ..errors import InvalidIdentifierError
from ..resolvers import Resolver
from ..tenant import Tenant
from .base import AsyncioContract

HOSTILE = (
    b"",
    b" ",
    b"\x00",
    b"\xff\xfe",
    b"\xb2",  # a digit in Latin-1, and none in ASCII
    b"\xed\xa0\x80",  # half of a surrogate pair, which is no UTF-8
    "\u0430cme".encode(),  # begins with a Cyrillic letter
    b"\r\nx: y",
    b"acme,globex",
    b"acme;x=1",
    b"'; DROP TABLE notes; --",
    b"{id}",
    b"%2e%2e%2f",
    b"%",
    b"../..",
    b"/",
    b"//",
    b".",
    b"..example.com",
    b":",
    b":80x",
    b"[::1]:8000",
    b"user@acme",
    b"Bearer",
    b"Bearer ..",
    b"Basic Og==",
    b"A" * 10_000,
)
"""What is put in the place of a header's value, a path or a query string, before it and after it."""

OPTIONAL_KEYS = ("client", "raw_path", "root_path", "server", "subprotocols")


def hostile_scopes(scope: Scope) -> Iterator[Scope]:
    """Spoilt copies of a scope: each of its headers and paths replaced by, or mixed with, each of `HOSTILE`."""
    headers: list[tuple[bytes, bytes]] = list(scope["headers"])
    yield {**scope, "headers": []}
    yield {**scope, "headers": headers * 2}
    yield {key: value for key, value in scope.items() if key not in OPTIONAL_KEYS}
    yield {**scope, "raw_path": None, "query_string": b""}
    for number, (name, value) in enumerate(headers):
        for bad in _mixed(value):
            yield {**scope, "headers": [*headers[:number], (name, bad), *headers[number + 1 :]]}
            yield {**scope, "headers": [*headers, (name, bad)]}
    for bad in _mixed(scope["path"].encode()):
        yield {**scope, "path": bad.decode("latin-1"), "raw_path": bad}
        yield {**scope, "path": f"/{bad.decode(errors='replace')}", "root_path": bad.decode("latin-1")}
    for bad in _mixed(scope.get("query_string", b"")):
        yield {**scope, "query_string": bad}


class ResolverContract(AsyncioContract):
    """Proves a resolver; give a fixture `resolver`, and the methods `names` and `names_nobody`.

    Attributes:
        refusals: what it may raise; every other error would be a 500 in the stranger's hands.
    """

    refusals: tuple[type[HTTPException], ...] = (InvalidIdentifierError,)

    @pytest.fixture
    def resolver(self) -> Resolver:
        raise NotImplementedError(f"{type(self).__name__} needs a fixture resolver() that gives the one to be proven")

    def names(self, identifier: str) -> Scope:
        """A request that names this tenant; `request_scope` makes one."""
        raise NotImplementedError(f"{type(self).__name__} needs a method names(identifier) that gives a scope")

    def names_nobody(self) -> Scope:
        """A request that names no tenant."""
        return request_scope()

    @pytest.mark.parametrize("identifier", ["acme", "a", "7", "a-1", "www2", "x" * 63])
    async def test_a_tenant_that_is_named_is_read_back(self, resolver: Resolver, identifier: str) -> None:
        answer = await self.outcome(resolver, self.names(identifier))
        assert (answer.identifier if isinstance(answer, Tenant) else answer) == identifier

    async def test_a_request_that_names_nobody_gives_none(self, resolver: Resolver) -> None:
        assert await self.outcome(resolver, self.names_nobody()) is None

    async def test_a_websocket_is_read_like_a_request(self, resolver: Resolver) -> None:
        for scope in (self.names("acme"), self.names_nobody()):
            websocket = {**scope, "type": "websocket", "scheme": "ws", "subprotocols": []}
            websocket.pop("method", None)
            assert await self.outcome(resolver, websocket) == await self.outcome(resolver, scope)

    async def test_a_hostile_scope_is_answered_or_refused(self, resolver: Resolver) -> None:
        for scope in self.all_scopes():
            assert isinstance(await self.outcome(resolver, scope), str | Tenant | type | None), scope

    async def test_the_scope_stays_as_it_was(self, resolver: Resolver) -> None:
        for scope in self.all_scopes():
            before = deepcopy(scope)
            await self.outcome(resolver, scope)
            assert scope == before

    async def test_asking_again_gives_the_same_answer(self, resolver: Resolver) -> None:
        for scope in self.all_scopes():
            assert await self.outcome(resolver, scope) == await self.outcome(resolver, scope), scope

    async def test_entering_leaves_the_scope_as_it_was(self, resolver: Resolver) -> None:
        enter = getattr(resolver, "enter", None)
        scope = self.names("acme")
        before = deepcopy(scope)
        assert enter is None or enter(scope, "acme")["type"] == scope["type"]
        assert scope == before

    def all_scopes(self) -> Iterator[Scope]:
        for scope in (self.names("acme"), self.names_nobody()):
            yield scope
            yield from hostile_scopes(scope)

    async def outcome(self, resolver: Resolver, scope: Scope) -> Any:
        """What it answers, or the class of its refusal."""
        try:
            answer = resolver(scope)
            return await answer if isawaitable(answer) else answer
        except self.refusals as error:
            return type(error)


def request_scope(path: str = "/", *, query: str = "", headers: dict[str, str] | None = None) -> Scope:
    """The ASGI scope of a GET request."""
    lines = {"host": "testserver", **{name.lower(): value for name, value in (headers or {}).items()}}
    return {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": "GET",
        "scheme": "http",
        "path": path,
        "raw_path": path.encode(),
        "root_path": "",
        "query_string": query.encode(),
        "headers": [(name.encode(), value.encode()) for name, value in lines.items()],
        "client": ("127.0.0.1", 50000),
        "server": ("testserver", 80),
        "state": {},
    }


def _mixed(good: bytes) -> Iterator[bytes]:
    for bad in HOSTILE:
        yield from (bad, bad + good, good + bad)
