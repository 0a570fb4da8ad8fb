"""A cookie names the tenant that is its whole value, if no parser of cookies reads another one."""

from typing import Any

import pytest
from resolvers.door import LONGEST, REFUSED, Header, Table, check_through_the_middleware, outcome, rows_of, scope_of

from fastapi_tenancy import ConfigurationError, CookieResolver

RESOLVER = CookieResolver("tenant")


def cookies(*lines: bytes) -> list[Header]:
    return [(b"cookie", line) for line in lines]


TABLE: Table = {
    "the one cookie of that name": [
        (b"tenant=acme", "acme"),
        (b"tenant=globex", "globex"),
        (b"tenant=a", "a"),
        (b"tenant=7", "7"),
        (b"tenant=a-1", "a-1"),
        (b"tenant=www", "www"),
        (b"tenant=xn--bcher-kva", "xn--bcher-kva"),
        (b"tenant=tenant", "tenant"),
        (b"tenant=acme; a=1", "acme"),
        (b"a=1; tenant=acme", "acme"),
        (b"a=1; tenant=acme; b=2", "acme"),
        (b"a=1;tenant=acme;b=2", "acme"),
        (b"a=1;  tenant=acme", "acme"),
        (b"a=1;\ttenant=acme", "acme"),
        (b"tenant=acme;", "acme"),
        (b"tenant=acme; ", "acme"),
        (b"; tenant=acme", "acme"),
        (b";;;tenant=acme;;;", "acme"),
        (b" tenant=acme", "acme"),
    ],
    "beside it, what servers and scripts store": [
        (b"a=b=c; tenant=acme", "acme"),
        (b"a=; tenant=acme", "acme"),
        (b"=; tenant=acme", "acme"),
        (b"=x; tenant=acme", "acme"),
        (b"x; tenant=acme", "acme"),
        (b"a=tenant; tenant=acme", "acme"),
        (b"tenants=globex; tenant=acme", "acme"),
        (b"Tenant=globex; tenant=acme", "acme"),
        (b"my-tenant=globex; tenant=acme", "acme"),
        (b"tenant.x=globex; tenant=acme", "acme"),
        (b'a="b"; tenant=acme', "acme"),
        (b'a="b c"; tenant=acme', "acme"),
        (b'a=""; tenant=acme', "acme"),
        (b'a="b\\"c"; tenant=acme', "acme"),
        (b'a={"b":"c","d":[1,2]}; tenant=acme', "acme"),
        (b'a=5"; tenant=acme', "acme"),
        (b'tenant=acme; a="b"', "acme"),
        (b"a=1,2 3; tenant=acme", "acme"),
        (b"a=/x?tenant=globex&b=1; tenant=acme", "acme"),
        (b"a=%3Btenant%3Dglobex; tenant=acme", "acme"),
        (b"a=caf\xc3\xa9; tenant=acme", "acme"),
        (b"$Version=1; tenant=acme; $Path=/", "acme"),
    ],
    "several lines, which HTTP/2 allows": [
        (cookies(b"a=1", b"tenant=acme"), "acme"),
        (cookies(b"tenant=acme", b"a=1"), "acme"),
        (cookies(b"a=1", b"tenant=acme", b"b=2"), "acme"),
        (cookies(b"", b"tenant=acme"), "acme"),
        (cookies(b"a=1;", b"tenant=acme"), "acme"),
        ([(b"cookie", b"a=1"), (b"host", b"x"), (b"cookie", b"tenant=acme")], "acme"),
        (cookies(b"tenant=acme", b"tenant=globex"), REFUSED),
        (cookies(b"tenant=acme", b"tenant=acme"), REFUSED),
        (cookies(b"tenant=", b"tenant=acme"), REFUSED),
        (cookies(b"tenant", b"=acme"), REFUSED),
        (cookies(b"tenant=ac", b"me"), "ac"),
        (cookies(b"ten", b"ant=acme"), None),
        (cookies(b'a="b', b"tenant=acme", b'c="'), REFUSED),
    ],
    "the name twice": [
        (b"tenant=acme; tenant=globex", REFUSED),
        (b"tenant=acme; tenant=acme", REFUSED),
        (b"tenant=acme;tenant=globex", REFUSED),
        (b"tenant=acme; a=1; tenant=globex", REFUSED),
        (b"tenant=; tenant=acme", REFUSED),
        (b"tenant=acme; tenant=", REFUSED),
        (b"tenant; tenant=acme", REFUSED),
        (b"tenant=acme; tenant", REFUSED),
        (b"tenant=acme; tenant =globex", REFUSED),
        (b"tenant=acme;\xa0tenant=globex", REFUSED),
        (b"tenant=acme;\x0btenant=globex", REFUSED),
        (b"tenant=acme;\x00tenant=globex", REFUSED),
        (b"tenant=acme tenant=globex", REFUSED),
        (b"tenant=acme,tenant=globex", REFUSED),
        (b"tenant=acme, tenant=globex", REFUSED),
        (b"tenant= tenant=acme", REFUSED),
        (b"tenant tenant=acme", REFUSED),
        (b"; ".join([b"tenant=acme"] * 100), REFUSED),
    ],
    "what begins a cookie for some parsers": [
        (b"a=1,tenant=acme", REFUSED),
        (b"a=1, tenant=acme", REFUSED),
        (b"a=1 tenant=acme", REFUSED),
        (b"a=1\ttenant=acme", REFUSED),
        (b"a=1\ntenant=acme", REFUSED),
        (b"a=1\r\ntenant=acme", REFUSED),
        (b"a=1\r\n tenant=acme", REFUSED),
        (b"a=1\x00tenant=acme", REFUSED),
        (b"a=1;\ntenant=acme", REFUSED),
        (b"a=1;\x0ctenant=acme", REFUSED),
        (b"a=1;\x00tenant=acme", REFUSED),
        (b"a=1;\x85tenant=acme", REFUSED),
        (b"a=1;\xa0tenant=acme", REFUSED),
        (b"\xa0tenant=acme", REFUSED),
        (b"\x00tenant=acme", REFUSED),
        (b"tenant =acme", REFUSED),
        (b"tenant\t=acme", REFUSED),
        (b"tenant\x00=acme", REFUSED),
        (b"tenant\xa0=acme", REFUSED),
        (b"tenant", REFUSED),
        (b" tenant ", REFUSED),
        (b"a=1; tenant", REFUSED),
        (b"tenant; a=1", REFUSED),
    ],
    "quotes that are left open": [
        (b'a="b; tenant=acme', REFUSED),
        (b'a="b; tenant=acme; c="', REFUSED),
        (b'a="b; tenant=acme; c=d"', REFUSED),
        (b'a= "b; tenant=acme; c=d"', REFUSED),
        (b'a="b\\"; tenant=acme; c="d"', REFUSED),
        (b'a="b"c; tenant=acme', REFUSED),
        (b'a="b"tenant=globex; tenant=acme', REFUSED),
        (b'"b; tenant=acme; c"', REFUSED),
        (b'"a"=b; tenant=acme', REFUSED),
        (b'$Version=1; a="b; tenant=acme; c="', REFUSED),
        (b'tenant=acme; a="b', REFUSED),
        (b'tenant=acme; a="b; tenant=globex; c="', REFUSED),
        (b'a="b; c"', None),
        (b'a="b', None),
    ],
    "no identifier": [
        (b"tenant=", REFUSED),
        (b"tenant=; a=1", REFUSED),
        (b"tenant==acme", REFUSED),
        (b"tenant=acme=", REFUSED),
        (b"tenant=acme=globex", REFUSED),
        (b"tenant= acme", REFUSED),
        (b"tenant=acme ", REFUSED),
        (b"tenant=acme ; a=1", REFUSED),
        (b"tenant=\tacme", REFUSED),
        (b"tenant=acme\xa0", REFUSED),
        (b"tenant=acme\n", REFUSED),
        (b"tenant=acme\r\n", REFUSED),
        (b"tenant=acme\x00", REFUSED),
        (b"tenant=ac me", REFUSED),
        (b"tenant=acme,globex", REFUSED),
        (b"tenant=acme,a=1", REFUSED),
        (b"tenant=acme&a=1", REFUSED),
        (b"tenant=acme|globex", REFUSED),
        (b"tenant=Acme", REFUSED),
        (b"tenant=ACME", REFUSED),
        (b"tenant=-acme", REFUSED),
        (b"tenant=acme-", REFUSED),
        (b"tenant=ac_me", REFUSED),
        (b"tenant=a.b", REFUSED),
        (b"tenant=.", REFUSED),
        (b"tenant=..", REFUSED),
        (b"tenant=/acme", REFUSED),
        (b"tenant=../acme", REFUSED),
        (b"tenant=acme:80", REFUSED),
        (b"tenant=*", REFUSED),
        (b"tenant={id}", REFUSED),
        (b"tenant='--", REFUSED),
        (b"tenant='acme'", REFUSED),
    ],
    "encoded and quoted": [
        (b'tenant="acme"', REFUSED),
        (b'tenant="acme', REFUSED),
        (b'tenant=acme"', REFUSED),
        (b'tenant="acme; globex"', REFUSED),
        (b'tenant="\\141cme"', REFUSED),
        (b"tenant=\\141cme", REFUSED),
        (b"tenant=%61cme", REFUSED),
        (b"tenant=acm%65", REFUSED),
        (b"tenant=%2561cme", REFUSED),
        (b"tenant=acme%3B", REFUSED),
        (b"tenant=acme%00", REFUSED),
        (b"tenant=acme%0d%0aset-cookie:x", REFUSED),
        (b"tenant=acme+", REFUSED),
        (b"tenant=+acme", REFUSED),
        (b"tenant=YWNtZQ==", REFUSED),
        (b"tenant=j:acme", REFUSED),
        (b"tenant=s:acme.c2ln", REFUSED),
        (b"tenant%3Dacme", None),
        (b"%74enant=acme", None),
    ],
    "letters that are none": [
        ("tenant=\u0430cme".encode(), REFUSED),
        ("tenant=\uff41cme".encode(), REFUSED),
        ("tenant=acm\u00e9".encode(), REFUSED),
        ("tenant=\u0667".encode(), REFUSED),
        ("tenant=\u212a".encode(), REFUSED),
        ("tenant=ac\u200bme".encode(), REFUSED),
        (b"tenant=acm\xe9", REFUSED),
        (b"tenant=\xb2", REFUSED),
        (b"tenant=ac\xadme", REFUSED),
        (b"tenant=\xc1\xa1cme", REFUSED),
        (b"tenant=\xed\xa0\x80", REFUSED),
        (b"tenant=\xff\xfe", REFUSED),
        ("t\u0435nant=acme".encode(), None),
        ("\uff54enant=acme".encode(), None),
        (b"t\xc1\xa5nant=acme", None),
    ],
    "other cookies and no cookies": [
        ([], None),
        (b"", None),
        (b" ", None),
        (b";", None),
        (b"=", None),
        (b"=acme", None),
        (b"acme", None),
        (b"=tenant=acme", None),
        (b"a=1", None),
        (b"a=tenant", None),
        (b"a=the tenant of acme", None),
        (b"a=tenant=acme", None),
        (b"a=/x?tenant=acme", None),
        (b"a=b&tenant=acme", None),
        (b"tenants=acme", None),
        (b"xtenant=acme", None),
        (b"x-tenant=acme", None),
        (b"tenant2=acme", None),
        (b"tenant-id=acme", None),
        (b"tenant_id=acme", None),
        (b"tenant[]=acme", None),
        (b"$tenant=acme", None),
        (b"Tenant=acme", None),
        (b"TENANT=acme", None),
        (b"__Host-tenant=acme", None),
        (b"__Secure-tenant=acme", None),
        ([(b"set-cookie", b"tenant=acme")], None),
        ([(b"cookie2", b"tenant=acme")], None),
        ([(b"cookies", b"tenant=acme")], None),
        ([(b"x-cookie", b"tenant=acme")], None),
        ([(b"cookie ", b"tenant=acme")], None),
        ([(b"tenant", b"acme")], None),
    ],
    "length": [
        (b"tenant=" + b"a" * 63, LONGEST),
        (b"tenant=" + b"a" * 64, REFUSED),
        (b"tenant=" + b"a" * 10_000, REFUSED),
        (b"a=" + b"b" * 10_000 + b"; tenant=acme", "acme"),
        (b"a=1; " * 2_000 + b"tenant=acme", "acme"),
        (b";" * 10_000 + b"tenant=acme", "acme"),
        (b" " * 10_000 + b"tenant=acme", "acme"),
        (b"tenant" * 2_000, None),
        (b'a="' * 3_000 + b"; tenant=acme", REFUSED),
    ],
}


