"""Whatever tenants do with their domains, a host names the one tenant that proved it, in every order of events."""

import asyncio
from pathlib import Path
from tempfile import TemporaryDirectory

from hypothesis import given, settings
from hypothesis import strategies as st
from support import Base

from fastapi_tenancy import (
    HostResolver,
    InMemoryTenantStore,
    RequestError,
    Tenancy,
    TenancySettings,
)

TENANTS = ("acme", "globex")
HOSTS = ("a.com", "b.com")

STEPS = st.tuples(
    st.sampled_from(["add", "verify", "revoke", "remove", "set_primary", "find", "recreate"]),
    st.sampled_from(TENANTS),
    st.sampled_from(HOSTS),
)


class Gullible:
    async def check(self, host: str, token: str) -> bool:
        await asyncio.sleep(0)
        return True


async def take(tenancy: Tenancy, step: str, tenant: str, host: str) -> None:
    if step == "find":
        await identifier_of(tenancy, host)
    elif step == "recreate":
        await tenancy.delete_tenant(tenant)
        await tenancy.create_tenant(tenant)
    else:
        await getattr(tenancy.domains, step)(tenant, host)


async def check_all(tenancy: Tenancy) -> None:
    domains = [(tenant, each) for tenant in TENANTS for each in await tenancy.domains.list(tenant)]
    for host in HOSTS:
        owners = [tenant for tenant, each in domains if each.host == host and each.is_verified]
        assert [await identifier_of(tenancy, host)] == (owners or [None])
    for tenant in TENANTS:
        primary = [each for owner, each in domains if owner == tenant and each.is_primary]
        assert len(primary) <= 1
        assert all(each.is_verified for each in primary)


@settings(max_examples=60)
@given(st.lists(st.lists(STEPS, min_size=1, max_size=3, unique=True), max_size=12))
async def test_a_host_names_the_tenant_that_proved_it(rounds: list[list[tuple[str, str, str]]]) -> None:
    with TemporaryDirectory() as folder:
        made = TenancySettings(database_url=f"sqlite:///{Path(folder)}/t.db", manager_type="shared-profile")
        async with Tenancy(
            made,
            resolvers=[HostResolver()],
            metadata=Base.metadata,
            store=InMemoryTenantStore(),
            domain_checker=Gullible(),
        ) as tenancy:
            for tenant in TENANTS:
                await tenancy.create_tenant(tenant)
            for steps in rounds:
                ends = await asyncio.gather(*(take(tenancy, *step) for step in steps), return_exceptions=True)
                assert [end for end in ends if end is not None and not isinstance(end, RequestError)] == []
                await check_all(tenancy)


async def identifier_of(tenancy: Tenancy, host: str) -> str | None:
    tenant = await tenancy.domains.tenant_of(host)
    return tenant and tenant.identifier
