"""A checker that believes what it is told, and a Tenancy that asks it."""

from collections.abc import AsyncIterator
from pathlib import Path

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
        database_url=f"sqlite:///{tmp_path}/tenancy.db", cache_size=3, unknown_cache_size=10, profile_idle_timeout=None
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
