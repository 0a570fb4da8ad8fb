"""The proof is looked for at a URL: real servers on loopback, and addresses that must not be asked."""

import asyncio
from collections.abc import AsyncIterator
from ipaddress import ip_address

import dns.rcode
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastapi_tenancy import ConfigurationError, DomainCheckError, HTTPChecker, Tenancy
from fastapi_tenancy.multitenant.http_check import is_public

NAME = "app.acme.com."


class Site:
    """A web server that gives `answer` to every request, and none if that is empty."""

    def __init__(self) -> None:
        self.answer = ok("token")
        self.requests: list[list[str]] = []
        self.port = 0
        self.may_end = asyncio.Event()
        self.may_end.set()

    async def start(self) -> None:
        self.server = await asyncio.start_server(self.serve, "127.0.0.1", 0)
        self.port = self.server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        self.may_end.set()
        self.server.close()
        await self.server.wait_closed()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        request = (await reader.readuntil(b"\r\n\r\n")).decode()
        self.requests.append(request.strip().splitlines())
        writer.write(self.answer)
        await self.may_end.wait()
        writer.close()


def ok(body: str | bytes, *headers: str, status: str = "200 OK") -> bytes:
    body = body.encode() if isinstance(body, str) else body
    head = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", "Connection: close", *headers]
    return "\r\n".join([*head, "", ""]).encode() + body


@pytest.fixture
async def site(zone) -> AsyncIterator[Site]:
    """What the zone gives as the host of app.acme.com."""
    site = Site()
    await site.start()
    zone.records[NAME, "A"] = ["127.0.0.1"]
    yield site
    await site.stop()


def checker_of(zone, site: Site, **given) -> HTTPChecker:
    given = {"allow": ["127.0.0.0/8"], "port": site.port, **given}
    return HTTPChecker("127.0.0.1", nameserver_port=zone.port, **given)


@pytest.mark.parametrize(
    ("answer", "proven"),
    [
        (ok("token"), True),
        (ok("token\n"), True),
        (ok("token\r\n"), True),
        (ok("token", "Content-Type: image/png"), True),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nto\r\n3\r\nken\r\n0\r\n\r\n", True),
        (b"HTTP/1.0 200 OK\r\n\r\ntoken", True),
        (ok("token\n\n"), False),
        (ok(" token"), False),
        (ok("TOKEN"), False),
        (ok("token2"), False),
        (ok("other"), False),
        (ok(""), False),
        (ok("<p>token</p>"), False),
        (ok("token" + "\n" * 2000), False),
        (ok("t\xf6ken".encode("latin-1")), False),
        (ok("token", status="404 Not Found"), False),
        (ok("token", status="203 Non-Authoritative Information"), False),
        (ok("token", status="500 Internal Server Error"), False),
        (ok("token", "Location: http://127.0.0.1/", status="302 Found"), False),
    ],
)
async def test_the_answer_is_the_token_and_nothing_else(zone, site: Site, answer: bytes, proven: bool) -> None:
    site.answer = answer
    assert await checker_of(zone, site).check("app.acme.com", "token") is proven
    assert len(site.requests) == 1


async def test_the_host_is_asked_by_its_name_and_not_for_its_token(zone, site: Site) -> None:
    await checker_of(zone, site).check("app.acme.com", "token")
    line, *headers = site.requests[0]
    assert line == "GET /.well-known/fastapi-tenancy-challenge HTTP/1.1"
    assert f"Host: app.acme.com:{site.port}" in headers
    assert "Accept-Encoding: identity" in headers
    assert "token" not in "".join(headers)


async def test_an_endless_answer_is_not_read_to_its_end(zone, site: Site) -> None:
    site.may_end.clear()
    site.answer = b"HTTP/1.1 200 OK\r\n\r\n" + b"a" * 2000
    assert not await checker_of(zone, site).check("app.acme.com", "token")


async def test_an_answer_that_does_not_come_in_time_is_a_503(zone, site: Site) -> None:
    site.may_end.clear()
    site.answer = b"HTTP/1.1 200 OK\r\n\r\ntok"
    with pytest.raises(DomainCheckError) as error:
        await checker_of(zone, site, timeout=0.05).check("app.acme.com", "token")
    assert error.value.status_code == 503


@pytest.mark.parametrize("answer", [b"", b"220 mail.acme.com ESMTP\r\n", b"HTTP/1.1 200 OK\r\nContent-Le"])
async def test_an_answer_that_is_no_http_is_a_503(zone, site: Site, answer: bytes) -> None:
    site.answer = answer
    with pytest.raises(DomainCheckError):
        await checker_of(zone, site).check("app.acme.com", "token")


async def test_a_host_that_nobody_serves_is_a_503(zone, site: Site) -> None:
    await site.stop()
    with pytest.raises(DomainCheckError):
        await checker_of(zone, site).check("app.acme.com", "token")


