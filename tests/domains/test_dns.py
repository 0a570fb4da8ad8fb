"""The proof is looked for in DNS: a real resolver asks a small server on loopback."""

import dns.rcode
import pytest

from fastapi_tenancy import DNSChecker, DomainCheckError, Tenancy


@pytest.fixture
def dns_checker(zone) -> DNSChecker:
    return DNSChecker("127.0.0.1", port=zone.port)


NAME = "_fastapi-tenancy.app.acme.com."


@pytest.mark.parametrize(
    ("records", "proven"),
    [
        (['"token"'], True),
        (['"v=spf1 -all"', '"token"'], True),
        (['"to" "ken"'], True),
        (['"other"'], False),
        (['"token2"'], False),
        (['"TOKEN"'], False),
        ([], False),
        (None, False),
    ],
)
async def test_the_record_is_the_token_and_nothing_else(
    zone, dns_checker: DNSChecker, records: list[str] | None, proven: bool
) -> None:
    if records is not None:
        zone.records[NAME, "TXT"] = records
    assert await dns_checker.check("app.acme.com", "token") is proven
    assert set(zone.asked) == {(NAME, "TXT")}


async def test_a_record_elsewhere_proves_nothing(zone, dns_checker: DNSChecker) -> None:
    for elsewhere in ("app.acme.com.", "_fastapi-tenancy.acme.com."):
        zone.records[elsewhere, "TXT"] = ['"token"']
    assert not await dns_checker.check("app.acme.com", "token")


@pytest.mark.parametrize("rcode", [dns.rcode.SERVFAIL, dns.rcode.REFUSED])
async def test_a_server_that_fails_is_a_503(zone, dns_checker: DNSChecker, rcode: dns.rcode.Rcode) -> None:
    zone.rcode = rcode
    with pytest.raises(DomainCheckError) as error:
        await dns_checker.check("app.acme.com", "token")
    assert error.value.status_code == 503


async def test_a_host_too_long_for_the_record_is_not_proven(dns_checker: DNSChecker) -> None:
    assert not await dns_checker.check(".".join(["a" * 60] * 4) + ".com", "token")


async def test_a_tenant_proves_its_domain_through_dns(tenancy: Tenancy, zone, dns_checker: DNSChecker) -> None:
    tenancy.domains._checker = dns_checker
    claim = await tenancy.domains.add("globex", "bücher.example")
    zone.records[f"{claim.record_name}.", "TXT"] = [f'"{claim.token}"']
    assert (await tenancy.domains.verify("globex", "bücher.example")).is_verified
