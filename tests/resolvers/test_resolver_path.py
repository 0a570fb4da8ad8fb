"""A path names the tenant that is its segment behind the prefix, below the root path, if everybody reads it there."""

from typing import Any

import pytest
from resolvers.door import (
    LONGEST,
    REFUSED,
    Door,
    Table,
    check_through_the_middleware,
    outcome,
    rows_of,
    scope_of,
    target,
)
from starlette.applications import Starlette
from starlette.routing import Mount

from fastapi_tenancy import ConfigurationError, PathResolver

RESOLVER = PathResolver("/t")

TABLE: Table = {
    "the segment behind the prefix": [
        (b"/t/acme", "acme"),
        (b"/t/acme/", "acme"),
        (b"/t/acme/notes", "acme"),
        (b"/t/acme/notes/1", "acme"),
        (b"/t/globex/notes", "globex"),
        (b"/t/a", "a"),
        (b"/t/7/x", "7"),
        (b"/t/a-1/x", "a-1"),
        (b"/t/www2", "www2"),
        (b"/t/www", "www"),
        (b"/t/t", "t"),
        (b"/t/t/acme", "t"),
        (b"/t/xn--bcher-kva/x", "xn--bcher-kva"),
        (b"/t/acme?tenant=globex", "acme"),
        (b"/t/acme?/t/globex", "acme"),
        (b"/t/acme/?x=%2F", "acme"),
    ],
    "what follows the tenant is the application's": [
        (b"/t/acme//", "acme"),
        (b"/t/acme//notes", "acme"),
        (b"/t/acme//globex", "acme"),
        (b"/t/acme/t/globex", "acme"),
        (b"/t/acme/globex", "acme"),
        (b"/t/acme/a.b", "acme"),
        (b"/t/acme/.well-known/x", "acme"),
        (b"/t/acme/...", "acme"),
        (b"/t/acme/..x", "acme"),
        (b"/t/acme/a;b=1", "acme"),
        (b"/t/acme/a:b@c", "acme"),
        (b"/t/acme/A_B~", "acme"),
        (b"/t/acme/caf%C3%A9", "acme"),
        (b"/t/acme/a%20b", "acme"),
        (b"/t/acme/a%2Fb", "acme"),
        (b"/t/acme/%2F", "acme"),
        (b"/t/acme/%74/globex", "acme"),
        (b"/t/acme/100%", "acme"),
        (b"/t/acme/%zz", "acme"),
        (b"/t/acme/%ff", "acme"),
        (b"/t/acme/%252e%252e/globex", "acme"),
    ],
    "dot segments, which a proxy may have followed": [
        (b"/t/acme/..", REFUSED),
        (b"/t/acme/../globex", REFUSED),
        (b"/t/acme/../globex/notes", REFUSED),
        (b"/t/acme/../../t/globex", REFUSED),
        (b"/t/acme/notes/../../globex/notes", REFUSED),
        (b"/t/acme/%2e%2e/globex", REFUSED),
        (b"/t/acme/%2E%2E/globex", REFUSED),
        (b"/t/acme/.%2e/globex", REFUSED),
        (b"/t/acme/..%2fglobex", REFUSED),
        (b"/t/acme/%2e%2e%2fglobex", REFUSED),
        (b"/t/acme/.", REFUSED),
        (b"/t/acme/./notes", REFUSED),
        (b"/t/acme/%2e/notes", REFUSED),
        (b"/t/..", REFUSED),
        (b"/t/../t/acme", REFUSED),
        (b"/t/./acme", REFUSED),
        (b"/t/.", REFUSED),
        (b"/t/%2e%2e/acme", REFUSED),
    ],
    "no identifier": [
        (b"/t/", REFUSED),
        (b"/t//", REFUSED),
        (b"/t//acme", REFUSED),
        (b"/t//notes", REFUSED),
        (b"/t///acme", REFUSED),
        (b"/t/...", REFUSED),
        (b"/t/Acme", REFUSED),
        (b"/t/ACME/notes", REFUSED),
        (b"/t/acme.", REFUSED),
        (b"/t/.acme", REFUSED),
        (b"/t/a.b/x", REFUSED),
        (b"/t/-acme", REFUSED),
        (b"/t/acme-", REFUSED),
        (b"/t/-/x", REFUSED),
        (b"/t/ac_me", REFUSED),
        (b"/t/~acme", REFUSED),
        (b"/t/*", REFUSED),
        (b"/t/acme;x=1/notes", REFUSED),
        (b"/t/acme;/notes", REFUSED),
        (b"/t/;acme", REFUSED),
        (b"/t/..;/acme", REFUSED),
        (b"/t/acme,globex", REFUSED),
        (b"/t/acme@globex", REFUSED),
        (b"/t/acme:80", REFUSED),
        (b"/t/acme=1", REFUSED),
        (b"/t/acme&x", REFUSED),
        (b"/t/acme+", REFUSED),
        (b"/t/acme!", REFUSED),
        (b"/t/acme'", REFUSED),
        (b"/t/(acme)", REFUSED),
        (b"/t/acme$", REFUSED),
        (b"/t/acme|globex", REFUSED),
        (b"/t/acme^", REFUSED),
        (b"/t/`acme`", REFUSED),
        (b'/t/"acme"', REFUSED),
        (b"/t/<acme>", REFUSED),
        (b"/t/{id}", REFUSED),
        (b"/t/[acme]", REFUSED),
        (b"/t/acme\\", REFUSED),
        (b"/t/acme\\globex", REFUSED),
        (b"/t/acme\\..\\globex", REFUSED),
        (b"/t/\\acme", REFUSED),
        (b"/t/acme#x", REFUSED),
        (b"/t/ac me", REFUSED),
        (b"/t/ acme", REFUSED),
        (b"/t/acme /x", REFUSED),
        (b"/t/acme\x00", REFUSED),
        (b"/t/acme\r\n", REFUSED),
        (b"/t/acme\t", REFUSED),
        (b"/t/acm\xe9", REFUSED),
        (b"/t/\xb2", REFUSED),
    ],
    "encoded": [
        (b"/t/%61cme", REFUSED),
        (b"/t/%61cme/notes", REFUSED),
        (b"/t/acm%65", REFUSED),
        (b"/t/%2561cme", REFUSED),
        (b"/t/%41cme", REFUSED),
        (b"/t/%67lobex", REFUSED),
        (b"/t/a%2d1", REFUSED),
        (b"/t/acme%2Fnotes", REFUSED),
        (b"/t/acme%2fglobex/notes", REFUSED),
        (b"/t/acme%2f..%2fglobex", REFUSED),
        (b"/t/acme%252Fnotes", REFUSED),
        (b"/t/acme%5Cglobex", REFUSED),
        (b"/t/acme%00", REFUSED),
        (b"/t/acme%00/notes", REFUSED),
        (b"/t/acme%0a", REFUSED),
        (b"/t/acme%0d%0ax", REFUSED),
        (b"/t/acme%09", REFUSED),
        (b"/t/acme%20", REFUSED),
        (b"/t/%20acme", REFUSED),
        (b"/t/acme%C2%A0", REFUSED),
        (b"/t/acme%E2%80%8B", REFUSED),
        (b"/t/acme%3Bx", REFUSED),
        (b"/t/acme%3Fx", REFUSED),
        (b"/t/acme%23", REFUSED),
        (b"/t/acme%", REFUSED),
        (b"/t/acme%zz", REFUSED),
        (b"/t/acme%u0061", REFUSED),
        (b"/t/%C1%A1cme", REFUSED),  # "a" in two bytes
        (b"/t/%D0%B0cme", REFUSED),  # Cyrillic
        (b"/t/%EF%BD%81cme", REFUSED),  # full width
        (b"/t/%D9%A7", REFUSED),  # the Arabic-Indic seven
        (b"/t/%ED%A0%80", REFUSED),
        (b"/t/%FF", REFUSED),
        (b"/t%2Facme", REFUSED),
        (b"/t%2facme/notes", REFUSED),
        (b"%2Ft/acme", REFUSED),
        (b"/%74/acme", REFUSED),
        (b"/%74/acme/notes", REFUSED),
        (b"/%74%2facme", REFUSED),
        (b"/%74/acme/t/globex", REFUSED),
    ],
    "paths elsewhere": [
        (b"/", None),
        (b"", None),
        (b"*", None),
        (b"?/t/acme", None),
        (b"/?t/acme", None),
        (b"/t", None),
        (b"/t?acme", None),
        (b"/tt/acme", None),
        (b"/T/acme", None),
        (b"/t2/acme", None),
        (b"/t.acme", None),
        (b"/t-acme/x", None),
        (b"/t;x/acme", None),
        (b"/t;/acme", None),
        (b"/t%3Bx/acme", None),
        (b"/t%20/acme", None),
        (b"/%20t/acme", None),
        (b"/t%00/acme", None),
        (b"/t\t/acme", None),
        (b"/%54/acme", None),
        (b"/%2574/acme", None),
        (b"/x/t/acme", None),
        (b"/acme", None),
        (b"/acme/t", None),
        (b"//t/acme", None),
        (b"///t/acme", None),
        (b"/./t/acme", None),
        (b"/x/../t/acme", None),
        (b"/../t/acme", None),
        (b"/%2e/t/acme", None),
        (b"t/acme", None),
        (b"\\t\\acme", None),
        (b"/\\t/acme", None),
        (b"/t\\acme", None),
        (b"/%5Ct/acme", None),
        (b"/%D1%82/acme", None),  # Cyrillic
        (b"/%EF%BD%94/acme", None),  # full width
        (b"http://acme.example.com/t/acme", None),
        (b"//acme.example.com/t/acme", None),
        (b"https://example.com/t/acme", None),
        (b"acme.example.com:443", None),
        (b"/docs", None),
    ],
    "length": [
        (b"/t/" + b"a" * 62, "a" * 62),
        (b"/t/" + b"a" * 63, LONGEST),
        (b"/t/" + b"a" * 63 + b"/x", LONGEST),
        (b"/t/" + b"a" * 64, REFUSED),
        (b"/t/" + b"a" * 10_000, REFUSED),
        (b"/t/acme/" + b"a" * 10_000, "acme"),
        (b"/t/acme" + b"/x" * 5_000, "acme"),
        (b"/" * 10_000 + b"t/acme", None),
        (b"/t" * 5_000, "t"),
    ],
}

