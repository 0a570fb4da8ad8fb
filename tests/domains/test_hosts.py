"""A host has one spelling, and what cannot be a tenant's domain is refused."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastapi_tenancy import InvalidDomainError
from fastapi_tenancy.store.domain import check_host, host_in

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


@given(st.text(alphabet=st.characters(max_codepoint=255), max_size=30) | st.from_regex(r"[a-zA-Z0-9.:-]{1,30}"))
def test_what_a_header_says_is_read_as_the_claim_is_written(header: str) -> None:
    host = host_in(header)
    if host is not None:
        assert host.isascii()
        try:
            assert host == check_host(header.strip())
        except InvalidDomainError:
            return  # nobody can claim it
