"""The contracts catch implementations that break them."""

from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from starlette.types import Scope
from support import make_tenancy

from fastapi_tenancy import InMemoryTenantStore, InvalidIdentifierError, Profile, Tenant
from fastapi_tenancy.cache import InMemoryCache
from fastapi_tenancy.multitenant.manager import MultitenantManager
from fastapi_tenancy.testing import (
    CacheContract,
    ManagerContract,
    Note,
    ResolverContract,
    TenantStoreContract,
    request_scope,
    tenant_named,
)


class CacheWithoutNone(InMemoryCache):
    async def set(self, keys: Any, value: Any, ttl: float | None = None) -> None:
        if value is not None:
            await super().set(keys, value, ttl)


class CacheOfOneKey(InMemoryCache):
    async def set(self, keys: Any, value: Any, ttl: float | None = None) -> None:
        await super().set(keys if isinstance(keys, str) else next(iter(keys)), value, ttl)


class CacheThatDoesNotClear(InMemoryCache):
    async def clear(self, key: str) -> None: ...


@pytest.mark.parametrize(
    ("cache", "test"),
    [
        (CacheWithoutNone, lambda contract, cache: contract.test_every_value_is_a_value(cache, None)),
        (CacheOfOneKey, lambda contract, cache: contract.test_one_set_keeps_several_keys(cache, list)),
        (CacheThatDoesNotClear, lambda contract, cache: contract.test_clear_drops_one_key(cache)),
    ],
)
async def test_a_broken_cache_is_caught(
    cache: type[InMemoryCache], test: Callable[[CacheContract, InMemoryCache], Any]
) -> None:
    with pytest.raises(AssertionError):
        await test(CacheContract(), cache())


class CarelessStore(InMemoryTenantStore):
    """Saves whatever version it is given."""

    async def save(self, tenant: Tenant) -> Tenant:
        current = self._tenants.get(tenant.id, tenant)
        return await super().save(replace(tenant, version=current.version))


async def test_a_store_that_lets_writers_overwrite_each_other_is_caught() -> None:
    with pytest.raises(pytest.fail.Exception, match="TenantConflictError"):
        await TenantStoreContract().test_two_writers_cannot_overwrite_each_other(CarelessStore())


def careless_resolver(scope: Scope) -> str:
    return dict(scope["headers"])[b"x-tenant"].decode()


def greedy_resolver(scope: Scope) -> str | None:
    with suppress(StopIteration):
        return scope["headers"].pop()[1].decode("latin-1")
    return None


class OfCareless(ResolverContract):
    def names(self, identifier: str) -> Scope:
        return request_scope(headers={"X-Tenant": identifier})


async def test_a_resolver_that_stumbles_over_strangers_is_caught() -> None:
    with pytest.raises((KeyError, UnicodeDecodeError)):
        await OfCareless().test_a_hostile_scope_is_answered_or_refused(careless_resolver)


async def test_a_resolver_that_changes_the_scope_is_caught() -> None:
    with pytest.raises(AssertionError):
        await OfCareless().test_the_scope_stays_as_it_was(greedy_resolver)


async def test_a_resolver_that_refuses_is_not_caught() -> None:
    def resolver(scope: Scope) -> str:
        raise InvalidIdentifierError("no")

    await OfCareless().test_a_hostile_scope_is_answered_or_refused(resolver)


ONE = tenant_named("one")


class OneFileManager(MultitenantManager):
    """Keeps all tenants in one file."""

    async def create_tenant(self, tenant: Tenant) -> None:
        await super().create_tenant(ONE)

    async def drop_tenant(self, tenant: Tenant) -> None: ...

    async def open_profile(self, tenant: Tenant) -> Profile:
        return await super().open_profile(ONE)


@pytest.mark.parametrize(
    "test",
    [
        ManagerContract.test_tenants_do_not_see_each_others_rows,
        ManagerContract.test_tenants_that_are_used_at_once_do_not_see_each_others_rows,
        ManagerContract.test_a_key_that_two_tenants_have_gives_each_its_own_row,
        ManagerContract.test_a_rename_moves_nothing_and_the_next_bearer_of_the_name_starts_empty,
        ManagerContract.test_data_is_dropped_only_when_told,
        ManagerContract.test_identifiers_names_and_settings_are_as_free_as_the_library_says,
        ManagerContract.test_a_leased_profile_is_not_closed_to_make_room,
    ],
)
async def test_a_manager_that_mixes_tenants_is_caught(tmp_path: Path, test: Callable[..., Any]) -> None:
    path = f"{__name__}.OneFileManager"
    async with make_tenancy(tmp_path, metadata=Note.metadata, manager_type=path, profile_cache_size=2) as tenancy:
        with pytest.raises(AssertionError):
            await test(ManagerContract(), tenancy)
