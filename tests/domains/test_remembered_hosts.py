"""What is remembered of a host is answered without an await, and never for too long."""

import asyncio
from inspect import isawaitable
from typing import Any

import pytest

from fastapi_tenancy import Tenancy, TenantStatus


def answer(tenancy: Tenancy, host: str = "acme.com") -> Any:
    """What the resolver gives at once: the identifier and status of a tenant, None, or ..., which is to be awaited."""
    found = tenancy.resolvers.resolvers[0]({"type": "http", "headers": [(b"host", host.encode())]})
    if isawaitable(found):
        found.close()
        return ...
    return found and (found.identifier, found.status)


ACME = ("acme", TenantStatus.ACTIVE)


@pytest.fixture
async def known(tenancy: Tenancy) -> Tenancy:
    """acme.com is remembered as acme's, and other.com as nobody's."""
    await tenancy.domains.tenant_of("acme.com")
    await tenancy.domains.tenant_of("other.com")
    return tenancy


async def test_a_known_host_is_answered_at_once_however_it_is_written(known: Tenancy) -> None:
    for host in ("acme.com", "ACME.com", "acme.com.", "acme.com:8000"):
        assert answer(known, host) == ACME, host


async def test_a_host_that_is_nobodys_is_answered_at_once(known: Tenancy) -> None:
    for host in ("other.com", "OTHER.com", "other.com:80", "localhost", "127.0.0.1", "", "a b.com"):
        assert answer(known, host) is None, host


async def test_a_host_that_was_not_asked_for_is_looked_up(tenancy: Tenancy) -> None:
    assert answer(tenancy) is ...


async def test_a_known_host_expires_with_cache_ttl(known: Tenancy, clock) -> None:
    clock.now = 59.9
    assert answer(known) == ACME
    clock.now = 60
    assert answer(known) is ...


async def test_a_host_of_nobody_expires_with_unknown_cache_ttl(known: Tenancy, clock) -> None:
    clock.now = 4.9
    assert answer(known, "other.com") is None
    clock.now = 5
    assert answer(known, "other.com") is ...


async def test_other_spellings_are_not_remembered(known: Tenancy) -> None:
    before = known.domains.stats()
    for port in range(100):
        assert answer(known, f"Acme.com:{port}") == ACME
        assert answer(known, f"Other.com.:{port}") is None
    assert known.domains.stats() == before


@pytest.mark.parametrize("end", ["revoke", "remove"])
async def test_a_domain_that_is_withdrawn_stops_at_once(known: Tenancy, end: str) -> None:
    await getattr(known.domains, end)("acme", "acme.com")
    assert answer(known) is ...
    assert await known.domains.tenant_of("acme.com") is None
    assert answer(known) is None


async def test_a_host_that_goes_to_another_tenant_names_that_one_at_once(known: Tenancy) -> None:
    await known.domains.remove("acme", "acme.com")
    await known.domains.tenant_of("acme.com")
    await known.domains.add("globex", "acme.com")
    await known.domains.verify("globex", "acme.com")
    assert answer(known) is ...
    await known.domains.tenant_of("acme.com")
    assert answer(known) == ("globex", TenantStatus.ACTIVE)


async def test_a_suspended_tenant_is_seen_at_once(known: Tenancy) -> None:
    await known.suspend_tenant("acme")
    assert answer(known) is ...
    await known.domains.tenant_of("acme.com")
    assert answer(known) == ("acme", TenantStatus.SUSPENDED)


async def test_a_renamed_tenant_is_seen_at_once(known: Tenancy) -> None:
    await known.update_tenant("acme", identifier="acme-inc")
    assert answer(known) is ...
    await known.domains.tenant_of("acme.com")
    assert answer(known) == ("acme-inc", TenantStatus.ACTIVE)


async def test_a_deleted_tenant_names_nobody_at_once(known: Tenancy) -> None:
    await known.delete_tenant("acme")
    assert answer(known) is ...
    assert await known.domains.tenant_of("acme.com") is None


async def test_what_is_forgotten_is_looked_up(known: Tenancy) -> None:
    await known.domains.forget_all()
    assert (answer(known), answer(known, "other.com")) == (..., ...)


async def test_a_load_that_a_revocation_overtook_is_not_kept(tenancy: Tenancy) -> None:
    look, may_answer = tenancy.store.find_domain, asyncio.Event()

    async def slow(host: str) -> Any:
        found = await look(host)
        asked.set()
        await may_answer.wait()
        return found

    asked, tenancy.store.find_domain = asyncio.Event(), slow
    load = asyncio.create_task(tenancy.domains.tenant_of("acme.com"))
    await asked.wait()
    await tenancy.domains.revoke("acme", "acme.com")
    may_answer.set()
    await load
    assert answer(tenancy) is ...
    assert await tenancy.domains.tenant_of("acme.com") is None


async def test_the_host_that_was_loaded_first_leaves_first(known: Tenancy, checker) -> None:
    hosts = [f"h{number}.com" for number in range(3)]
    checker.proven |= {*hosts}
    for host in hosts:
        await known.domains.add("globex", host)
        await known.domains.verify("globex", host)
        await known.domains.tenant_of(host)
    assert answer(known) is ...
    assert all(answer(known, host) == ("globex", TenantStatus.ACTIVE) for host in hosts)
