"""The proof is looked for in DNS: a real resolver asks a small server on loopback."""

import asyncio
import importlib.util
import sys
from collections.abc import AsyncIterator

import dns.message
import dns.rcode
import dns.rrset
import pytest

from fastapi_tenancy import ConfigurationError, DNSChecker, DomainCheckError, Tenancy
from fastapi_tenancy.multitenant import domain_check


class Zone(asyncio.DatagramProtocol):
    """Answers with the TXT records in `records`, each written as in a zone file; fails with `rcode` if that is set."""

    def __init__(self) -> None:
        self.records: dict[str, list[str]] = {}
        self.rcode: dns.rcode.Rcode | None = None
        self.asked: list[str] = []

    def connection_made(self, transport) -> None:
        self.transport = transport

    def datagram_received(self, data: bytes, addr) -> None:
        query = dns.message.from_wire(data)
        name = query.question[0].name
        self.asked.append(str(name))
        answer = dns.message.make_response(query)
        found = self.records.get(str(name))
        if self.rcode is not None:
            answer.set_rcode(self.rcode)
        elif found is None:
            answer.set_rcode(dns.rcode.NXDOMAIN)
        elif found:
            answer.answer.append(dns.rrset.from_text(name, 60, "IN", "TXT", *found))
        self.transport.sendto(answer.to_wire(), addr)


@pytest.fixture
async def zone() -> AsyncIterator[Zone]:
    loop = asyncio.get_running_loop()
    transport, zone = await loop.create_datagram_endpoint(Zone, local_addr=("127.0.0.1", 0))
    yield zone
    transport.close()


@pytest.fixture
def dns_checker(zone: Zone) -> DNSChecker:
    return DNSChecker("127.0.0.1", port=zone.transport.get_extra_info("sockname")[1])


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
    zone: Zone, dns_checker: DNSChecker, records: list[str] | None, proven: bool
) -> None:
    if records is not None:
        zone.records[NAME] = records
    assert await dns_checker.check("app.acme.com", "token") is proven
    assert set(zone.asked) == {NAME}


async def test_a_record_elsewhere_proves_nothing(zone: Zone, dns_checker: DNSChecker) -> None:
    zone.records["app.acme.com."] = zone.records["_fastapi-tenancy.acme.com."] = ['"token"']
    assert not await dns_checker.check("app.acme.com", "token")


@pytest.mark.parametrize("rcode", [dns.rcode.SERVFAIL, dns.rcode.REFUSED])
async def test_a_server_that_fails_is_a_503(zone: Zone, dns_checker: DNSChecker, rcode: dns.rcode.Rcode) -> None:
    zone.rcode = rcode
    with pytest.raises(DomainCheckError) as error:
        await dns_checker.check("app.acme.com", "token")
    assert error.value.status_code == 503


async def test_a_host_too_long_for_the_record_is_not_proven(dns_checker: DNSChecker) -> None:
    assert not await dns_checker.check(".".join(["a" * 60] * 4) + ".com", "token")


async def test_a_tenant_proves_its_domain_through_dns(tenancy: Tenancy, zone: Zone, dns_checker: DNSChecker) -> None:
    tenancy.domains._checker = dns_checker
    claim = await tenancy.domains.add("globex", "bücher.example")
    zone.records[f"{claim.record_name}."] = [f'"{claim.token}"']
    assert (await tenancy.domains.verify("globex", "bücher.example")).is_verified


async def test_without_dnspython_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name == "dns" or name.startswith("dns.")]:
        monkeypatch.setitem(sys.modules, name, None)
    spec = importlib.util.spec_from_file_location("fastapi_tenancy.multitenant.without_dns", domain_check.__file__)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    with pytest.raises(ConfigurationError, match="pip install dnspython"):
        await module.DNSChecker().check("app.acme.com", "token")