async def test_a_second_address_is_asked_where_the_first_cannot_be_reached(zone, site: Site) -> None:
    zone.records[NAME, "A"] = ["127.0.0.2", "127.0.0.1"]
    assert await checker_of(zone, site).check("app.acme.com", "token")


async def test_a_name_that_nobody_has_is_not_proven(zone, site: Site) -> None:
    assert not await checker_of(zone, site).check("other.acme.com", "token")
    zone.records["mail.acme.com.", "TXT"] = ['"token"']
    assert not await checker_of(zone, site).check("mail.acme.com", "token")


async def test_dns_that_fails_is_a_503(zone, site: Site) -> None:
    zone.rcode = dns.rcode.SERVFAIL
    with pytest.raises(DomainCheckError):
        await checker_of(zone, site).check("app.acme.com", "token")


@pytest.mark.parametrize(
    ("kind", "addresses"),
    [
        ("A", ["127.0.0.1"]),
        ("A", ["1.1.1.1", "127.0.0.1"]),
        ("A", ["10.0.0.1"]),
        ("A", ["169.254.169.254"]),
        ("AAAA", ["::1"]),
        ("AAAA", ["::ffff:127.0.0.1"]),
        ("AAAA", ["64:ff9b::7f00:1"]),
    ],
)
async def test_an_address_that_is_not_public_is_never_asked(zone, site: Site, kind: str, addresses: list[str]) -> None:
    del zone.records[NAME, "A"]
    zone.records[NAME, kind] = addresses
    assert not await checker_of(zone, site, allow=[]).check("app.acme.com", "token")
    assert site.requests == []


async def test_the_address_that_was_looked_at_is_the_one_that_is_asked(zone, site: Site) -> None:
    await checker_of(zone, site).check("app.acme.com", "token")
    assert zone.asked == [(NAME, "AAAA"), (NAME, "A")]


async def test_no_proxy_is_taken_from_the_environment(zone, site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    assert await checker_of(zone, site).check("app.acme.com", "token")


@pytest.mark.parametrize(
    "address",
    [
        *(
            "0.0.0.0",  # noqa: S104 - nothing listens there
            "0.1.2.3",
            "10.1.2.3",
            "100.64.0.1",
            "100.100.100.200",
            "127.0.0.1",
            "127.255.255.254",
        ),
        *("168.63.129.16", "169.254.169.254", "172.16.0.1", "172.31.255.255", "192.0.0.1", "192.0.0.192"),
        *("192.0.2.1", "192.88.99.1", "192.168.1.1", "198.18.0.1", "198.19.255.255", "198.51.100.1", "203.0.113.1"),
        *("224.0.0.1", "239.255.255.255", "240.0.0.1", "255.255.255.255"),
        *("::", "::1", "::7f00:1", "::ffff:10.0.0.1", "::ffff:8.8.8.8", "64:ff9b::a00:1", "64:ff9b:1::1", "100::1"),
        *("2001::1", "2001:20::1", "2001:db8::1", "2002:7f00:1::", "3fff::1", "5f00::1", "fc00::1", "fd00:ec2::254"),
        *("fe80::1", "fec0::1", "ff02::1", "ff0e::1"),
    ],
)
def test_special_addresses_are_not_public(address: str) -> None:
    assert not is_public(ip_address(address))


@pytest.mark.parametrize("address", ["1.1.1.1", "93.184.215.14", "172.32.0.1", "2606:4700::1111", "2a00:1450:4001::1"])
def test_addresses_of_the_internet_are_public(address: str) -> None:
    assert is_public(ip_address(address))


@given(st.ip_addresses(v=4))
def test_an_ipv4_address_within_an_ipv6_one_is_never_public(address) -> None:
    inner = int(address)
    for outer in (inner, 0xFFFF << 32 | inner, 0x64FF9B << 96 | inner, 0x2002 << 112 | inner << 80):
        assert not is_public(ip_address(outer.to_bytes(16)))


@pytest.mark.parametrize("allow", [["everything"], ["10.0.0.1/8"], "127.0.0.0/8"])
def test_what_is_no_network_cannot_be_allowed(allow) -> None:
    with pytest.raises(ConfigurationError, match=r"like '10\.1\.0\.0/16'"):
        HTTPChecker(allow=allow)


async def test_a_tenant_proves_its_domain_over_http(tenancy: Tenancy, zone, site: Site) -> None:
    tenancy.domains._checker = checker_of(zone, site)
    claim = await tenancy.domains.add("globex", "app.acme.com")
    assert claim.challenge_url == "http://app.acme.com/.well-known/fastapi-tenancy-challenge"
    site.answer = ok(f"{claim.token}\n")
    assert (await tenancy.domains.verify("globex", "app.acme.com")).is_verified
