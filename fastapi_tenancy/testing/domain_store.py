"""What every store of tenants' domains promises."""

# ruff: noqa: S101 - assert is how pytest works

import asyncio
from collections.abc import Coroutine
from dataclasses import replace
from datetime import timedelta
from typing import Any, Protocol
from uuid import uuid4

import pytest

from ..errors import DomainTakenError, TenantConflictError
from ..store import Domain, DomainStatus, DomainStore, TenantStore
from ..tenant import Tenant
from .base import AsyncioContract
from .tenants import MOMENT, tenant_named


class TenantAndDomainStore(TenantStore, DomainStore, Protocol):
    """Both at once: domains go with their tenants."""


class DomainStoreContract(AsyncioContract):
    """Proves a `DomainStore`; give a fixture `store` that opens an empty store and closes it after the test."""

    @pytest.fixture
    def store(self) -> TenantAndDomainStore:
        raise NotImplementedError(f"{type(self).__name__} needs a fixture store() that gives the store to be proven")

    @pytest.fixture
    async def acme(self, store: TenantAndDomainStore) -> Tenant:
        return await add_tenant(store, "acme")

    @pytest.fixture
    async def globex(self, store: TenantAndDomainStore) -> Tenant:
        return await add_tenant(store, "globex")

    async def test_a_claim_is_found_unchanged_and_names_nobody(self, store: TenantAndDomainStore, acme: Tenant) -> None:
        pending = claim(acme)
        await store.add_domain(pending)
        assert await store.get_domain(acme.id, pending.host) == pending
        assert await store.list_domains(acme.id) == [pending]
        assert await store.find_domain(pending.host) is None

    async def test_what_is_not_there_is_none(self, store: TenantAndDomainStore, acme: Tenant) -> None:
        assert await store.get_domain(acme.id, "app.acme.com") is None
        assert await store.find_domain("app.acme.com") is None
        assert await store.find_primary(acme.id) is None
        assert await store.list_domains(acme.id) == []

    async def test_domains_come_in_pages_in_the_order_of_their_hosts(
        self, store: TenantAndDomainStore, acme: Tenant, globex: Tenant
    ) -> None:
        hosts = ["a.b.com", "a.com", "ab.com", "b.com"]
        for host in ("b.com", "a.com", "ab.com", "a.b.com"):
            await store.add_domain(claim(acme, host))
        await store.add_domain(claim(globex, "aa.com"))
        assert [each.host for each in await store.list_domains(acme.id)] == hosts
        assert [each.host for each in await store.list_domains(acme.id, 2)] == hosts[:2]
        assert [each.host for each in await store.list_domains(acme.id, 2, hosts[0])] == hosts[1:3]
        assert [each.host for each in await store.list_domains(acme.id, after="aa.com")] == hosts[2:]
        assert await store.list_domains(acme.id, 2, hosts[-1]) == []

    async def test_a_verified_domain_is_found_by_its_host(self, store: TenantAndDomainStore, acme: Tenant) -> None:
        domain = await add_verified(store, acme)
        assert await store.find_domain(domain.host) == domain
        assert await store.find_domain("other.acme.com") is None

    async def test_a_revoked_domain_is_not_found_and_frees_its_host(
        self, store: TenantAndDomainStore, acme: Tenant, globex: Tenant
    ) -> None:
        domain = await add_verified(store, acme)
        revoked = replace(domain, status=DomainStatus.REVOKED)
        await store.change_domain(domain, revoked)
        assert await store.find_domain(domain.host) is None
        assert await store.list_domains(acme.id) == [revoked]
        other = await add_verified(store, globex)
        assert await store.find_domain(domain.host) == other

    async def test_a_tenant_claims_a_host_once(self, store: TenantAndDomainStore, acme: Tenant) -> None:
        await store.add_domain(claim(acme))
        with pytest.raises(TenantConflictError):
            await store.add_domain(claim(acme))

    async def test_pending_claims_coexist_and_one_can_be_verified(
        self, store: TenantAndDomainStore, acme: Tenant, globex: Tenant
    ) -> None:
        first, second = claim(acme), claim(globex)
        await store.add_domain(first)
        await store.add_domain(second)
        await store.change_domain(first, verified(first))
        with pytest.raises(DomainTakenError):
            await store.change_domain(second, verified(second))
        assert await store.get_domain(globex.id, second.host) == second
        assert await store.find_domain(first.host) == verified(first)

    async def test_of_many_verifications_at_once_one_wins(self, store: TenantAndDomainStore) -> None:
        claims = []
        for number in range(8):
            tenant = tenant_named(f"t{number}", namespace=str(number))
            await store.add(tenant)
            claims.append(claim(tenant))
            await store.add_domain(claims[-1])
        ends = await asyncio.gather(
            *(store.change_domain(each, verified(each)) for each in claims), return_exceptions=True
        )
        assert sorted(type(end).__name__ for end in ends) == ["DomainTakenError"] * 7 + ["NoneType"]
        assert await store.find_domain("app.acme.com") == verified(claims[ends.index(None)])

    async def test_a_change_of_what_was_verified_meanwhile_is_refused(
        self, store: TenantAndDomainStore, acme: Tenant
    ) -> None:
        old = claim(acme)
        await store.add_domain(old)
        await store.change_domain(old, verified(old))
        with pytest.raises(TenantConflictError):
            await store.change_domain(old, replace(old, status=DomainStatus.REVOKED))
        assert await store.find_domain(old.host) == verified(old)

    async def test_a_change_of_what_was_replaced_meanwhile_is_refused(
        self, store: TenantAndDomainStore, acme: Tenant
    ) -> None:
        old = claim(acme)
        await store.add_domain(old)
        again = replace(old, token=uuid4().hex)
        await store.change_domain(old, again)
        with pytest.raises(TenantConflictError):
            await store.change_domain(old, verified(old))
        assert await store.get_domain(acme.id, old.host) == again

    async def test_a_change_of_what_is_gone_is_refused(self, store: TenantAndDomainStore, acme: Tenant) -> None:
        domain = claim(acme)
        with pytest.raises(TenantConflictError):
            await store.change_domain(domain, verified(domain))
        with pytest.raises(TenantConflictError):
            await store.make_primary(verified(domain))

    async def test_one_domain_is_primary(self, store: TenantAndDomainStore, acme: Tenant, globex: Tenant) -> None:
        foreign = await add_verified(store, globex, "globex.com")
        await store.make_primary(foreign)
        for host in ("a.com", "b.com"):
            await store.make_primary(await add_verified(store, acme, host))
        assert [(each.host, each.is_primary) for each in await store.list_domains(acme.id)] == [
            ("a.com", False),
            ("b.com", True),
        ]
        assert [each.is_primary for each in await store.list_domains(globex.id)] == [True]
        assert await store.find_primary(acme.id) == (await store.list_domains(acme.id))[1]
        assert await store.find_primary(globex.id) == replace(foreign, is_primary=True)

    async def test_a_pending_domain_cannot_be_primary(self, store: TenantAndDomainStore, acme: Tenant) -> None:
        primary = await add_verified(store, acme, "a.com")
        await store.make_primary(primary)
        pending = claim(acme, "b.com")
        await store.add_domain(pending)
        with pytest.raises(TenantConflictError):
            await store.make_primary(pending)
        assert [each.is_primary for each in await store.list_domains(acme.id)] == [True, False]

    async def test_a_revoked_domain_is_no_primary_one(self, store: TenantAndDomainStore, acme: Tenant) -> None:
        domain = await add_verified(store, acme)
        await store.make_primary(domain)
        await store.change_domain(domain, replace(domain, status=DomainStatus.REVOKED, is_primary=True))
        assert [each.is_primary for each in await store.list_domains(acme.id)] == [False]
        assert await store.find_primary(acme.id) is None

    async def test_a_removed_domain_is_gone_and_removing_it_again_is_harmless(
        self, store: TenantAndDomainStore, acme: Tenant, globex: Tenant
    ) -> None:
        mine, foreign = await add_verified(store, acme), claim(globex)
        await store.add_domain(foreign)
        for _ in range(2):
            await store.remove_domain(mine)
        assert await store.list_domains(acme.id) == []
        assert await store.list_domains(globex.id) == [foreign]

    @pytest.mark.parametrize("keep_namespace", [True, False])
    async def test_domains_go_with_their_tenant(
        self, store: TenantAndDomainStore, acme: Tenant, globex: Tenant, keep_namespace: bool
    ) -> None:
        await add_verified(store, acme)
        await store.add_domain(claim(acme, "pending.com"))
        foreign = await add_verified(store, globex, "globex.com")
        await store.remove(acme, keep_namespace=keep_namespace)
        assert await store.list_domains(acme.id) == []
        assert await store.find_domain("app.acme.com") is None
        assert await store.find_domain("globex.com") == foreign
        again = await add_verified(store, globex)
        assert await store.find_domain("app.acme.com") == again

    @pytest.mark.parametrize("keep_namespace", [True, False])
    async def test_a_tenant_that_is_gone_cannot_claim(
        self, store: TenantAndDomainStore, acme: Tenant, keep_namespace: bool
    ) -> None:
        await store.remove(acme, keep_namespace=keep_namespace)
        with pytest.raises(TenantConflictError):
            await store.add_domain(claim(acme))
        assert await store.list_domains(acme.id) == []

    async def test_claims_and_the_deletion_of_their_tenant_at_once_leave_no_domain(
        self, store: TenantAndDomainStore, acme: Tenant
    ) -> None:
        hosts = [f"h{number}.com" for number in range(6)]
        steps: list[Coroutine[Any, Any, object]] = [store.add_domain(claim(acme, host)) for host in hosts]
        steps.insert(3, store.remove(acme, keep_namespace=True))
        ends = await asyncio.gather(*steps, return_exceptions=True)
        assert {type(end) for end in ends} <= {type(None), bool, TenantConflictError}
        assert await store.list_domains(acme.id) == []


async def add_tenant(store: TenantAndDomainStore, identifier: str) -> Tenant:
    tenant = tenant_named(identifier, namespace=f"n/{identifier}")
    await store.add(tenant)
    return tenant


def claim(tenant: Tenant, host: str = "app.acme.com") -> Domain:
    return Domain(host=host, tenant_id=tenant.id, status=DomainStatus.PENDING, token=uuid4().hex, created_at=MOMENT)


def verified(domain: Domain) -> Domain:
    return replace(domain, status=DomainStatus.VERIFIED, verified_at=MOMENT + timedelta(hours=1))


async def add_verified(store: TenantAndDomainStore, tenant: Tenant, host: str = "app.acme.com") -> Domain:
    pending = claim(tenant, host)
    await store.add_domain(pending)
    await store.change_domain(pending, verified(pending))
    return verified(pending)
