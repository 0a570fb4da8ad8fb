"""A host has one spelling, and what cannot be a tenant's domain is refused."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastapi_tenancy import ConfigurationError, HostResolver, InvalidDomainError, InvalidIdentifierError
from fastapi_tenancy.store.domain import check_host

LONGEST = ".".join(["a" * 61] * 4) + ".abcde"  # 253 characters


@pytest.mark.parametrize(
    ("written", "host"),
    [
        ("app.acme.com", "app.acme.com"),
        ("App.ACME.Com", "app.acme.com"),
        ("app.acme.com.", "app.acme.com"),
        ("app.acme.com:8443", "app.acme.com"),
        ("app.acme.com.:", "app.acme.com"),
        ("Bücher.example", "xn--bcher-kva.example"),
        ("XN--BCHER-KVA.example", "xn--bcher-kva.example"),
        ("app。acme。com", "app.acme.com"),
        ("\uff41pp.acme.com", "app.acme.com"),
        ("faß.de", "xn--fa-hia.de"),
        ("bücher.рф", "xn--bcher-kva.xn--p1ai"),
        (f"{'a' * 63}.com", f"{'a' * 63}.com"),
        (f"{LONGEST}.", LONGEST),
    ],
)
def test_a_host_is_normalised(written: str, host: str) -> None:
    assert check_host(written) == host


@pytest.mark.parametrize(
    "written",
    [
        "",
        ".",
        "localhost",
        "com.",
        "127.0.0.1",
        "127.0.0.1:80",
        "0x7f.0.0.0x1",
        "1.2.3.0x4",
        "10.1",
        "[::1]",
        "[::1]:80",
        "::1",
        "https://acme.com",
        "acme.com/path",
        "user@acme.com",
        "*.acme.com",
        "_dmarc.acme.com",
        "acme..com",
        ".acme.com",
        "-acme.com",
        "acme-.com",
        "acme .com",
        " acme.com",
        "acme.com\n",
        "acme.com:80:80",
        "acme.com:http",
        "xn--.com",
        "xn--a.com",
        "☃.example",
        "\ud800.example",
        "acme.com" + "\u00ad" * 500 + ".evil.com",
        "a" * 64 + ".com",
        f"a{LONGEST}",
        "a." * 100_000 + "com",
    ],
)
def test_what_can_be_no_domain_is_refused(written: str) -> None:
    with pytest.raises(InvalidDomainError):
        check_host(written)


@given(st.text(max_size=40) | st.lists(st.text(min_size=1, max_size=8), min_size=2, max_size=4).map(".".join))
def test_any_text_is_refused_or_has_one_spelling(text: str) -> None:
    try:
        host = check_host(text)
    except InvalidDomainError:
        return
    assert check_host(host) == host == host.lower()
    assert host.isascii()
    assert 0 < len(host) <= 253


async def the_host(host: str) -> str | None:
    return host


def asked(*hosts: bytes) -> dict[str, object]:
    others = [(b"x-forwarded-host", b"evil.com")]
    return {"type": "http", "headers": [*others, *((b"host", host) for host in hosts)]}


@pytest.mark.parametrize("host", [b"app.acme.com", b"APP.Acme.com", b"app.acme.com.", b"app.acme.com:8000"])
async def test_the_resolver_asks_for_the_host_without_its_decoration(host: bytes) -> None:
    found = HostResolver(the_host)(asked(host))
    assert found is not None
    assert await found == "app.acme.com"


@pytest.mark.parametrize(
    "host",
    [
        b"",
        b"localhost",
        b"localhost:8000",
        b"[::1]:80",
        b"acme..com",
        b"acme.com:x",
        b"acme.com:1:2",
        b"a b.com",
        b"acme.com/",
        b"evil@acme.com",
        b"b\xfccher.com",
        b"acme.com\n",
        "acme.com:٣".encode(),
    ],
)
def test_a_host_that_can_be_nobodys_names_none(host: bytes) -> None:
    assert HostResolver(the_host)(asked(host)) is None


def test_no_host_names_none() -> None:
    assert HostResolver(the_host)(asked()) is None


def test_several_hosts_are_refused_equal_ones_too() -> None:
    with pytest.raises(InvalidIdentifierError):
        HostResolver(the_host)(asked(b"acme.com", b"acme.com"))


def test_a_resolver_outside_a_tenancy_says_where_it_belongs() -> None:
    with pytest.raises(ConfigurationError, match=r"Tenancy\(resolvers="):
        HostResolver()(asked(b"acme.com"))
