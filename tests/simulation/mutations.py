"""Faults that the library could have, each put into it for the length of a test: the simulation has to find them."""

import asyncio
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any

import pytest

from fastapi_tenancy.bus import Change, PollingBus, RedisBus
from fastapi_tenancy.bus.outbox import Outbox
from fastapi_tenancy.cache import TenantCache
from fastapi_tenancy.cache.loads import Load, Loads
from fastapi_tenancy.coherence import Coherence
from fastapi_tenancy.directory import TenantDirectory, _Remembered
from fastapi_tenancy.lifecycle import TenantLifecycle
from fastapi_tenancy.multitenant import BaseMultitenantManager
from fastapi_tenancy.multitenant.cache import ProfileCache, _Lease
from fastapi_tenancy.multitenant.host_memory import Hosts
from fastapi_tenancy.multitenant.route_manager import MultitenantRouteManager
from fastapi_tenancy.multitenant.tokens.manager import MultitenantTokenManager
from fastapi_tenancy.tenant import Tenant

Mutation = Callable[[pytest.MonkeyPatch], None]


async def _nothing(*_: Any, **__: Any) -> None: ...


def nothing_is_forgotten_after_a_write(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(TenantDirectory, "_forget_here", _nothing)


def nobody_is_told_over_redis(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(RedisBus, "publish", lambda _self, _change: None)


def what_could_not_be_sent_is_dropped(patch: pytest.MonkeyPatch) -> None:
    original = Outbox.__init__

    def init(self: Outbox, send: Any) -> None:
        async def attempt(changes: Any) -> None:
            with suppress(Exception):
                await send(changes)

        original(self, attempt)

    patch.setattr(Outbox, "__init__", init)


def messages_are_not_heard(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Coherence, "_forget_tenant", _nothing)


def a_connection_does_not_clear(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Coherence, "_forget_everything", _nothing)


def entries_are_skipped_by_polling(patch: pytest.MonkeyPatch) -> None:
    original = PollingBus._next

    async def skipping(self: PollingBus) -> Any:
        return (await original(self))[1:]

    patch.setattr(PollingBus, "_next", skipping)


def overtaken_loads_are_kept(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Loads, "_may_store", lambda _self, _load: True)


def later_readers_join_an_overtaken_load(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Loads, "_overtake", lambda _self, _keys: None)


def unknown_names_stay_unknown(patch: pytest.MonkeyPatch) -> None:
    async def clear(self: _Remembered, key: str) -> None:
        self.tenants.invalidate_by_identifier(key)

    patch.setattr(_Remembered, "clear", clear)


def tenants_never_expire(patch: pytest.MonkeyPatch) -> None:
    original = TenantCache.__init__

    def init(self: TenantCache, size: int, _ttl: float, **given: Any) -> None:
        original(self, size, 1e9, **given)

    patch.setattr(TenantCache, "__init__", init)


def only_the_new_name_is_told(patch: pytest.MonkeyPatch) -> None:
    async def forget_changed(self: TenantDirectory, _tenant_id: str, *identifiers: str) -> None:
        for identifier in identifiers:
            await self._remembered.clear(identifier)

    patch.setattr(TenantDirectory, "forget_changed", forget_changed)


def a_repeated_act_forgets_nothing(patch: pytest.MonkeyPatch) -> None:
    original = TenantLifecycle.set_status

    async def set_status(self: TenantLifecycle, tenant: Tenant, status: Any) -> Tenant:
        return tenant if tenant.status is status else await original(self, tenant, status)

    patch.setattr(TenantLifecycle, "set_status", set_status)


def profiles_in_use_are_closed(patch: pytest.MonkeyPatch) -> None:
    original = ProfileCache._retire

    def retire(self: Any, slot: Any) -> None:
        original(self, slot)
        if slot.opening is None and slot in self._retired:
            self._retired.remove(slot)
            self._queue.append(slot)

    patch.setattr(ProfileCache, "_retire", retire)


def leases_are_kept(patch: pytest.MonkeyPatch) -> None:
    original = _Lease.__aexit__
    count = 0

    async def leave(self: Any, *error: Any) -> None:
        nonlocal count
        count += 1
        if count % 20:
            await original(self, *error)

    patch.setattr(_Lease, "__aexit__", leave)


def a_cancelled_wait_for_a_profile_keeps_its_lease(patch: pytest.MonkeyPatch) -> None:
    async def wait(_self: Any, _slot: Any, opening: Any) -> None:
        await asyncio.wait({opening})
        opening.result()

    patch.setattr(ProfileCache, "_wait_open", wait)


def changed_profiles_are_served_on(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(BaseMultitenantManager, "forget_profile", lambda _self, _tenant_id: None)
    patch.setattr(
        BaseMultitenantManager,
        "lease",
        lambda self, tenant, _key=None: self._profiles.lease(tenant.id, lambda: self._open_recorded(tenant, None)),
    )


def a_loader_that_fails_leaves_its_load(patch: pytest.MonkeyPatch) -> None:
    def hand_on(_self: Loads, load: Load) -> None:
        load.promote()

    patch.setattr(Loads, "hand_on", hand_on)


def revoked_tokens_are_told_to_nobody(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(MultitenantTokenManager, "forget", _nothing)


def domains_are_not_forgotten(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(MultitenantRouteManager, "forget", _nothing)


def hosts_are_known_for_ever(patch: pytest.MonkeyPatch) -> None:
    original = Hosts.set

    async def keep(self: Hosts, keys: Any, value: Any, _ttl: float | None = None) -> None:
        await original(self, keys, value, 1e9)

    patch.setattr(Hosts, "set", keep)


def messages_name_no_identifier(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Change, "of_tenant", classmethod(lambda cls, tenant_id, *_: cls("tenant", (tenant_id,))))


MUTATIONS: Mapping[Mutation, int] = {
    nothing_is_forgotten_after_a_write: 0,
    nobody_is_told_over_redis: 14,
    what_could_not_be_sent_is_dropped: 14,
    messages_are_not_heard: 1,
    a_connection_does_not_clear: 8,
    entries_are_skipped_by_polling: 5,
    overtaken_loads_are_kept: 15,
    later_readers_join_an_overtaken_load: 15,
    unknown_names_stay_unknown: 1,
    tenants_never_expire: 0,
    only_the_new_name_is_told: 1,
    a_repeated_act_forgets_nothing: 11,
    profiles_in_use_are_closed: 0,
    leases_are_kept: 0,
    a_cancelled_wait_for_a_profile_keeps_its_lease: 7,
    changed_profiles_are_served_on: 1,
    a_loader_that_fails_leaves_its_load: 0,
    revoked_tokens_are_told_to_nobody: 5,
    domains_are_not_forgotten: 5,
    hosts_are_known_for_ever: 0,
    messages_name_no_identifier: 1,
}
"""Each with a seed that finds it; where the simulation has changed since, another one of the 200 does."""
