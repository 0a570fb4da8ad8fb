"""Services that note what happens to them, and profiles without data to make them for."""

import asyncio
import pkgutil
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

from fastapi_tenancy import Profile, Tenant
from fastapi_tenancy.multitenant import BaseMultitenantManager
from fastapi_tenancy.multitenant.services import ServiceFactories
from fastapi_tenancy.testing import tenant_named


class Service:
    def __init__(self, profile: Profile | None = None) -> None:
        self.profile = profile
        self.closed = 0


class Crm(Service): ...


class Mail(Service): ...


class Search(Service): ...


async def make_crm(profile: Profile) -> AsyncIterator[Crm]:
    crm = Crm(profile)
    yield crm
    crm.closed += 1


def no_sessions() -> Any:
    raise AssertionError("it has no sessions")


async def nothing_to_dispose() -> None: ...


def opened_profile(
    *factories: Callable[..., Any],
    identifier: str = "acme",
    settings: dict[str, Any] | None = None,
    dispose: Callable[[], Awaitable[None]] = nothing_to_dispose,
) -> Profile:
    """An open profile of an application that has registered these."""
    registered = ServiceFactories()
    for factory in factories:
        registered.add(factory)
    profile = Profile(tenant_named(identifier), settings or {}, no_sessions, dispose)
    profile.services = registered.of(profile)
    return profile


class DatalessManager(BaseMultitenantManager):
    """Opens profiles at once, for what only services are asked for."""

    def namespace(self, tenant: Tenant) -> str:
        return tenant.id

    async def create_tenant(self, tenant: Tenant) -> None: ...

    async def drop_tenant(self, tenant: Tenant) -> None: ...

    async def open_profile(self, tenant: Tenant) -> Profile:
        return Profile(tenant, self.settings_of(tenant), no_sessions)


DATALESS = f"{DatalessManager.__module__}.{DatalessManager.__qualname__}"
assert pkgutil.resolve_name(DATALESS) is DatalessManager


async def settle() -> None:
    """Let every task go on until it waits for something that is not the loop's turn."""
    for _ in range(10):
        await asyncio.sleep(0)