# The root path, the path and what arrived on the line (None: the server does not say).
BELOW_A_ROOT: Table = {
    "a root path that is part of the path": [
        (("/api", "/api/t/acme", b"/api/t/acme"), "acme"),
        (("/api", "/api/t/acme/notes", None), "acme"),
        (("/api", "/api/t/", None), REFUSED),
        (("/api", "/api/t", None), None),
        (("/api", "/api", None), None),
        (("/api", "/api/", None), None),
        (("/api", "/api/x/t/acme", None), None),
        (("/api/v1", "/api/v1/t/acme", None), "acme"),
        (("/api/v1", "/api/v2/t/acme", None), None),
        (("/api", "/api/t/acme/caf\u00e9", b"/api/t/acme/caf%C3%A9"), "acme"),
        (("/api", "/api/t/acme", b"/api/t/%61cme"), REFUSED),
        (("/\u00e9", "/\u00e9/t/acme", b"/%C3%A9/t/acme"), "acme"),
    ],
    "a root path that the server keeps to itself": [
        (("/api", "/t/acme", b"/t/acme"), "acme"),
        (("/api", "/t/acme/caf\u00e9", b"/t/acme/caf%C3%A9"), "acme"),
        (("/api", "/t/acme", b"/t/%61cme"), REFUSED),
        (("/api", "/api/t/acme/\u00e9", b"/t/acme/%C3%A9"), "acme"),
        (("/api", "/", b"/"), None),
    ],
    "root paths that the path is not below": [
        (("/ap", "/api/t/acme", None), None),
        (("/apis", "/api/t/acme", None), None),
        (("/API", "/api/t/acme", None), None),
        (("api", "/api/t/acme", None), None),
        (("/ap", "/api/t/acme", b"/api/t/acme"), None),
        (("/t/acme", "/t/acme2/notes", None), "acme2"),
    ],
    "a slash at the end": [
        (("/api/", "/api//t/acme", b"/api//t/acme"), "acme"),  # what uvicorn makes of it
        (("/api/", "/api/t/acme", None), None),  # as Starlette routes it
        (("/api/", "/t/acme", None), "acme"),
        (("/", "/t/acme", b"/t/acme"), "acme"),
        (("/", "//t/acme", b"//t/acme"), "acme"),
    ],
    "the prefix inside the root path": [
        (("/t", "/t/t/acme", None), "acme"),
        (("/t", "/t/acme", None), None),
        (("/t/acme", "/t/acme/notes", None), None),
        (("/t/acme", "/t/acme", None), None),
        (("/t/acme", "/t/acme/t/globex", None), "globex"),
        (("/t/x", "/t/x/t/acme", b"/t/x/t/acme"), "acme"),
        (("/t/x", "/t/x/t/acme/\u00e9", b"/t/x/t/acme/%C3%A9"), "acme"),
        (("/t/x", "/t/x/t/acme", b"/t/x/t/%61cme"), REFUSED),
        (("/t/acme", "/t/acme/t/acme", b"/t/acme/t/%61cme"), REFUSED),
    ],
    "what arrived is missing or was changed on the way": [
        (("", "/t/acme", None), "acme"),
        (("", "/t/acme", b""), "acme"),
        (("", "/t/acme", b"/v1/t/acme"), "acme"),
        (("", "/t/acme", b"/other/acme"), "acme"),  # the application routes the path, so the path it is
        (("", "/t/acme", b"/other/%61cme"), REFUSED),
        (("", "/t/acme/\u00e9", b"/t/globex/%C3%A9"), REFUSED),
        (("", "/t/acme", b"/t/acme%2F"), REFUSED),
        (("", "/notes", b"/t/acme/notes"), None),
        (("", "/notes/\u00e9", b"/t/acme/notes/%C3%A9"), None),
    ],
}


