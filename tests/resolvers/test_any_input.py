"""Whatever strangers send, a request is served for the tenant that everybody reads in it, or refused, or for none.

What a request says is read here a second time, in the plainest way, and by the parsers that an application may use.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from http.cookies import CookieError, SimpleCookie
from itertools import product
from typing import Any
from urllib.parse import parse_qs, parse_qsl, quote, unquote

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from resolvers.door import SLEEPING, TENANTS, Door, scope_of, target
from starlette.requests import HTTPConnection
from starlette.types import Scope

from fastapi_tenancy import CookieResolver, HeaderResolver, PathResolver, QueryResolver, SubdomainResolver

SEVERAL = "several things"
RESOLVERS = {
    "header": HeaderResolver("X-Tenant-ID"),
    "subdomain": SubdomainResolver("example.com"),
    "path": PathResolver("/t"),
    "cookie": CookieResolver("tenant"),
    "query": QueryResolver("tenant"),
}


def one_of(values: list[str]) -> str | None:
    return None if not values else values[0] if len(values) == 1 else SEVERAL


def values_of(scope: Scope, name: bytes) -> list[str]:
    return [value.decode("latin-1") for key, value in scope["headers"] if key == name]


def said_by_header(scope: Scope) -> str | None:
    return one_of(values_of(scope, b"x-tenant-id"))


def said_by_host(scope: Scope) -> str | None:
    hosts = values_of(scope, b"host")
    if len(hosts) > 1:
        return SEVERAL
    labels = "".join(hosts).lower().split(":")[0].split(".")
    if labels[-1] == "":
        labels.pop()
    *tenant, second, first = ["", "", *labels] if len(labels) < 2 else labels
    return ".".join(tenant) if tenant and tenant != ["www"] and (second, first) == ("example", "com") else None


def said_by_path(scope: Scope) -> str | None:
    path, root = scope["path"], scope["root_path"]
    if root and (path == root or path.startswith(root + "/")):
        path = path[len(root) :]
    segments = path.split("/")
    if len(segments) < 3 or segments[:2] != ["", "t"]:
        return None
    return SEVERAL if "." in segments or ".." in segments else str(segments[2])


def said_by_cookie(scope: Scope) -> str | None:
    pairs = [pair.split("=", 1) for line in values_of(scope, b"cookie") for pair in line.split(";")]
    return one_of([pair[1] if pair[1:] else "" for pair in pairs if pair[0].strip(" \t") == "tenant"])


def said_by_query(scope: Scope) -> str | None:
    pairs = parse_qsl(scope["query_string"].decode("latin-1"), keep_blank_values=True)
    return one_of([value for name, value in pairs if name == "tenant"])


SAID: dict[str, Callable[[Scope], str | None]] = {
    "header": said_by_header,
    "subdomain": said_by_host,
    "path": said_by_path,
    "cookie": said_by_cookie,
    "query": said_by_query,
}


def read_by_others(scope: Scope) -> Iterator[str | None]:
    """The tenants that other parsers of cookies and queries make of the request."""
    request = HTTPConnection(scope)
    yield from request.query_params.getlist("tenant")
    yield request.cookies.get("tenant")
    yield from parse_qs(scope["query_string"].decode("latin-1"), separator=";").get("tenant", ())
    yield from parse_qs(scope["query_string"].decode("latin-1").replace(";", "&")).get("tenant", ())
    together = "; ".join(values_of(scope, b"cookie"))
    for cookies in (together, together.replace(",", ";"), *values_of(scope, b"cookie")):
        try:
            yield from (morsel.value for name, morsel in SimpleCookie(cookies).items() if name == "tenant")
        except CookieError:
            yield None


NAMES = [*TENANTS, SLEEPING, "nobody", "www"]
FORMS = {
    "header": "{}",
    "subdomain": "{}.example.com",
    "path": "/t/{}",
    "cookie": "tenant={}",
    "query": "tenant={}",
}
PARTS = {
    "header": ["a", " ", ",", ", ", ";", "-", "_", ".", "A", "%61", '"', "/"],
    "subdomain": ["a", "www.", ".", ":", ":80", ":x", "@", "#", "/", "A", " ", "_", ".evil.org"],
    "path": ["a", "/", "/..", "/.", "..", "/t", "%2e%2e", "%2F", "%61", "%74", ";", "\\", "?", "%"],
    "cookie": ["a", "; ", ";", ",", " ", "=", '"', 'a="', "\\", "tenant", "%61", "$Version=1"],
    "query": ["a", "&", ";", "=", "+", "tenant", "%74enant", "%61", "%00", "%20", "[]", "%26"],
}
ODD = ["\t", "\r\n", "\x00", "\x0b", "\x85", "\xa0", "\xe9", "\xb2", "\u0430", "\u212a", "\uff41"]


def scope_with(name: str, text: str) -> Scope:
    """A request in which this resolver reads that text."""
    match name:
        case "path":
            return target(text.encode())
        case "query":
            return scope_of(query=text.encode(), root_path="")
    return scope_of([(LINES[name], text.encode())], root_path="")


def texts(name: str) -> st.SearchStrategy[str]:
    """What names one tenant as it should; that with something at its ends; and parts in any order."""
    form = FORMS[name]
    formed = st.builds(form.format, st.sampled_from(["acme"] * 9 + NAMES))
    part = st.sampled_from(["", form.format("acme"), form.format("globex"), *PARTS[name], *PARTS[name], *ODD])
    return st.one_of(formed, st.builds("".join, st.tuples(part, formed, part)), st.lists(part, max_size=4).map("".join))


def octets(name: str) -> st.SearchStrategy[bytes]:
    return st.one_of(texts(name).map(str.encode), texts(name).map(str.encode), st.binary(max_size=12))


LINES = {"header": b"x-tenant-id", "subdomain": b"host", "cookie": b"cookie"}
HEADERS = {name: st.tuples(st.just(line), octets(name)) for name, line in LINES.items()}
OTHER_HEADERS = st.tuples(st.just(b"x-forwarded-host") | st.binary(max_size=12), octets("subdomain"))
ROOTS = st.sampled_from(["", "", "/api", "/api/", "/", "/t", "/t/acme", "/\xe9"])


@st.composite
def scopes(draw: st.DrawFn, names: Sequence[str] = tuple(RESOLVERS)) -> Scope:
    """Scopes in which these resolvers have something to read.

    They are as uvicorn makes them (the root path is in front of the path), as others do (it is not), and spoilt.
    """
    root = draw(ROOTS)
    sent = draw(texts("path")) if "path" in names else "/"
    full = draw(st.sampled_from([root, ""]))
    spoilt = draw(texts("path")) if "path" in names else ""
    headers = st.one_of(OTHER_HEADERS, *(HEADERS[name] for name in names if name in HEADERS))
    raws = (full + quote(sent, safe="/%;=&+,@:$"), full + sent, sent, spoilt)
    return {
        "type": draw(st.sampled_from(["http", "websocket"])),
        "method": "GET",
        "path": full + unquote(sent),
        "root_path": root,
        "query_string": draw(octets("query")) if "query" in names else b"",
        "headers": draw(st.lists(headers, max_size=3)),
        "extensions": draw(st.sampled_from([{}, {"websocket.http.response": {}}])),
        **draw(st.sampled_from([{}, {"raw_path": None}, *({"raw_path": each.encode()} for each in raws)])),
    }


@pytest.fixture(scope="module")
def doors() -> dict[str, Door]:
    alone = {name: Door(resolver) for name, resolver in RESOLVERS.items()}
    together = tuple(RESOLVERS.values())
    return {**alone, "refuse": Door(*together), "first": Door(*together, conflict="first")}


async def check(door: Door, scope: Scope, said: Iterable[str | None], *, first: bool = False) -> None:
    """The door answers as it may where the request says these things."""
    seen = await door.ask(scope)
    spoken = [each for each in said if each is not None]
    if isinstance(seen, int):
        assert seen in (400, 403, 404, 1008)
    elif seen is None:
        assert spoken == []
    else:
        assert seen in TENANTS
        assert set(spoken[:1] if first else spoken) == {seen}
        assert first or set(read_by_others(scope)) & {*NAMES} <= {seen}
    assert door.impossible() == []


@pytest.mark.parametrize("name", RESOLVERS)
async def test_no_mixture_of_three_parts_is_taken_for_another_tenants(doors: dict[str, Door], name: str) -> None:
    parts = ["", *(FORMS[name].format(tenant) for tenant in ("acme", "globex")), *PARTS[name], "\x00", "\xa0"]
    for mixture in set(map("".join, product(parts, repeat=3))):
        scope = scope_with(name, mixture)
        await check(doors[name], scope, [SAID[name](scope)])


@settings(max_examples=150)
@given(st.sampled_from([*RESOLVERS]).flatmap(lambda name: st.tuples(st.just(name), scopes([name]))))
async def test_no_request_is_taken_for_another_tenants(doors: dict[str, Door], asked: tuple[str, Scope]) -> None:
    name, scope = asked
    await check(doors[name], scope, [SAID[name](scope)])


@settings(max_examples=60)
@given(scope=scopes())
async def test_resolvers_that_are_asked_together_agree(doors: dict[str, Door], scope: Scope) -> None:
    await check(doors["refuse"], scope, [said(scope) for said in SAID.values()])


@settings(max_examples=60)
@given(scope=scopes())
async def test_the_first_resolver_that_speaks_decides_if_told_so(doors: dict[str, Door], scope: Scope) -> None:
    await check(doors["first"], scope, [said(scope) for said in SAID.values()], first=True)


@pytest.mark.parametrize("one", NAMES[:3])
@pytest.mark.parametrize("other", NAMES[:3])
async def test_a_request_that_names_two_tenants_is_refused(doors: dict[str, Door], one: str, other: str) -> None:
    ways: list[dict[str, Any]] = [
        {"headers": [(b"x-tenant-id", one.encode())]},
        {"headers": [(b"host", f"{one}.example.com".encode())]},
        {"headers": [(b"cookie", f"tenant={one}".encode())]},
        {"path": f"/t/{one}"},
        {"query_string": f"tenant={one}".encode()},
    ]
    for way in ways:
        scope = {
            "type": "http",
            "method": "GET",
            "path": "/",
            "root_path": "",
            "query_string": b"",
            "headers": [],
            **way,
        }
        twice = {**scope, "headers": [*scope["headers"], (b"x-tenant-id", other.encode())]}
        assert await doors["refuse"].ask(scope) == one
        assert await doors["refuse"].ask(twice) == (one if one == other and way is not ways[0] else 400)
