"""A host names the tenant that is its one label before the domain, and no other host names any."""

from typing import Any

import pytest
from resolvers.door import LONGEST, REFUSED, Header, Table, check_through_the_middleware, outcome, rows_of, scope_of

from fastapi_tenancy import ConfigurationError, SubdomainResolver

RESOLVER = SubdomainResolver("example.com")


def hosts(*values: bytes) -> list[Header]:
    return [(b"host", value) for value in values]


TABLE: Table = {
    "one label before the domain": [
        (b"acme.example.com", "acme"),
        (b"globex.example.com", "globex"),
        (b"a.example.com", "a"),
        (b"7.example.com", "7"),
        (b"0x7f.example.com", "0x7f"),
        (b"a-1.example.com", "a-1"),
        (b"a--b.example.com", "a--b"),
        (b"www2.example.com", "www2"),
        (b"wwww.example.com", "wwww"),
        (b"ww.example.com", "ww"),
        (b"xn--bcher-kva.example.com", "xn--bcher-kva"),
        (b"localhost.example.com", "localhost"),
        (b"example.example.com", "example"),
        (b"com.example.com", "com"),
    ],
    "letter case, final dot and port": [
        (b"ACME.EXAMPLE.COM", "acme"),
        (b"aCmE.eXaMpLe.CoM", "acme"),
        (b"Acme.example.com", "acme"),
        (b"acme.Example.com", "acme"),
        (b"XN--BCHER-KVA.example.com", "xn--bcher-kva"),
        (b"acme.example.com.", "acme"),
        (b"ACME.EXAMPLE.COM.", "acme"),
        (b"acme.example.com:80", "acme"),
        (b"acme.example.com:443", "acme"),
        (b"acme.example.com:080", "acme"),
        (b"acme.example.com:0", "acme"),
        (b"acme.example.com:65535", "acme"),
        (b"acme.example.com:65536", "acme"),  # RFC 3986: any digits
        (b"acme.example.com:", "acme"),  # RFC 3986: also none
        (b"acme.example.com.:443", "acme"),
        (b"ACME.Example.COM.:8000", "acme"),
    ],
    "no port": [
        (b"acme.example.com:80x", REFUSED),
        (b"acme.example.com:x", REFUSED),
        (b"acme.example.com:http", REFUSED),
        (b"acme.example.com:-1", REFUSED),
        (b"acme.example.com:+80", REFUSED),
        (b"acme.example.com: 80", REFUSED),
        (b"acme.example.com:80 ", REFUSED),
        (b"acme.example.com:8 0", REFUSED),
        (b"acme.example.com:8_0", REFUSED),
        (b"acme.example.com:0x50", REFUSED),
        (b"acme.example.com:80.", REFUSED),
        (b"acme.example.com:80:80", REFUSED),
        (b"acme.example.com::80", REFUSED),
        (b"acme.example.com:\xb2", REFUSED),
        ("acme.example.com:\u0668\u0660".encode(), REFUSED),
        (b"acme.example.com:80\n", REFUSED),
        (b"acme.example.com:80\x00", REFUSED),
        (b"acme.example.com:80/", REFUSED),
        (b"acme.example.com:80,globex.example.com", REFUSED),
        (b"acme.example.com:80, evil.org", REFUSED),
        (b"acme.example.com:80@globex.example.com", REFUSED),
        (b"acme.example.com:globex.example.com", REFUSED),
        (b"acme.example.com:@globex.example.com", REFUSED),
        (b"acme.example.com:80#.globex.example.com", REFUSED),
    ],
    "the domain itself and what is ignored": [
        (b"example.com", None),
        (b"EXAMPLE.COM", None),
        (b"example.com.", None),
        (b"example.com:443", None),
        (b"www.example.com", None),
        (b"WWW.Example.Com", None),
        (b"www.example.com.:443", None),
    ],
    "hosts elsewhere": [
        (b"acme.example.org", None),
        (b"acme.example.co", None),
        (b"acme.example.comx", None),
        (b"acme.example.com.evil.org", None),
        (b"acme.example.com.evil.org:80", None),
        (b"acme.example.com-evil.org", None),
        (b"acmeexample.com", None),
        (b"notexample.com", None),
        (b"acme.notexample.com", None),
        (b"acme-example.com", None),
        (b"acme_example.com", None),
        (b"acme.example-com", None),
        (b"acme.exampleXcom", None),
        (b"acme.examp1e.com", None),
        (b"acme.example", None),
        (b"acme.com", None),
        (b"acme", None),
        (b"com", None),
        (b"localhost", None),
        (b"localhost:8000", None),
        (b"testserver", None),
        (b"acme.local", None),
        (b"acme.localhost", None),
        (b"acme.example.com.local", None),
        (b"acme.example.com..", None),
        (b"acme.example..com", None),
        (b"evil.org:acme.example.com", None),
        (b"https://acme.example.com", None),
        (b"user:secret@acme.example.com", None),
        (b"acme.example.com/x", None),
        (b"acme.example.com?x", None),
        (b"acme.example.com#x", None),
        (b"acme.example.com@evil.org", None),
        (b"acme.example.com,evil.org", None),
        (b"acme.example.com ", None),
        (b"acme.example.com\t", None),
        (b"acme.example.com\n", None),
        (b"acme.example.com\x00", None),
        (b"acme.example.com\x00.evil.org", None),
        (b"acme.example.com\xa0", None),
        ("acme\u3002example\u3002com".encode(), None),
        ("acme.example\uff0ecom".encode(), None),
        ("acme.ex\u0430mple.com".encode(), None),
        ("acme.\uff45xample.com".encode(), None),
        (b"a." * 5_000 + b"com", None),
    ],
    "addresses": [
        (b"127.0.0.1", None),
        (b"127.0.0.1:8000", None),
        (b"10.1", None),
        (b"2130706433", None),
        (b"0x7f.0.0.1", None),
        (b"[::1]", None),
        (b"[::1]:8000", None),
        (b"[2001:db8::1]:443", None),
        (b"[::ffff:127.0.0.1]", None),
        (b"[fe80::1%25eth0]", None),
        (b"[v1.acme.example.com]", None),
        (b"::1", None),
        (b"127.0.0.1.example.com", REFUSED),
        (b"[::1].example.com", None),
        (b"[acme].example.com", REFUSED),
    ],
    "nothing and next to nothing": [
        ([], None),
        (b"", None),
        (b" ", None),
        (b".", None),
        (b"..", None),
        (b":", None),
        (b":80", None),
        (b"*", None),
        (b"\x00", None),
        (b".example.com", REFUSED),
        (b"..example.com", REFUSED),
        (b".example.com:80", REFUSED),
        (b".example.com.", REFUSED),
    ],
    "several labels": [
        (b"a.b.example.com", REFUSED),
        (b"a.b.c.example.com", REFUSED),
        (b"acme.globex.example.com", REFUSED),
        (b"www.acme.example.com", REFUSED),
        (b"acme.www.example.com", REFUSED),
        (b"www.www.example.com", REFUSED),
        (b"acme..example.com", REFUSED),
        (b".acme.example.com", REFUSED),
        (b"acme.example.com.example.com", REFUSED),
        (b"example.com.example.com", REFUSED),
        (b"www..example.com", REFUSED),
        (b"a." * 5_000 + b"example.com", REFUSED),
    ],
    "length": [
        (b"a" * 62 + b".example.com", "a" * 62),
        (b"a" * 63 + b".example.com", LONGEST),
        (b"A" * 63 + b".example.com:80", LONGEST),
        (b"a" * 64 + b".example.com", REFUSED),
        (b"a" * 10_000 + b".example.com", REFUSED),
        (b"acme.example.com:" + b"8" * 10_000, "acme"),
        (b"acme.example.com" + b"." * 10_000, None),
    ],
    "no labels": [
        (b"-acme.example.com", REFUSED),
        (b"acme-.example.com", REFUSED),
        (b"-.example.com", REFUSED),
        (b"_acme.example.com", REFUSED),
        (b"ac_me.example.com", REFUSED),
        (b"*.example.com", REFUSED),
        (b"-www.example.com", REFUSED),
        (b"www-.example.com", REFUSED),
        (b" www.example.com", REFUSED),
        (b"www .example.com", REFUSED),
        (b" acme.example.com", REFUSED),
        (b"acme .example.com", REFUSED),
        (b"\tacme.example.com", REFUSED),
        (b"ac me.example.com", REFUSED),
        (b"acme\xa0.example.com", REFUSED),
        (b"acme\x00.example.com", REFUSED),
        (b"acme.example.com\x00.example.com", REFUSED),
        (b"acme\r\n.example.com", REFUSED),
        (b"acme\n.example.com", REFUSED),
        (b"\nacme.example.com", REFUSED),
        (b"acme\r\n globex.example.com", REFUSED),
        (b"%61cme.example.com", REFUSED),
        (b"acme%2eexample.com.example.com", REFUSED),
        (b"acme%00.example.com", REFUSED),
        (b"user@acme.example.com", REFUSED),
        (b"evil.org@acme.example.com", REFUSED),
        (b"evil.org#acme.example.com", REFUSED),
        (b"evil.org#.example.com", REFUSED),
        (b"evil.org?.example.com", REFUSED),
        (b"evil.org/.example.com", REFUSED),
        (b"evil.org\\.example.com", REFUSED),
        (b"//acme.example.com", REFUSED),
        (b"/acme.example.com", REFUSED),
        (b"acme/.example.com", REFUSED),
        (b"../acme.example.com", REFUSED),
        (b"acme;x=1.example.com", REFUSED),
        (b"acme,globex.example.com", REFUSED),
        (b"acme.example.com,globex.example.com", REFUSED),
        (b"acme.example.com, acme.example.com", REFUSED),
        (b"acme.example.com globex.example.com", REFUSED),
        (b'"acme".example.com', REFUSED),
        (b"'--.example.com", REFUSED),
        (b"{id}.example.com", REFUSED),
        (b"${x}.example.com", REFUSED),
        (b"<b>.example.com", REFUSED),
    ],
    "letters that are none": [
        (b"\xe9.example.com", REFUSED),
        (b"\xc9.example.com", REFUSED),
        (b"b\xfccher.example.com", REFUSED),
        (b"\xb2.example.com", REFUSED),
        (b"\xb5.example.com", REFUSED),
        (b"\xdf.example.com", REFUSED),
        ("b\u00fccher.example.com".encode(), REFUSED),
        ("\u0430cme.example.com".encode(), REFUSED),
        ("\uff41cme.example.com".encode(), REFUSED),
        ("\uff57\uff57\uff57.example.com".encode(), REFUSED),
        ("\u212a.example.com".encode(), REFUSED),
        ("acme\u3002globex.example.com".encode(), REFUSED),
        ("acme\u200b.example.com".encode(), REFUSED),
        ("\u00adacme.example.com".encode(), REFUSED),
        (b"\xc1\xa1cme.example.com", REFUSED),
        (b"\xff\xfe.example.com", REFUSED),
    ],
    "several hosts, and headers that are none": [
        (hosts(b"acme.example.com", b"acme.example.com"), REFUSED),
        (hosts(b"acme.example.com", b"globex.example.com"), REFUSED),
        (hosts(b"acme.example.com", b"evil.org"), REFUSED),
        (hosts(b"evil.org", b"acme.example.com"), REFUSED),
        (hosts(b"", b"acme.example.com"), REFUSED),
        (hosts(b"acme.example.com", b""), REFUSED),
        ([(b"host", b"acme.example.com"), (b"accept", b"*/*"), (b"host", b"acme.example.com")], REFUSED),
        ([(b"x-forwarded-host", b"acme.example.com")], None),
        ([(b"host", b"example.com"), (b"x-forwarded-host", b"acme.example.com")], None),
        ([(b"host", b"example.com"), (b"forwarded", b"host=acme.example.com")], None),
        ([(b"host", b"example.com"), (b"x-host", b"acme.example.com")], None),
        ([(b"host", b"example.com"), (b"x-original-host", b"acme.example.com")], None),
        ([(b"host", b"example.com"), (b"x-forwarded-server", b"acme.example.com")], None),
        ([(b"host", b"example.com"), (b"x-http-host-override", b"acme.example.com")], None),
        ([(b"host", b"example.com"), (b"origin", b"https://acme.example.com")], None),
        ([(b"host", b"example.com"), (b"referer", b"https://acme.example.com/")], None),
        ([(b"host", b"acme.example.com"), (b"x-forwarded-host", b"globex.example.com")], "acme"),
        ([(b":authority", b"acme.example.com")], None),
        ([(b"host ", b"acme.example.com")], None),
        ([(b" host", b"acme.example.com")], None),
        ([(b"host\x00", b"acme.example.com")], None),
        ([(b"hosts", b"acme.example.com")], None),
    ],
}


