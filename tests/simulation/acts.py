"""What administrators do."""

import random
from collections.abc import Awaitable, Callable
from typing import Protocol

from fastapi_tenancy import Tenancy, Tenant

from .database import Database

NAMES = ("alpha", "beta", "gamma", "delta")


class Site(Protocol):
    """What they know: the text of each token with its id and its tenant's, and what is in the store."""

    rng: random.Random
    tokens: list[tuple[str, str, str]]
    database: Database


# An act gives the subject that was changed, a tenant as it is then, or None where nothing was changed.
Act = Callable[[Site, Tenancy, str], Awaitable[Tenant | str | None]]


async def create(_world: Site, tenancy: Tenancy, name: str) -> Tenant:
    return await tenancy.create_tenant(name)


async def suspend(_world: Site, tenancy: Tenancy, name: str) -> Tenant:
    return await tenancy.suspend_tenant(name)


async def activate(_world: Site, tenancy: Tenancy, name: str) -> Tenant:
    return await tenancy.activate_tenant(name)


async def update(world: Site, tenancy: Tenancy, name: str) -> Tenant:
    return await tenancy.update_tenant(name, settings={"plan": world.rng.randrange(1000)})


async def rename(world: Site, tenancy: Tenancy, name: str) -> Tenant:
    return await tenancy.update_tenant(name, identifier=world.rng.choice(NAMES))


async def delete(world: Site, tenancy: Tenancy, name: str) -> str:
    tenant = await tenancy.get_tenant(name)
    await tenancy.delete_tenant(tenant, drop_data=world.rng.random() < 0.7)
    return tenant.id


async def create_token(world: Site, tenancy: Tenancy, name: str) -> str:
    owner = await tenancy.get_tenant(name)
    issued = await tenancy.tokens.create(name, name="simulated", opaque=True)
    world.tokens.append((issued.token, issued.token_id, owner.id))
    return issued.token_id


async def revoke_token(world: Site, tenancy: Tenancy, _name: str) -> str | None:
    if not world.tokens:
        return None
    _, token_id, tenant_id = world.rng.choice(world.tokens)
    owner = world.database.rows._tenants.get(tenant_id)
    if owner is None:
        return None
    await tenancy.tokens.revoke(owner.identifier, token_id)
    return token_id


async def add_domain(world: Site, tenancy: Tenancy, name: str) -> str:
    host = f"{name if world.rng.random() < 0.8 else world.rng.choice(NAMES)}.example"
    await tenancy.domains.add(name, host)
    await tenancy.domains.verify(name, host)
    return host


async def remove_domain(world: Site, tenancy: Tenancy, name: str) -> str:
    host = f"{name if world.rng.random() < 0.8 else world.rng.choice(NAMES)}.example"
    await tenancy.domains.remove(name, host)
    return host


ACTS = (
    *(create,) * 5,
    *(suspend,) * 3,
    *(activate,) * 4,
    *(update,) * 3,
    *(rename,) * 3,
    *(delete,) * 2,
    *(create_token,) * 2,
    revoke_token,
    *(add_domain,) * 2,
    *(remove_domain,) * 2,
)
