"""A checker that believes what it is told, a Tenancy that asks it, and a small DNS server on loopback."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import dns.message
import dns.rcode
import dns.rdatatype
import dns.rrset
import pytest
from support import Base

from fastapi_tenancy import HostResolver, Tenancy, TenancySettings


class FakeChecker:
    """Finds the proof of the hosts in `proven`; fails with `error` if that is set."""

    def __init__(self) -> None:
        self.proven: set[str] = set()
        self.asked: list[tuple[str, str]] = []
        self.error: Exception | None = None

    async def check(self, host: str, token: str) -> bool:
        self.asked.append((host, token))
        if self.error is not None:
            raise self.error
        return host in self.proven


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


class Zone(asyncio.DatagramProtocol):
    """Answers with what is in `records`, by name and type, as in a zone file; fails with `rcode` if that is set."""

    def __init__(self) -> None:
        self.records: dict[tuple[str, str], list[str]] = {}
        self.rcode: dns.rcode.Rcode | None = None
        self.asked: list[tuple[str, str]] = []

    @property
    def port(self) -> int:
        return self.transport.get_extra_info("sockname")[1]

    def connection_made(self, transport) -> None:
        self.transport = transport

    def datagram_received(self, data: bytes, addr) -> None:
        query = dns.message.from_wire(data)
        name, kind = str(query.question[0].name), dns.rdatatype.to_text(query.question[0].rdtype)
        self.asked.append((name, kind))
        answer = dns.message.make_response(query)
        if self.rcode is not None:
            answer.set_rcode(self.rcode)
        elif not any(known == name for known, _ in self.records):
            answer.set_rcode(dns.rcode.NXDOMAIN)
        elif found := self.records.get((name, kind)):
            answer.answer.append(dns.rrset.from_text(name, 60, "IN", kind, *found))
        self.transport.sendto(answer.to_wire(), addr)


@pytest.fixture
async def zone() -> AsyncIterator[Zone]:
    loop = asyncio.get_running_loop()
    transport, zone = await loop.create_datagram_endpoint(Zone, local_addr=("127.0.0.1", 0))
    yield zone
    transport.close()


@pytest.fixture
def checker() -> FakeChecker:
    return FakeChecker()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def tenancy(tmp_path: Path, checker: FakeChecker, clock: Clock) -> AsyncIterator[Tenancy]:
    """With the tenants acme and globex, and acme.com verified for acme."""
    settings = TenancySettings(
        database_url=f"sqlite:///{tmp_path}/tenancy.db",
        manager_type="shared-profile",
        cache_size=3,
        unknown_cache_size=10,
        profile_idle_timeout=None,
    )
    async with Tenancy(
        settings, resolvers=[HostResolver()], metadata=Base.metadata, clock=clock, domain_checker=checker
    ) as tenancy:
        await tenancy.create_tenant("acme")
        await tenancy.create_tenant("globex")
        checker.proven.add("acme.com")
        await tenancy.domains.add("acme", "acme.com")
        await tenancy.domains.verify("acme", "acme.com")
        yield tenancy
