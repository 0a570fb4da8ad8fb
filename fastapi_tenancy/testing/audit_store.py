"""What every store that keeps the audit trail promises."""

# ruff: noqa: S101 - assert is how pytest works

from collections.abc import Callable, Coroutine
from dataclasses import replace
from datetime import timedelta
from typing import Any, Protocol
from uuid import uuid4

import pytest

from ..audit import AuditEntry
from ..errors import RequestError
from ..store import AuditStore, Domain, DomainStatus, DomainStore, TenantStore, TokenRecord, TokenStore
from ..tenant import Tenant
from .base import AsyncioContract
from .tenants import MOMENT, tenant_named


class AuditedStore(TenantStore, DomainStore, TokenStore, AuditStore, Protocol):
    """All at once: each write can have entries."""


class AuditStoreContract(AsyncioContract):
    """Proves an `AuditStore`; give a fixture `store` that opens an empty store and closes it after the test."""

    @pytest.fixture
    def store(self) -> AuditedStore:
        raise NotImplementedError(f"{type(self).__name__} needs a fixture store() that gives the store to be proven")

    @pytest.fixture
    async def acme(self, store: AuditedStore) -> Tenant:
        acme = tenant_named("acme")
        await store.add(acme)
        return acme

    @pytest.mark.parametrize(
        "given",
        [
            {},
            {"actor": None, "tenant_id": None, "identifier": None},
            {"actor": "Gräce \U0001f600" + "x" * 200, "details": {"changed": ["settings.plan"], "inner": {"n": None}}},
        ],
    )
    async def test_an_entry_is_found_unchanged(self, store: AuditedStore, acme: Tenant, given: dict[str, Any]) -> None:
        entry = entry_of(acme, **given)
        await store.save(acme, audit=[entry])
        [found] = await store.list_audit(10)
        assert found.id is not None
        assert replace(found, id=None) == entry

    async def test_every_write_has_its_entries(self, store: AuditedStore) -> None:
        for write in range(WRITES):
            tenant = tenant_named(f"t{write}")
            await store.add(tenant)
            await (await _writes(store, tenant))[write]([entry_of(tenant, action=f"act {write}") for _ in range(2)])
            found = await store.list_audit(10, tenant_id=tenant.id)
            assert [each.action for each in found] == [f"act {write}"] * 2

    async def test_a_write_that_fails_leaves_no_entry(self, store: AuditedStore) -> None:
        for write in range(WRITES):
            tenant = tenant_named(f"t{write}")
            await store.add(tenant)
            writes = await _writes(store, tenant)
            await store.remove(tenant, keep_namespace=False)
            try:
                done = await writes[write]([entry_of(tenant)])
            except RequestError:
                done = False
            assert not done
        assert await store.list_audit(10) == []

    async def test_pages_join_to_the_whole_trail_from_the_newest_to_the_oldest(
        self, store: AuditedStore, acme: Tenant
    ) -> None:
        for number in range(7):
            acme = await store.save(acme, audit=[entry_of(acme, action=str(number))])
        seen: list[AuditEntry] = []
        while page := await store.list_audit(3, seen[-1].id if seen else None):
            seen += page
        assert [each.action for each in seen] == [str(number) for number in reversed(range(7))]

    async def test_the_trail_can_be_one_tenants(self, store: AuditedStore, acme: Tenant) -> None:
        globex = tenant_named("globex")
        await store.add(globex)
        for tenant in (acme, globex):
            await store.save(tenant, audit=[entry_of(tenant)])
        assert [each.tenant_id for each in await store.list_audit(10, tenant_id=acme.id)] == [acme.id]

    async def test_what_was_done_to_a_tenant_outlives_it_and_is_found_by_each_of_its_identifiers(
        self, store: AuditedStore, acme: Tenant
    ) -> None:
        await store.save(acme, audit=[entry_of(acme)])
        await store.remove(acme, keep_namespace=False, audit=[entry_of(acme, identifier="acme-inc", action="deleted")])
        for identifier in ("acme", "acme-inc"):
            found = await store.list_audit(10, identifier=identifier)
            assert [each.action for each in found] == ["deleted", "updated"]
        assert await store.list_audit(10, identifier="globex") == []

    async def test_what_is_old_can_be_forgotten(self, store: AuditedStore, acme: Tenant) -> None:
        moments = [MOMENT + timedelta(days=number) for number in range(4)]
        for moment in moments:
            acme = await store.save(acme, audit=[entry_of(acme, at=moment)])
        pruned = await store.prune_audit(moments[2], [entry_of(acme, action="audit_pruned", at=moments[3])])
        assert pruned == 2
        kept = [(each.action, each.at) for each in await store.list_audit(10)]
        assert kept == [("audit_pruned", moments[3]), ("updated", moments[3]), ("updated", moments[2])]


WRITES = 9
Write = Callable[[list[AuditEntry]], Coroutine[Any, Any, Any]]


async def _writes(store: AuditedStore, tenant: Tenant) -> list[Write]:
    """Each way of writing something of the tenant, made ready."""
    token, domain = _token_of(tenant), _domain_of(tenant, f"app.{tenant.identifier}.com")
    await store.add_token(token)
    await store.add_domain(domain)
    revoked = replace(domain, status=DomainStatus.REVOKED)
    verified = replace(
        _domain_of(tenant, f"www.{tenant.identifier}.com"), status=DomainStatus.VERIFIED, verified_at=MOMENT
    )
    await store.add_domain(verified)
    return [
        lambda entries: store.save(tenant, audit=entries),
        lambda entries: store.remove(tenant, keep_namespace=True, audit=entries),
        lambda entries: store.add_token(_token_of(tenant), audit=entries),
        lambda entries: store.exchange_token(token.token_id, _token_of(tenant), audit=entries),
        lambda entries: store.remove_token(tenant.id, token.token_id, audit=entries),
        lambda entries: store.add_domain(_domain_of(tenant, f"new.{tenant.identifier}.com"), audit=entries),
        lambda entries: store.change_domain(domain, revoked, audit=entries),
        lambda entries: store.make_primary(verified, audit=entries),
        lambda entries: store.remove_domain(domain, audit=entries),
    ]


def entry_of(tenant: Tenant, **given: Any) -> AuditEntry:
    values: dict[str, Any] = {
        "action": "updated",
        "at": MOMENT,
        "actor": "ada@example.com",
        "tenant_id": tenant.id,
        "identifier": tenant.identifier,
        "details": {},
    }
    return AuditEntry(**{**values, **given})


def _token_of(tenant: Tenant) -> TokenRecord:
    return TokenRecord(
        token_id=uuid4().hex, tenant_id=tenant.id, name="t", scopes=frozenset(), digest="0" * 64, created_at=MOMENT
    )


def _domain_of(tenant: Tenant, host: str) -> Domain:
    return Domain(host=host, tenant_id=tenant.id, status=DomainStatus.PENDING, token=uuid4().hex, created_at=MOMENT)
