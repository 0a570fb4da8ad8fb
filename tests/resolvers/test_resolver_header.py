"""A header names the tenant that is its whole value, and nothing that is merely like one does."""

from typing import Any

import pytest
from resolvers.door import LONGEST, REFUSED, Header, Table, check_through_the_middleware, outcome, rows_of, scope_of

from fastapi_tenancy import ConfigurationError, HeaderResolver

RESOLVER = HeaderResolver("X-Tenant-ID")
NAME = b"x-tenant-id"


def lines(*values: bytes) -> list[Header]:
    return [(NAME, value) for value in values]


TABLE: Table = {
    "an identifier as it stands": [
        (b"acme", "acme"),
        (b"globex", "globex"),
        (b"a", "a"),
        (b"7", "7"),
        (b"0", "0"),
        (b"007", "007"),
        (b"a-1", "a-1"),
        (b"a--b", "a--b"),
        (b"www", "www"),
        (b"www2", "www2"),
        (b"xn--bcher-kva", "xn--bcher-kva"),
        (b"none", "none"),
        (b"null", "null"),
        (b"undefined", "undefined"),
        (b"localhost", "localhost"),
        (b"127", "127"),
        (b"0x7f", "0x7f"),
        (b"con", "con"),
    ],
    "length": [
        (b"", REFUSED),
        (b"a" * 62, "a" * 62),
        (b"a" * 63, LONGEST),
        (b"a" * 64, REFUSED),
        (b"a" * 255, REFUSED),
        (b"a" * 10_000, REFUSED),
        (b"7" * 64, REFUSED),
        (b"a" + b"-" * 61 + b"a", "a" + "-" * 61 + "a"),
        (b"a" + b"-" * 62 + b"a", REFUSED),
        (b"a" * 62 + b"-", REFUSED),
    ],
    "letter case": [
        (b"Acme", REFUSED),
        (b"ACME", REFUSED),
        (b"acmE", REFUSED),
        (b"A", REFUSED),
        (b"XN--BCHER-KVA", REFUSED),
    ],
    "white space": [
        (b" ", REFUSED),
        (b"\t", REFUSED),
        (b" acme", REFUSED),
        (b"acme ", REFUSED),
        (b"\tacme", REFUSED),
        (b"acme\t", REFUSED),
        (b"ac me", REFUSED),
        (b"acme globex", REFUSED),
        (b"acme\x0b", REFUSED),
        (b"acme\x0c", REFUSED),
        (b"acme\x1c", REFUSED),
        (b"acme\x85", REFUSED),
        (b"\xa0acme", REFUSED),
        (b"acme\xa0", REFUSED),
        ("acme\u00a0".encode(), REFUSED),
        ("acme\u2003".encode(), REFUSED),
        ("acme\u3000".encode(), REFUSED),
        ("acme\u2028".encode(), REFUSED),
        ("ac\u200bme".encode(), REFUSED),
        ("\ufeffacme".encode(), REFUSED),
    ],
    "control characters, folded and smuggled lines": [
        (b"\x00", REFUSED),
        (b"acme\x00", REFUSED),
        (b"\x00acme", REFUSED),
        (b"acme\x00globex", REFUSED),
        (b"acme\x08", REFUSED),
        (b"acme\x1b[0m", REFUSED),
        (b"acme\x7f", REFUSED),
        (b"acme\r", REFUSED),
        (b"acme\n", REFUSED),
        (b"acme\r\n", REFUSED),
        (b"\nacme", REFUSED),
        (b"acme\r\n globex", REFUSED),
        (b"acme\r\n\tglobex", REFUSED),
        (b"acme\n globex", REFUSED),
        (b"acme\r\nx-tenant-id: globex", REFUSED),
        (b"acme\r\n\r\nGET / HTTP/1.1", REFUSED),
    ],
    "several values": [
        (lines(b"acme", b"globex"), REFUSED),
        (lines(b"acme", b"acme"), REFUSED),
        (lines(b"", b"acme"), REFUSED),
        (lines(b"acme", b""), REFUSED),
        (lines(b"", b""), REFUSED),
        (lines(b"acme", b"acme", b"acme"), REFUSED),
        ([(NAME, b"acme"), (b"host", b"x"), (NAME, b"acme")], REFUSED),
        (b"acme,globex", REFUSED),
        (b"acme, globex", REFUSED),
        (b"acme,acme", REFUSED),
        (b",acme", REFUSED),
        (b"acme,", REFUSED),
        (b"acme;globex", REFUSED),
        (b"acme|globex", REFUSED),
        (b"acme;q=1", REFUSED),
    ],
    "encodings": [
        (b"%61cme", REFUSED),
        (b"acm%65", REFUSED),
        (b"%2561cme", REFUSED),
        (b"acme%00", REFUSED),
        (b"acme%0d%0a", REFUSED),
        (b"acme%20", REFUSED),
        (b"acme%2Fglobex", REFUSED),
        (b'"acme"', REFUSED),
        (b"'acme'", REFUSED),
        (b"=?utf-8?q?acme?=", REFUSED),
        (b"UTF-8''acme", REFUSED),
        (b"YWNtZQ==", REFUSED),
        (b"&#97;cme", REFUSED),
        (b"\\u0061cme", REFUSED),
        (b"ac\\me", REFUSED),
        (b"+AGE-cme", REFUSED),
        (b"a\x00c\x00m\x00e\x00", REFUSED),
    ],
    "letters and digits that are none": [
        ("\u0430cme".encode(), REFUSED),  # Cyrillic
        ("acm\u0435".encode(), REFUSED),
        ("\uff41cme".encode(), REFUSED),  # full width
        ("\U0001d41acme".encode(), REFUSED),  # mathematical bold
        ("\u24d0cme".encode(), REFUSED),  # in a circle
        ("acm\u00e9".encode(), REFUSED),
        ("acme\u0301".encode(), REFUSED),
        ("ac\u200dme".encode(), REFUSED),
        ("\u202eemca".encode(), REFUSED),
        ("\U0001f600".encode(), REFUSED),
        ("\u0667".encode(), REFUSED),  # the Arabic-Indic seven
        ("\uff17".encode(), REFUSED),
        ("\u212a".encode(), REFUSED),  # the Kelvin sign, whose lower case is k
        (b"acm\xe9", REFUSED),
        (b"acme\xb2", REFUSED),
        (b"\xb9", REFUSED),
        (b"\xaa", REFUSED),
        (b"\xb5", REFUSED),
        (b"\xdf", REFUSED),
        (b"ac\xadme", REFUSED),
        (b"\xc1\xa1cme", REFUSED),  # "a" in two bytes
        (b"\xe0\x81\xa1cme", REFUSED),
        (b"\xed\xa0\x80", REFUSED),
        (b"\xff\xfe", REFUSED),
        (b"\x80", REFUSED),
    ],
    "punctuation": [
        (b"-", REFUSED),
        (b"--", REFUSED),
        (b"-acme", REFUSED),
        (b"acme-", REFUSED),
        (b"_acme", REFUSED),
        (b"ac_me", REFUSED),
        (b".", REFUSED),
        (b"..", REFUSED),
        (b"acme.", REFUSED),
        (b".acme", REFUSED),
        (b"a.b", REFUSED),
        (b"acme.example.com", REFUSED),
        (b"/acme", REFUSED),
        (b"acme/", REFUSED),
        (b"../acme", REFUSED),
        (b"acme/../globex", REFUSED),
        (b"\\", REFUSED),
        (b"acme:80", REFUSED),
        (b"user@acme", REFUSED),
        (b"[acme]", REFUSED),
        (b"acme?", REFUSED),
        (b"acme#", REFUSED),
        (b"acme=1", REFUSED),
        (b"tenant=acme", REFUSED),
        (b"acme&x", REFUSED),
        (b"acme+", REFUSED),
        (b"~acme", REFUSED),
        (b"acme!", REFUSED),
        (b"(acme)", REFUSED),
        (b"acme^", REFUSED),
        (b"*", REFUSED),
        (b"%", REFUSED),
    ],
    "what is meant for other programs": [
        (b"acme'--", REFUSED),
        (b"' or '1'='1", REFUSED),
        (b"'; drop table tenants; --", REFUSED),
        (b"${jndi:ldap://x}", REFUSED),
        (b"{{7*7}}", REFUSED),
        (b"{id}", REFUSED),
        (b"$(id)", REFUSED),
        (b"`id`", REFUSED),
        (b"<script>", REFUSED),
        (b"%s%n", REFUSED),
    ],
    "other headers": [
        ([], None),
        ([(b"x-tenant", b"acme")], None),
        ([(b"tenant-id", b"acme")], None),
        ([(b"x-tenant-id2", b"acme")], None),
        ([(b"x-tenant-ids", b"acme")], None),
        ([(b"xtenant-id", b"acme")], None),
        ([(b"x-tenant-i", b"acme")], None),
        ([(b"x_tenant_id", b"acme")], None),  # one variable with ours in CGI
        ([(b"x-tenant_id", b"acme")], None),
        ([(b"http_x_tenant_id", b"acme")], None),
        ([(b"x-tenant-id ", b"acme")], None),
        ([(b" x-tenant-id", b"acme")], None),
        ([(b"x-tenant-id\t", b"acme")], None),
        ([(b"x-tenant-id:", b"acme")], None),
        ([(b"x-tenant-id\x00", b"acme")], None),
        ([(b"x\xe2\x80\x90tenant-id", b"acme")], None),
        ([(b":x-tenant-id", b"acme")], None),
        ([(b":authority", b"acme")], None),
        ([(b"", b"acme")], None),
        ([(b"host", b"acme")], None),
        ([(b"x-forwarded-tenant-id", b"acme")], None),
        ([(b"cookie", b"x-tenant-id=acme")], None),
        ([(b"accept", b"*/*\r\nx-tenant-id: acme")], None),
        ([(b"x_tenant_id", b"globex"), (NAME, b"acme")], "acme"),
        ([(NAME, b"acme"), (b"x-tenant-id2", b"globex")], "acme"),
        ([(NAME, b"acme"), (b"connection", b"x-tenant-id")], "acme"),
        ([(b"x-a", b"1")] * 100 + [(NAME, b"acme")], "acme"),
    ],
}


def request_of(given: Any) -> dict[str, Any]:
    return scope_of(lines(given) if isinstance(given, bytes) else given)


@pytest.mark.parametrize(("given", "expected"), rows_of(TABLE))
def test_the_table(given: Any, expected: Any) -> None:
    assert outcome(RESOLVER, request_of(given)) == expected


async def test_the_table_through_the_middleware() -> None:
    await check_through_the_middleware(RESOLVER, ((request_of(given), expected) for given, expected in rows_of(TABLE)))


@pytest.mark.parametrize("name", ["", " ", "X Tenant", "X-Tenant:", "X-Tenant\n", "Mand\u00e4nt", "X/Tenant", "(x)"])
def test_what_can_be_no_headers_name_is_refused(name: str) -> None:
    with pytest.raises(ConfigurationError, match="header"):
        HeaderResolver(name)


@pytest.mark.parametrize("name", ["X-TENANT-ID", "x-tenant-id", "X-Tenant-Id"])
def test_the_letter_case_of_the_headers_name_does_not_matter(name: str) -> None:
    assert outcome(HeaderResolver(name), request_of(b"acme")) == "acme"
