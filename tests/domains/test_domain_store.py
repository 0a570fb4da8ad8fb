"""Every domain store keeps the same promises."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Protocol
from uuid import uuid4

import pytest
from servers import on_database
from sqlalchemy import create_engine, insert, text
from support import tenant_named

from fastapi_tenancy import (
    Domain,
    DomainStatus,
    DomainStore,
    DomainTakenError,
    InMemoryTenantStore,
    SQLAlchemyTenantStore,
    Tenant,
    TenantConflictError,
    TenantStore,
)
from fastapi_tenancy.migrations import store_tables
from fastapi_tenancy.store.models import tenants
from fastapi_tenancy.store.sqlalchemy import _to_row

MOMENT = datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=UTC)


class Store(TenantStore, DomainStore, Protocol):
    """Both at once."""


def made_store(kind: str, folder: Path, request: pytest.FixtureRequest) -> Store:
    if kind == "in memory":
        return InMemoryTenantStore()
    if kind == "sqlite":
        return SQLAlchemyTenantStore(f"sqlite:///{folder}/store.db")
    server = request.getfixturevalue("postgresql_url")
    name = f"domains_{uuid4().hex}"
    engine = create_engine(server, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.execute(text(f"CREATE DATABASE {name}"))
    engine.dispose()
    return SQLAlchemyTenantStore(on_database(server, name))


@pytest.fixture(params=["in memory", "sqlite", "postgresql"])
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Store]:
    made = made_store(request.param, tmp_path, request)
    await made.open()
    yield made
    await made.close()


@pytest.fixture
async def acme(store: Store) -> Tenant:
    tenant = tenant_named("acme", namespace="n/acme")
    await store.add(tenant)
    return tenant


@pytest.fixture
async def globex(store: Store) -> Tenant:
    tenant = tenant_named("globex", namespace="n/globex")
    await store.add(tenant)
    return tenant


def claim(tenant: Tenant, host: str = "app.acme.com") -> Domain:
    return Domain(host=host, tenant_id=tenant.id, status=DomainStatus.PENDING, token=uuid4().hex, created_at=MOMENT)


def verified(domain: Domain) -> Domain:
    return replace(domain, status=DomainStatus.VERIFIED, verified_at=MOMENT + timedelta(hours=1))


async def add_verified(store: Store, tenant: Tenant, host: str = "app.acme.com") -> Domain:
    pending = claim(tenant, host)
    await store.add_domain(pending)
    await store.change_domain(pending, verified(pending))
    return verified(pending)


def test_the_stores_are_domain_stores() -> None:
    assert isinstance(InMemoryTenantStore(), DomainStore)
    assert isinstance(SQLAlchemyTenantStore("sqlite://"), DomainStore)


async def test_a_claim_is_found_unchanged_and_names_nobody(store: Store, acme: Tenant) -> None:
    pending = claim(acme)
    await store.add_domain(pending)
    assert await store.get_domain(acme.id, pending.host) == pending
    assert await store.list_domains(acme.id) == [pending]
    assert await store.find_domain(pending.host) is None


async def test_what_is_not_there_is_none(store: Store, acme: Tenant) -> None:
    assert await store.get_domain(acme.id, "app.acme.com") is None
    assert await store.find_domain("app.acme.com") is None
    assert await store.list_domains(acme.id) == []


async def test_a_verified_domain_is_found_by_its_host(store: Store, acme: Tenant) -> None:
    domain = await add_verified(store, acme)
    assert await store.find_domain(domain.host) == domain
    assert await store.find_domain("other.acme.com") is None


async def test_a_revoked_domain_is_not_found_and_frees_its_host(store: Store, acme: Tenant, globex: Tenant) -> None:
    domain = await add_verified(store, acme)
    revoked = replace(domain, status=DomainStatus.REVOKED)
    await store.change_domain(domain, revoked)
    assert await store.find_domain(domain.host) is None
    assert await store.list_domains(acme.id) == [revoked]
    other = await add_verified(store, globex)
    assert await store.find_domain(domain.host) == other


async def test_a_tenant_claims_a_host_once(store: Store, acme: Tenant) -> None:
    await store.add_domain(claim(acme))
    with pytest.raises(TenantConflictError):
        await store.add_domain(claim(acme))


async def test_pending_claims_coexist_and_one_can_be_verified(store: Store, acme: Tenant, globex: Tenant) -> None:
    first, second = claim(acme), claim(globex)
    await store.add_domain(first)
    await store.add_domain(second)
    await store.change_domain(first, verified(first))
    with pytest.raises(DomainTakenError):
        await store.change_domain(second, verified(second))
    assert await store.get_domain(globex.id, second.host) == second
    assert await store.find_domain(first.host) == verified(first)


async def test_of_many_verifications_at_once_one_wins(store: Store) -> None:
    claims = []
    for number in range(8):
        tenant = tenant_named(f"t{number}", namespace=str(number))
        await store.add(tenant)
        claims.append(claim(tenant))
        await store.add_domain(claims[-1])
    ends = await asyncio.gather(*(store.change_domain(each, verified(each)) for each in claims), return_exceptions=True)
    assert sorted(type(end).__name__ for end in ends) == ["DomainTakenError"] * 7 + ["NoneType"]
    assert await store.find_domain("app.acme.com") == verified(claims[ends.index(None)])


async def test_a_change_of_what_was_verified_meanwhile_is_refused(store: Store, acme: Tenant) -> None:
    old = claim(acme)
    await store.add_domain(old)
    await store.change_domain(old, verified(old))
    with pytest.raises(TenantConflictError):
        await store.change_domain(old, replace(old, status=DomainStatus.REVOKED))
    assert await store.find_domain(old.host) == verified(old)


async def test_a_change_of_what_was_replaced_meanwhile_is_refused(store: Store, acme: Tenant) -> None:
    old = claim(acme)
    await store.add_domain(old)
    again = replace(old, token="another")
    await store.change_domain(old, again)
    with pytest.raises(TenantConflictError):
        await store.change_domain(old, verified(old))
    assert await store.get_domain(acme.id, old.host) == again


async def test_a_change_of_what_is_gone_is_refused(store: Store, acme: Tenant) -> None:
    domain = claim(acme)
    with pytest.raises(TenantConflictError):
        await store.change_domain(domain, verified(domain))
    with pytest.raises(TenantConflictError):
        await store.make_primary(verified(domain))


async def test_one_domain_is_primary(store: Store, acme: Tenant, globex: Tenant) -> None:
    foreign = await add_verified(store, globex, "globex.com")
    await store.make_primary(foreign)
    for host in ("a.com", "b.com"):
        await store.make_primary(await add_verified(store, acme, host))
    assert [(each.host, each.is_primary) for each in await store.list_domains(acme.id)] == [
        ("a.com", False),
        ("b.com", True),
    ]
    assert [each.is_primary for each in await store.list_domains(globex.id)] == [True]


async def test_a_pending_domain_cannot_be_primary(store: Store, acme: Tenant) -> None:
    primary = await add_verified(store, acme, "a.com")
    await store.make_primary(primary)
    pending = claim(acme, "b.com")
    await store.add_domain(pending)
    with pytest.raises(TenantConflictError):
        await store.make_primary(pending)
    assert [each.is_primary for each in await store.list_domains(acme.id)] == [True, False]


async def test_a_revoked_domain_is_no_primary_one(store: Store, acme: Tenant) -> None:
    domain = await add_verified(store, acme)
    await store.make_primary(domain)
    await store.change_domain(domain, replace(domain, status=DomainStatus.REVOKED, is_primary=True))
    assert [each.is_primary for each in await store.list_domains(acme.id)] == [False]


async def test_a_removed_domain_is_gone_and_removing_it_again_is_harmless(
    store: Store, acme: Tenant, globex: Tenant
) -> None:
    mine, foreign = await add_verified(store, acme), claim(globex)
    await store.add_domain(foreign)
    for _ in range(2):
        await store.remove_domain(mine)
    assert await store.list_domains(acme.id) == []
    assert await store.list_domains(globex.id) == [foreign]


@pytest.mark.parametrize("keep_namespace", [True, False])
async def test_domains_go_with_their_tenant(store: Store, acme: Tenant, globex: Tenant, keep_namespace: bool) -> None:
    await add_verified(store, acme)
    await store.add_domain(claim(acme, "pending.com"))
    foreign = await add_verified(store, globex, "globex.com")
    await store.remove(acme, keep_namespace=keep_namespace)
    assert await store.list_domains(acme.id) == []
    assert await store.find_domain("app.acme.com") is None
    assert await store.find_domain("globex.com") == foreign
    assert await add_verified(store, globex)


@pytest.mark.parametrize("keep_namespace", [True, False])
async def test_a_tenant_that_is_gone_cannot_claim(store: Store, acme: Tenant, keep_namespace: bool) -> None:
    await store.remove(acme, keep_namespace=keep_namespace)
    with pytest.raises(TenantConflictError):
        await store.add_domain(claim(acme))
    assert await store.list_domains(acme.id) == []


async def test_claims_and_the_deletion_of_their_tenant_at_once_leave_no_domain(store: Store, acme: Tenant) -> None:
    hosts = [f"h{number}.com" for number in range(6)]
    steps = [store.add_domain(claim(acme, host)) for host in hosts]
    steps.insert(3, store.remove(acme, keep_namespace=True))
    ends = await asyncio.gather(*steps, return_exceptions=True)
    assert {type(end) for end in ends} <= {type(None), TenantConflictError}
    assert await store.list_domains(acme.id) == []


async def test_a_database_of_before_gets_the_table_and_keeps_its_tenants(tmp_path: Path) -> None:
    acme = tenant_named("acme")
    engine = create_engine(f"sqlite:///{tmp_path}/store.db")
    with engine.begin() as connection:
        store_tables._history.create_all(connection)
        store_tables._create_tenants(connection)
        connection.execute(store_tables._revisions.insert().values(revision=1))
        connection.execute(insert(tenants).values(_to_row(acme)))
    engine.dispose()
    store = SQLAlchemyTenantStore(f"sqlite:///{tmp_path}/store.db")
    await store.open()
    await add_verified(store, acme)
    assert await store.get(acme.id) == acme
    await store.close()
