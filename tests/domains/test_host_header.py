"""Whatever a Host header says: the tenant that proved that host, nobody, or a 400; never another tenant."""

from inspect import isawaitable

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from starlette.types import Scope

from fastapi_tenancy import ConfigurationError, HostResolver, InvalidIdentifierError, Tenancy, Tenant
from fastapi_tenancy.resolvers import Resolver

BUECHER = b"xn--bcher-kva.example"
LONGEST = b".".join([b"a" * 61] * 4) + b".abcde"  # 253 characters

OURS = [
    b"acme.com",
    b"ACME.COM",
    b"Acme.com",
    b"acme.com.",
    b"acme.com:80",
    b"acme.com:443",
    b"acme.com:8000",
    b"acme.com:65536",
    b"acme.com:0",
    b"acme.com:00080",
    b"acme.com:",
    b"acme.com.:",
    b"acme.com.:8443",
    b"ACME.com.:8443",
]
BOOKS = [
    BUECHER,
    b"XN--BCHER-KVA.EXAMPLE",
    b"Xn--Bcher-Kva.Example.",
    BUECHER + b":8000",
    BUECHER + b".",
]
NOBODYS = [
    # nothing, and what is shorter than a domain
    b"",
    b" ",
    b".",
    b"..",
    b":",
    b":80",
    b".:80",
    b"-",
    b"com",
    b"com.",
    b"acme",
    b"acme:80",
    b"localhost",
    b"localhost.",
    b"localhost:8000",
    b"testserver",
    # other hosts
    b"www.acme.com",
    b"acme.com.evil.com",
    b"evil-acme.com",
    b"acme.co",
    b"acme.comm",
    b"cme.com",
    b"com.acme",
    b"acme.example",
    b"a.acme.com",
    b"-acme.com",
    b"acme-.com",
    b"a--b.com",
    b"globex.com",  # pending
    b"revoked.com",
    b"removed.com",
    # dots
    b"acme.com..",
    b"acme.com..:80",
    b"acme..com",
    b".acme.com",
    b"..acme.com",
    b"acme.com.:80.",
    b"acme.com:80.",
    # ports
    b"acme.com:http",
    b"acme.com:80x",
    b"acme.com:x80",
    b"acme.com:-80",
    b"acme.com:+80",
    b"acme.com:8 0",
    b"acme.com: 80",
    b"acme.com :80",
    b"acme.com:80:80",
    b"acme.com::80",
    b"acme.com::",
    b"acme.com:80/",
    b"acme.com:0x50",
    b"acme.com:80,81",
    b"acme.com:\xb2",  # a digit in Latin-1
    "acme.com:٣".encode(),
    "acme.com:\uff18\uff10".encode(),
    # addresses
    b"127.0.0.1",
    b"127.0.0.1:8000",
    b"127.0.0.1.",
    b"0.0.0.0",
    b"10.1",
    b"0x7f.1",
    b"0x7f.0.0.0x1",
    b"2130706433",
    b"017700000001",
    b"1.2.3.4.5",
    b"999.999.999.999",
    b"::1",
    b"::1:80",
    b"[::1]",
    b"[::1]:8000",
    b"[::ffff:127.0.0.1]",
    b"[fe80::1%25eth0]",
    b"[v1.acme.com]",
    b"[acme.com]",
    b"[acme.com]:80",
    b"fe80::1%eth0",
    b"2001:db8::1",
    # what belongs elsewhere
    b"http://acme.com",
    b"https://acme.com/",
    b"//acme.com",
    b"acme.com/",
    b"acme.com/path",
    b"/acme.com",
    b"acme.com?",
    b"acme.com?x=1",
    b"acme.com#",
    b"acme.com#evil.com",
    b"acme.com\\",
    b"acme.com\\@evil.com",
    b"user@acme.com",
    b"acme.com@evil.com",
    b"user:pass@acme.com",
    b"@acme.com",
    b"acme.com@",
    b"acme.com&x",
    b"acme.com=1",
    b"host=acme.com",
    b"*",
    b"*.com",
    b"*.acme.com",
    b"acme.*",
    b"_dmarc.acme.com",
    b"acme_.com",
    b"a_cme.com",
    b"acme!.com",
    b"acme$.com",
    b"'acme.com'",
    b'"acme.com"',
    b"<acme.com>",
    b"(acme.com)",
    b"{acme.com}",
    b"acme.com|evil.com",
    b"acme.com~",
    b"acme%2ecom",
    b"acme.com%00",
    b"%61cme.com",
    b"acme.com%3a80",
    b"acme+.com",
    # several in one
    b"acme.com,acme.com",
    b"acme.com, evil.com",
    b"evil.com,acme.com",
    b"acme.com;evil.com",
    b"acme.com evil.com",
    b"evil.com acme.com",
    # white space and control characters
    b" acme.com",
    b"acme.com ",
    b"\tacme.com",
    b"acme.com\t",
    b"ac me.com",
    b"acme .com",
    b"acme. com",
    b"acme.com\n",
    b"acme.com\r\n",
    b"acme.com\r\nx-tenant-id: globex",
    b"\nacme.com",
    b"acme.com\x00",
    b"\x00acme.com",
    b"acme\x00.com",
    b"acme.com\x0b",
    b"acme.com\x0c",
    b"acme.com\x1f",
    b"acme.com\x7f",
    b"acme.com\x85",  # the end of a line, to str.splitlines
    b"acme.com\xa0",
    b"ac\xadme.com",  # a soft hyphen, which IDNA leaves out
    # what is not ASCII, in Latin-1 and in UTF-8
    b"b\xfccher.example",
    "bücher.example".encode(),
    "BÜCHER.example".encode(),
    "xn--bücher-kva.example".encode(),
    b"\xc1cme.com",
    b"\xff\xfe",
    b"\xed\xa0\x80.com",
    "\u0430cme.com".encode(),  # begins with a Cyrillic letter
    "\uff41cme.com".encode(),  # a full-width one
    "acme。com".encode(),  # an ideographic full stop
    "acme\u2024com".encode(),  # a one dot leader
    "acme.com\u200b".encode(),
    "acme.com\u202e".encode(),
    "\u017f.com".encode(),  # a long s, whose capital is S
    "\u212acme.com".encode(),  # the Kelvin sign, whose lower case is k
    # Punycode that is none, or another
    b"xn--",
    b"xn--.com",
    b"xn--.example",
    b"xn--a.com",
    b"xn--bcher-kva",
    b"xn--bcher-kva.com",
    b"xn--xn--bcher-kva.example",
    b"xn--bcher-kva-.example",
    b"xn--acme-.com",
    b"xn--0.com",
    b"xn--\x80.com",
    # lengths
    b"a" * 63 + b".com",
    b"a" * 64 + b".com",
    LONGEST,
    b"a" + LONGEST,
    b"a." * 200 + b"com",
    b"a." * 5000 + b"com",
    b"A" * 10_000,
    b"." * 10_000,
    b"acme.com:" + b"1" * 10_000 + b"x",
    b"acme.com" + b"." * 10_000,
]