def request_of(given: Any) -> dict[str, Any]:
    return scope_of(hosts(given) if isinstance(given, bytes) else given)


@pytest.mark.parametrize(("given", "expected"), rows_of(TABLE))
def test_the_table(given: Any, expected: Any) -> None:
    assert outcome(RESOLVER, request_of(given)) == expected


async def test_the_table_through_the_middleware() -> None:
    await check_through_the_middleware(RESOLVER, ((request_of(given), expected) for given, expected in rows_of(TABLE)))


@pytest.mark.parametrize(
    "domain",
    ["example.com", "EXAMPLE.com", ".example.com", "example.com.", "example.com:8000", ".Example.Com.:80"],
)
def test_a_domain_can_be_written_in_several_ways(domain: str) -> None:
    assert outcome(SubdomainResolver(domain), request_of(b"acme.example.com")) == "acme"


@pytest.mark.parametrize(
    "domain",
    ["", ".", "*.example.com", "https://example.com", "example.com/x", "exa mple.com", "example.com\n", "a..b"],
)
def test_what_can_be_no_domain_is_refused(domain: str) -> None:
    with pytest.raises(ConfigurationError, match="domain"):
        SubdomainResolver(domain)


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        (b"app.example.com", None),
        (b"APP.example.com:80", None),
        (b"api.example.com", None),
        (b"www.example.com", "www"),
        (b"apps.example.com", "apps"),
    ],
)
def test_what_is_ignored_can_be_chosen(host: bytes, expected: Any) -> None:
    resolver = SubdomainResolver("example.com", ignore=frozenset({"app", "api"}))
    assert outcome(resolver, request_of(host)) == expected


@pytest.mark.parametrize(
    ("domain", "host", "expected"),
    [
        ("localhost", b"acme.localhost:8000", "acme"),
        ("localhost", b"localhost:8000", None),
        ("eu.example.com", b"acme.eu.example.com", "acme"),
        ("eu.example.com", b"acme.example.com", None),
        ("eu.example.com", b"eu.example.com", None),
        ("eu.example.com", b"acmeeu.example.com", None),
        ("co.uk", b"acme.co.uk", "acme"),
        ("xn--bcher-kva.example", b"acme.xn--bcher-kva.example", "acme"),
    ],
)
def test_a_domain_has_as_many_labels_as_it_likes(domain: str, host: bytes, expected: Any) -> None:
    assert outcome(SubdomainResolver(domain), request_of(host)) == expected