def below(given: Any) -> dict[str, Any]:
    root_path, path, raw = given
    return scope_of(path=path, root_path=root_path, **({} if raw is None else {"raw_path": raw}))


REQUESTS = [
    *((target(raw), expected) for raw, expected in rows_of(TABLE)),
    *((below(given), expected) for given, expected in rows_of(BELOW_A_ROOT)),
]


@pytest.mark.parametrize(("raw", "expected"), rows_of(TABLE))
def test_the_table(raw: bytes, expected: Any) -> None:
    assert outcome(RESOLVER, target(raw)) == expected


@pytest.mark.parametrize("root_path", ["/api", "/api/", "/t/x"])
def test_the_table_below_a_root_path(root_path: str) -> None:
    wrong = {
        raw: found
        for raw, expected in rows_of(TABLE)
        if raw.startswith(b"/") and (found := outcome(RESOLVER, target(raw, root_path))) != expected
    }
    assert wrong == {}


@pytest.mark.parametrize(("given", "expected"), rows_of(BELOW_A_ROOT))
def test_the_table_of_root_paths(given: Any, expected: Any) -> None:
    assert outcome(RESOLVER, below(given)) == expected


async def test_the_tables_through_the_middleware() -> None:
    await check_through_the_middleware(RESOLVER, REQUESTS)