def request_of(given: Any) -> dict[str, Any]:
    return scope_of(cookies(given) if isinstance(given, bytes) else given)


@pytest.mark.parametrize(("given", "expected"), rows_of(TABLE))
def test_the_table(given: Any, expected: Any) -> None:
    assert outcome(RESOLVER, request_of(given)) == expected


async def test_the_table_through_the_middleware() -> None:
    await check_through_the_middleware(RESOLVER, ((request_of(given), expected) for given, expected in rows_of(TABLE)))


@pytest.mark.parametrize("name", ["tenant", "Tenant", "__Host-tenant", "__Secure-tenant", "my.tenant_id-2"])
def test_a_cookie_can_be_called_so(name: str) -> None:
    resolver = CookieResolver(name)
    assert outcome(resolver, request_of(f"tenant_=x; {name}=acme".encode())) == "acme"
    assert outcome(resolver, request_of(f"{name}=acme; {name}=acme".encode())) == REFUSED
    assert outcome(resolver, request_of(f"{name.replace('.', 'x').swapcase()}=acme".encode())) is None


@pytest.mark.parametrize(
    "name",
    ["", " ", "te nant", "tenant ", "tenant=", "tenant;", "tenant\n", '"tenant"', "$tenant", "a,b", "\u0442", "t[]"],
)
def test_what_can_be_no_cookies_name_is_refused(name: str) -> None:
    with pytest.raises(ConfigurationError, match="cookie"):
        CookieResolver(name)


def test_the_cookie_is_a_security_scheme() -> None:
    scheme = CookieResolver("__Host-tenant").security_scheme()
    assert (scheme["type"], scheme["in"], scheme["name"]) == ("apiKey", "cookie", "__Host-tenant")