@pytest.fixture
async def resolver(tenancy: Tenancy, checker) -> Resolver:
    """It knows acme.com as acme's, and bücher.example as globex's."""
    checker.proven |= {BUECHER.decode(), "revoked.com", "removed.com"}
    for host in ("bücher.example", "revoked.com", "removed.com"):
        await tenancy.domains.add("globex", host)
        await tenancy.domains.verify("globex", host)
    await tenancy.domains.revoke("globex", "revoked.com")
    await tenancy.domains.remove("globex", "removed.com")
    await tenancy.domains.add("globex", "globex.com")
    return tenancy.resolvers.resolvers[0]


def asked(*hosts: bytes) -> Scope:
    others = [(b"x-forwarded-host", b"acme.com"), (b"forwarded", b"host=acme.com"), (b":authority", b"acme.com")]
    return {"type": "http", "headers": [*others, *((b"host", host) for host in hosts)]}


async def named_by(resolver: Resolver, scope: Scope) -> str | None:
    answer = resolver(scope)
    tenant = await answer if isawaitable(answer) else answer
    assert tenant is None or isinstance(tenant, Tenant)
    return tenant and tenant.identifier


async def test_a_host_names_the_tenant_that_proved_it_however_it_is_written(resolver: Resolver) -> None:
    for hosts, owner in ((OURS, "acme"), (BOOKS, "globex")):
        for host in (*hosts, *hosts):
            assert await named_by(resolver, asked(host)) == owner, host


async def test_all_else_names_nobody(resolver: Resolver) -> None:
    assert len({*OURS, *BOOKS, *NOBODYS}) == len([*OURS, *BOOKS, *NOBODYS]) > 180
    for host in (*NOBODYS, *NOBODYS):
        assert await named_by(resolver, asked(host)) is None, host


async def test_what_cannot_be_a_host_is_not_asked_for(resolver: Resolver, tenancy: Tenancy) -> None:
    before = tenancy.domains.stats()
    for host in NOBODYS[:16]:
        assert resolver(asked(host)) is None
    assert tenancy.domains.stats() == before


async def test_no_host_names_nobody(resolver: Resolver) -> None:
    assert resolver(asked()) is None


@pytest.mark.parametrize("hosts", [[b"acme.com", b"acme.com"], [b"acme.com", b"evil.com"], [b"", b"acme.com"]])
async def test_several_hosts_are_refused_equal_ones_too(resolver: Resolver, hosts: list[bytes]) -> None:
    with pytest.raises(InvalidIdentifierError):
        resolver(asked(*hosts))


PIECES = st.sampled_from(
    [b"acme", b"com", b"ACME.com", b"acme.com", BUECHER, b".", b":", b"80", b"@", b"/", b"xn--", b" ", b"\x00", b"\xfc"]
)
HOSTS = st.lists(PIECES, max_size=6).map(b"".join) | st.binary(max_size=20)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])  # what is known may grow from one to the next
@given(st.lists(HOSTS, max_size=2))
async def test_any_bytes_name_the_owner_nobody_or_are_refused(resolver: Resolver, hosts: list[bytes]) -> None:
    if len(hosts) > 1:
        with pytest.raises(InvalidIdentifierError):
            resolver(asked(*hosts))
        return
    named = await named_by(resolver, asked(*hosts))
    if named is not None:
        host = hosts[0].lower().split(b":")[0].removesuffix(b".")
        assert (host, named) in {(b"acme.com", "acme"), (BUECHER, "globex")}


def test_a_resolver_outside_a_tenancy_says_where_it_belongs() -> None:
    with pytest.raises(ConfigurationError, match=r"Tenancy\(resolvers="):
        HostResolver()(asked(b"acme.com"))
