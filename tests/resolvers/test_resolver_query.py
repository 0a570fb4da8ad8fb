"""A query parameter names the tenant that is its value as written, if no parser of queries reads another one."""

from typing import Any

import pytest
from resolvers.door import LONGEST, REFUSED, Table, check_through_the_middleware, outcome, rows_of, scope_of

from fastapi_tenancy import ConfigurationError, QueryResolver

RESOLVER = QueryResolver("tenant")

TABLE: Table = {
    "the one parameter of that name": [
        (b"tenant=acme", "acme"),
        (b"tenant=globex", "globex"),
        (b"tenant=a", "a"),
        (b"tenant=7", "7"),
        (b"tenant=a-1", "a-1"),
        (b"tenant=www", "www"),
        (b"tenant=xn--bcher-kva", "xn--bcher-kva"),
        (b"tenant=tenant", "tenant"),
        (b"tenant=acme&a=1", "acme"),
        (b"a=1&tenant=acme", "acme"),
        (b"a=1&tenant=acme&b=2", "acme"),
        (b"&tenant=acme", "acme"),
        (b"tenant=acme&", "acme"),
        (b"&&&tenant=acme&&&", "acme"),
    ],
    "beside it, whatever an application takes": [
        (b"a&tenant=acme", "acme"),
        (b"a=&tenant=acme", "acme"),
        (b"=&tenant=acme", "acme"),
        (b"=x&tenant=acme", "acme"),
        (b"a=b=c&tenant=acme", "acme"),
        (b"a=tenant&tenant=acme", "acme"),
        (b"a=1,2&tenant=acme", "acme"),
        (b"a=1;2&tenant=acme", "acme"),
        (b"a=1;b=2&tenant=acme", "acme"),
        (b"a=%26tenant%3Dglobex&tenant=acme", "acme"),
        (b"next=/x?tenant%3Dglobex&tenant=acme", "acme"),
        (b"a=x+y&tenant=acme", "acme"),
        (b"a=%zz&tenant=acme", "acme"),
        (b"%=%&tenant=acme", "acme"),
        (b"a=caf%C3%A9&tenant=acme", "acme"),
        (b"a=\xff&tenant=acme", "acme"),
        (b"\xff=a&tenant=acme", "acme"),
        (b"tenants=globex&tenant=acme", "acme"),
        (b"Tenant=globex&tenant=acme", "acme"),
        (b"x[tenant]=globex&tenant=acme", "acme"),
        (b"tenant.x=globex&tenant=acme", "acme"),
        (b"tenant+name=globex&tenant=acme", "acme"),
        (b"a[]=1&a[]=2&tenant=acme", "acme"),
    ],
    "the name twice": [
        (b"tenant=acme&tenant=globex", REFUSED),
        (b"tenant=acme&tenant=acme", REFUSED),
        (b"tenant=acme&a=1&tenant=globex", REFUSED),
        (b"tenant=&tenant=acme", REFUSED),
        (b"tenant=acme&tenant=", REFUSED),
        (b"tenant&tenant=acme", REFUSED),
        (b"tenant=acme&tenant", REFUSED),
        (b"tenant=acme&%74enant=globex", REFUSED),
        (b"%74enant=acme&tenant=globex", REFUSED),
        (b"tenant=acme&tenant[]=globex", REFUSED),
        (b"tenant=acme&tenant%5B%5D=globex", REFUSED),
        (b"tenant=acme&tenant[0]=globex", REFUSED),
        (b"tenant=acme&+tenant=globex", REFUSED),
        (b"tenant=acme&tenant+=globex", REFUSED),
        (b"tenant=acme&tenant%00=globex", REFUSED),
        (b"tenant=acme&tenant%00x=globex", REFUSED),
        (b"tenant=acme;tenant=globex", REFUSED),
        (b"tenant=acme&a=1;tenant=globex", REFUSED),
        (b"a=1;tenant=globex&tenant=acme", REFUSED),
        (b"&".join([b"tenant=acme"] * 100), REFUSED),
    ],
    "what is a parameter for some parsers": [
        (b"tenant", REFUSED),
        (b"tenant&a=1", REFUSED),
        (b"a=1&tenant", REFUSED),
        (b"%74enant=acme", REFUSED),
        (b"tenan%74=acme", REFUSED),
        (b"%74%65%6e%61%6e%74=acme", REFUSED),
        (b"%74%65%6E%61%6E%74=acme", REFUSED),
        (b"tenant[]=acme", REFUSED),
        (b"tenant[0]=acme", REFUSED),
        (b"tenant[a]=acme", REFUSED),
        (b"tenant[=acme", REFUSED),
        (b"tenant%5B%5D=acme", REFUSED),
        (b"+tenant=acme", REFUSED),
        (b"%20tenant=acme", REFUSED),
        (b" tenant=acme", REFUSED),
        (b"tenant+=acme", REFUSED),
        (b"tenant%20=acme", REFUSED),
        (b"tenant%09=acme", REFUSED),
        (b"%0Atenant=acme", REFUSED),
        (b"tenant%00=acme", REFUSED),
        (b"tenant%00x=acme", REFUSED),
        (b"%00tenant=acme", REFUSED),
        (b"tenant\x00=acme", REFUSED),
        (b"\xa0tenant=acme", REFUSED),
        (b"%C2%A0tenant=acme", REFUSED),
        (b"a=1;tenant=acme", REFUSED),
        (b";tenant=acme", REFUSED),
        (b"tenant;a=1", REFUSED),
        (b"a=1;tenant", REFUSED),
        (b"tenant=acme;", REFUSED),
        (b"tenant=acme;a=1", REFUSED),
    ],
    "no identifier": [
        (b"tenant=", REFUSED),
        (b"tenant=&a=1", REFUSED),
        (b"tenant==acme", REFUSED),
        (b"tenant=acme=", REFUSED),
        (b"tenant=acme=globex", REFUSED),
        (b"tenant= acme", REFUSED),
        (b"tenant=acme ", REFUSED),
        (b"tenant=acme\t", REFUSED),
        (b"tenant=acme\n", REFUSED),
        (b"tenant=acme\r\n", REFUSED),
        (b"tenant=acme\x00", REFUSED),
        (b"tenant=ac me", REFUSED),
        (b"tenant=acme,globex", REFUSED),
        (b"tenant=acme|globex", REFUSED),
        (b"tenant=acme?a=1", REFUSED),
        (b"tenant=acme#a", REFUSED),
        (b"tenant=Acme", REFUSED),
        (b"tenant=ACME", REFUSED),
        (b"tenant=-acme", REFUSED),
        (b"tenant=acme-", REFUSED),
        (b"tenant=ac_me", REFUSED),
        (b"tenant=a.b", REFUSED),
        (b"tenant=.", REFUSED),
        (b"tenant=..", REFUSED),
        (b"tenant=/acme", REFUSED),
        (b"tenant=acme/", REFUSED),
        (b"tenant=../acme", REFUSED),
        (b"tenant=acme\\", REFUSED),
        (b"tenant=acme:80", REFUSED),
        (b"tenant=user@acme", REFUSED),
        (b"tenant=acme.example.com", REFUSED),
        (b"tenant=*", REFUSED),
        (b"tenant=[acme]", REFUSED),
        (b"tenant={id}", REFUSED),
        (b'tenant="acme"', REFUSED),
        (b"tenant='acme'", REFUSED),
        (b"tenant='--", REFUSED),
        (b"tenant=<b>", REFUSED),
        (b"tenant=$(id)", REFUSED),
    ],
    "encoded": [
        (b"tenant=%61cme", REFUSED),
        (b"tenant=acm%65", REFUSED),
        (b"tenant=%41cme", REFUSED),
        (b"tenant=a%2d1", REFUSED),
        (b"tenant=%2561cme", REFUSED),
        (b"tenant=acme%", REFUSED),
        (b"tenant=acme%zz", REFUSED),
        (b"tenant=acme%u0061", REFUSED),
        (b"tenant=acme%00", REFUSED),
        (b"tenant=acme%0d%0a", REFUSED),
        (b"tenant=acme%20", REFUSED),
        (b"tenant=%20acme", REFUSED),
        (b"tenant=acme+", REFUSED),
        (b"tenant=+acme", REFUSED),
        (b"tenant=ac+me", REFUSED),
        (b"tenant=acme%26a%3D1", REFUSED),
        (b"tenant=acme%26tenant%3Dglobex", REFUSED),
        (b"tenant=acme%3Bx", REFUSED),
        (b"tenant=acme%2Cglobex", REFUSED),
        (b"tenant=acme%23", REFUSED),
        (b"tenant=&#97;cme", REFUSED),
        (b"tenant=YWNtZQ==", REFUSED),
        (b"tenant%3Dacme", None),
        (b"tenant%3dacme&a=1", None),
        (b"%2574enant=acme", None),
        (b"a=1%26tenant=acme", None),
        (b"a=1%26tenant%3Dacme", None),
        (b"a=1%3Btenant%3Dacme", None),
    ],
    "letters that are none": [
        ("tenant=\u0430cme".encode(), REFUSED),
        ("tenant=\uff41cme".encode(), REFUSED),
        ("tenant=acm\u00e9".encode(), REFUSED),
        ("tenant=\u0667".encode(), REFUSED),
        (b"tenant=%D0%B0cme", REFUSED),
        (b"tenant=%EF%BD%81cme", REFUSED),
        (b"tenant=%D9%A7", REFUSED),
        (b"tenant=%C1%A1cme", REFUSED),
        (b"tenant=%ED%A0%80", REFUSED),
        (b"tenant=%FF", REFUSED),
        (b"tenant=acm\xe9", REFUSED),
        (b"tenant=\xb2", REFUSED),
        (b"tenant=\xff\xfe", REFUSED),
        (b"t%D0%B5nant=acme", None),
        (b"%EF%BD%94enant=acme", None),
        (b"t%C1%A5nant=acme", None),
        (b"%EF%BB%BFtenant=acme", None),
    ],
    "other parameters and no query": [
        (b"", None),
        (b"&", None),
        (b"=", None),
        (b";", None),
        (b"?", None),
        (b"%", None),
        (b"+", None),
        (b"acme", None),
        (b"=acme", None),
        (b"=tenant=acme", None),
        (b"a=1", None),
        (b"a=tenant", None),
        (b"a=tenant=acme", None),
        (b"a=1,tenant=acme", None),
        (b"?tenant=acme", None),
        (b"#tenant=acme", None),
        (b"/tenant=acme", None),
        (b"tenants=acme", None),
        (b"xtenant=acme", None),
        (b"x-tenant=acme", None),
        (b"tenant2=acme", None),
        (b"tenant_id=acme", None),
        (b"tenant-id=acme", None),
        (b"tenant.id=acme", None),
        (b"x[tenant]=acme", None),
        (b"[tenant]=acme", None),
        (b"[]tenant=acme", None),
        (b"$tenant=acme", None),
        (b'"tenant"=acme', None),
        (b"Tenant=acme", None),
        (b"TENANT=acme", None),
        (b"ten%20ant=acme", None),
        (b"ten%00ant=acme", None),
    ],
    "length": [
        (b"tenant=" + b"a" * 63, LONGEST),
        (b"tenant=" + b"a" * 64, REFUSED),
        (b"tenant=" + b"a" * 10_000, REFUSED),
        (b"a=" + b"b" * 10_000 + b"&tenant=acme", "acme"),
        (b"a=1&" * 2_000 + b"tenant=acme", "acme"),
        (b"&" * 10_000 + b"tenant=acme", "acme"),
        (b"+" * 10_000 + b"tenant=acme", REFUSED),
        (b"tenant" * 2_000, None),
        (b"%" * 10_000, None),
    ],
}