async def test_inside_a_mounted_application_the_path_counts_from_its_mount() -> None:
    door = Door(RESOLVER)
    app = Starlette(routes=[Mount("/api", app=Mount("/v1", app=door.middleware))])

    async def served(raw: bytes) -> Any:
        door._seen.clear()
        await app(target(raw), door._receive, door._send)
        return door._seen

    assert await served(b"/api/v1/t/acme/notes") == ["acme"]
    assert await served(b"/api/v1/t/globex/caf%C3%A9") == ["globex"]
    assert await served(b"/api/v1/t/%61cme") == [REFUSED]
    assert await served(b"/api/v1/t/") == [REFUSED]
    assert await served(b"/api/v1/notes") == [None]


def test_the_path_moves_into_the_root_path() -> None:
    scope = below(("/api", "/api/t/acme/notes", None))
    entered = RESOLVER.enter(scope, "acme")
    assert (entered["path"], entered["root_path"]) == ("/api/t/acme/notes", "/api/t/acme")
    assert scope["root_path"] == "/api"


@pytest.mark.parametrize(
    "prefix", ["", "/", "t", "t/", "/t/", "//t", "/t//x", "/t ", "/t?", "/t/{id}", "/\u0442", "/%74"]
)
def test_what_can_be_no_prefix_is_refused(prefix: str) -> None:
    with pytest.raises(ConfigurationError, match="prefix"):
        PathResolver(prefix)


@pytest.mark.parametrize(
    ("prefix", "raw", "expected"),
    [
        ("/orgs/by-name", b"/orgs/by-name/acme/x", "acme"),
        ("/orgs/by-name", b"/orgs/acme", None),
        ("/orgs/by-name", b"/orgs/by-name", None),
        ("/~t", b"/~t/acme", "acme"),
        ("/~t", b"/%7Et/acme", REFUSED),
    ],
)
def test_a_prefix_has_as_many_segments_as_it_likes(prefix: str, raw: bytes, expected: Any) -> None:
    assert outcome(PathResolver(prefix), target(raw)) == expected
