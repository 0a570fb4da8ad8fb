"""What every store of tenants' tokens promises."""

# ruff: noqa: S101 - assert is how pytest works

import asyncio
from collections.abc import Coroutine
from dataclasses import replace
from datetime import timedelta
from typing import Any, Protocol
from uuid import uuid4

import pytest

from ..errors import TenantConflictError
from ..store import TenantStore, TokenRecord, TokenStore
from ..tenant import Tenant
from .base import AsyncioContract
from .tenants import MOMENT, tenant_named


class TenantAndTokenStore(TenantStore, TokenStore, Protocol):
    """Both at once: tokens go with their tenants."""


class TokenStoreContract(AsyncioContract):
    """Proves a `TokenStore`; give a fixture `store` that opens an empty store and closes it after the test."""

    @pytest.fixture
    def store(self) -> TenantAndTokenStore:
        raise NotImplementedError(f"{type(self).__name__} needs a fixture store() that gives the store to be proven")

    @pytest.fixture
    async def acme(self, store: TenantAndTokenStore) -> Tenant:
        return await _added(store, "acme")

    @pytest.fixture
    async def globex(self, store: TenantAndTokenStore) -> Tenant:
        return await _added(store, "globex")

    @pytest.mark.parametrize(
        "given",
        [
            {},
            {"scopes": frozenset({"notes:read", "notes:write"})},
            {"expires_at": MOMENT + timedelta(days=1), "last_used_at": MOMENT + timedelta(microseconds=1)},
            {"impersonated_by": "grace@example.com"},
            {"name": "Ada\u2019s laptop \U0001f4bb" + "x" * 180},
        ],
    )
    async def test_a_token_is_found_unchanged(
        self, store: TenantAndTokenStore, acme: Tenant, given: dict[str, Any]
    ) -> None:
        token = token_of(acme, **given)
        await store.add_token(token)
        assert await store.get_token(token.token_id) == token
        assert await store.list_tokens(acme.id) == [token]

    async def test_what_is_not_there_is_none(self, store: TenantAndTokenStore, acme: Tenant) -> None:
        assert await store.get_token("0" * 32) is None
        assert await store.list_tokens(acme.id) == []
        assert not await store.remove_token(acme.id, "0" * 32)

    async def test_tokens_come_in_pages_in_the_order_of_their_ids(
        self, store: TenantAndTokenStore, acme: Tenant, globex: Tenant
    ) -> None:
        mine = sorted((token_of(acme) for _ in range(5)), key=lambda each: each.token_id)
        for token in (*reversed(mine), token_of(globex)):
            await store.add_token(token)
        assert await store.list_tokens(acme.id, 2) == mine[:2]
        assert await store.list_tokens(acme.id, 2, mine[1].token_id) == mine[2:4]
        assert await store.list_tokens(acme.id, 2, mine[3].token_id) == mine[4:]

    async def test_a_removed_token_is_gone_and_no_other(
        self, store: TenantAndTokenStore, acme: Tenant, globex: Tenant
    ) -> None:
        mine, other, foreign = token_of(acme), token_of(acme), token_of(globex)
        for token in (mine, other, foreign):
            await store.add_token(token)
        assert [await store.remove_token(acme.id, mine.token_id) for _ in range(2)] == [True, False]
        assert await store.get_token(mine.token_id) is None
        assert await store.list_tokens(acme.id) == [other]
        assert await store.list_tokens(globex.id) == [foreign]

    async def test_a_token_of_another_tenant_cannot_be_removed(
        self, store: TenantAndTokenStore, acme: Tenant, globex: Tenant
    ) -> None:
        token = token_of(acme)
        await store.add_token(token)
        assert not await store.remove_token(globex.id, token.token_id)
        assert await store.get_token(token.token_id) == token

    async def test_a_token_is_exchanged_once(self, store: TenantAndTokenStore, acme: Tenant, globex: Tenant) -> None:
        old, others = token_of(acme), token_of(globex)
        for token in (old, others):
            await store.add_token(token)
        new = [token_of(acme, impersonated_by="ada@example.com") for _ in range(6)]
        ends = await asyncio.gather(*(store.exchange_token(old.token_id, token) for token in new))
        assert sorted(ends) == [False] * 5 + [True]
        assert await store.list_tokens(acme.id) == [new[ends.index(True)]]
        assert not await store.exchange_token(others.token_id, token_of(acme))
        assert await store.list_tokens(globex.id) == [others]

    async def test_a_use_is_noted_at_most_once_a_minute(self, store: TenantAndTokenStore, acme: Tenant) -> None:
        token = token_of(acme)
        await store.add_token(token)
        noted = []
        for seconds in (0, 59, 60, 30, 121):
            await store.note_token_uses({token.token_id: MOMENT + timedelta(seconds=seconds)})
            found = await store.get_token(token.token_id)
            noted.append(found and found.last_used_at and (found.last_used_at - MOMENT).seconds)
        assert noted == [0, 0, 60, 60, 121]

    async def test_uses_are_noted_together(self, store: TenantAndTokenStore, acme: Tenant, globex: Tenant) -> None:
        used, unused, foreign = token_of(acme), token_of(acme), token_of(globex)
        for token in (used, unused, foreign):
            await store.add_token(token)
        await store.note_token_uses({})
        await store.note_token_uses(dict.fromkeys([used.token_id, foreign.token_id, "0" * 32], MOMENT))
        for token, moment in ((used, MOMENT), (unused, None), (foreign, MOMENT)):
            assert await store.get_token(token.token_id) == replace(token, last_used_at=moment)

    async def test_a_new_token_takes_the_place_of_those_that_have_expired(
        self, store: TenantAndTokenStore, acme: Tenant, globex: Tenant
    ) -> None:
        old = [token_of(tenant, expires_at=MOMENT + timedelta(hours=1)) for tenant in (acme, globex)]
        valid = token_of(acme, expires_at=MOMENT + timedelta(hours=3))
        for token in (*old, valid):
            await store.add_token(token)
        new = token_of(acme, created_at=MOMENT + timedelta(hours=1))
        await store.add_token(new)
        assert {token.token_id for token in await store.list_tokens(acme.id)} == {valid.token_id, new.token_id}
        assert await store.list_tokens(globex.id) == old[1:]

    @pytest.mark.parametrize("keep_namespace", [True, False])
    async def test_tokens_go_with_their_tenant(
        self, store: TenantAndTokenStore, acme: Tenant, globex: Tenant, keep_namespace: bool
    ) -> None:
        mine, foreign = token_of(acme), token_of(globex)
        for token in (mine, foreign):
            await store.add_token(token)
        await store.remove(acme, keep_namespace=keep_namespace)
        assert await store.get_token(mine.token_id) is None
        assert await store.list_tokens(acme.id) == []
        assert await store.get_token(foreign.token_id) == foreign

    @pytest.mark.parametrize("keep_namespace", [True, False])
    async def test_a_tenant_that_is_gone_gets_no_token(
        self, store: TenantAndTokenStore, acme: Tenant, keep_namespace: bool
    ) -> None:
        await store.remove(acme, keep_namespace=keep_namespace)
        with pytest.raises(TenantConflictError):
            await store.add_token(token_of(acme))
        assert await store.list_tokens(acme.id) == []

    async def test_tokens_of_several_tenants_can_be_made_at_once(
        self, store: TenantAndTokenStore, acme: Tenant, globex: Tenant
    ) -> None:
        old = [token_of(tenant, expires_at=MOMENT) for tenant in (acme, globex) for _ in range(3)]
        for token in old:
            await store.add_token(token)
        made = [token_of(tenant) for _ in range(6) for tenant in (acme, globex)]
        await asyncio.gather(*(store.add_token(token) for token in made))
        listed = [*await store.list_tokens(acme.id), *await store.list_tokens(globex.id)]
        assert {token.token_id for token in listed} == {token.token_id for token in made}

    async def test_tokens_and_the_deletion_of_their_tenant_at_once_leave_no_token(
        self, store: TenantAndTokenStore, acme: Tenant
    ) -> None:
        steps: list[Coroutine[Any, Any, object]] = [store.add_token(token_of(acme)) for _ in range(6)]
        steps.insert(3, store.remove(acme, keep_namespace=True))
        ends = await asyncio.gather(*steps, return_exceptions=True)
        assert {type(end) for end in ends} <= {type(None), bool, TenantConflictError}
        assert await store.list_tokens(acme.id) == []


async def _added(store: TenantAndTokenStore, identifier: str) -> Tenant:
    tenant = tenant_named(identifier, namespace=f"n/{identifier}")
    await store.add(tenant)
    return tenant


def token_of(tenant: Tenant, **given: Any) -> TokenRecord:
    values = {"token_id": uuid4().hex, "name": "laptop", "scopes": frozenset(), "digest": "0" * 64}
    return TokenRecord(**{"tenant_id": tenant.id, "created_at": MOMENT, **values, **given})