@pytest.mark.parametrize(("query", "expected"), rows_of(TABLE))
def test_the_table(query: bytes, expected: Any) -> None:
    assert outcome(RESOLVER, scope_of(query=query)) == expected


async def test_the_table_through_the_middleware() -> None:
    await check_through_the_middleware(
        RESOLVER, ((scope_of(query=query), expected) for query, expected in rows_of(TABLE))
    )


def test_a_websocket_may_come_without_a_query_string() -> None:
    assert outcome(RESOLVER, {"type": "websocket", "path": "/", "headers": []}) is None


def test_only_the_query_is_read() -> None:
    headers = [(b"tenant", b"acme"), (b"cookie", b"tenant=acme"), (b"referer", b"https://x/?tenant=acme")]
    assert outcome(RESOLVER, scope_of(headers, path="/?tenant=acme", raw_path=b"/?tenant=acme")) is None


@pytest.mark.parametrize("name", ["tenant", "Tenant", "tenant_id", "tenant-id", "my.tenant2"])
def test_a_parameter_can_be_called_so(name: str) -> None:
    resolver = QueryResolver(name)
    assert outcome(resolver, scope_of(query=f"tenan=x&{name}=acme".encode())) == "acme"
    assert outcome(resolver, scope_of(query=f"{name}=acme&{name}=acme".encode())) == REFUSED
    assert outcome(resolver, scope_of(query=f"{name.replace('.', 'x').swapcase()}=acme".encode())) is None


@pytest.mark.parametrize(
    "name",
    ["", " ", "te nant", "tenant ", "tenant=", "a&b", "tenant\n", "tenant[]", "%74enant", "a+b", "a;b", "\u0442"],
)
def test_what_can_be_no_parameters_name_is_refused(name: str) -> None:
    with pytest.raises(ConfigurationError, match="parameter"):
        QueryResolver(name)


def test_the_parameter_is_a_security_scheme() -> None:
    scheme = QueryResolver("org").security_scheme()
    assert (scheme["type"], scheme["in"], scheme["name"]) == ("apiKey", "query", "org")
