"""The tenant in a message: put in where a job is sent, and taken out where it runs."""

from collections.abc import AsyncIterator, Mapping, MutableMapping
from contextlib import asynccontextmanager
from dataclasses import dataclass

from ..audit import acting_as, current_actor
from ..context import current_tenant, tenant_scope
from ..directory import require_active
from ..errors import TenantNotFoundError, TenantNotSpecifiedError
from ..multitenant import Profile
from ..multitenant.keys import GivenKey
from ..tenancy import Tenancy

TENANT, ACTOR = "tenancy-tenant", "tenancy-actor"


@dataclass(frozen=True, slots=True)
class CarriedTenant:
    """What a message says.

    Attributes:
        tenant_id: the tenant's id, which stays the same when it is renamed.
        actor: who sent the message, as `acting_as` has it; None for nobody.
    """

    tenant_id: str
    actor: str | None


def inject(carrier: MutableMapping[str, str] | None = None) -> MutableMapping[str, str]:
    """Put the current tenant and actor into `carrier`, headers or labels of a message, and return it.

    Raises:
        TenantNotSpecifiedError: there is no current tenant.
    """
    carrier = {} if carrier is None else carrier
    carrier[TENANT] = current_tenant().id
    actor = current_actor()
    if actor is not None:
        carrier[ACTOR] = actor
    return carrier


def extract(carrier: Mapping[str, str]) -> CarriedTenant:
    """What `inject` put in.

    Raises:
        TenantNotSpecifiedError: nothing.
    """
    if not carrier.get(TENANT):
        raise TenantNotSpecifiedError(
            f"the job carries no {TENANT!r}; send it while a tenant is current, with what inject() gives"
        )
    return CarriedTenant(carrier[TENANT], carrier.get(ACTOR))


@asynccontextmanager
async def resume(
    tenancy: Tenancy, carrier: Mapping[str, str], *, key: GivenKey | None = None
) -> AsyncIterator[Profile]:
    """Be the tenant of a message for the length of a block, as `Tenancy.use` is; and the actor, if it names one.

    Raises:
        TenantNotSpecifiedError: the message carries none.
        TenantNotFoundError: it was deleted meanwhile.
        TenantSuspendedError: it is suspended.
        TenantUnavailableError: it cannot be served right now.
        TenantKeyMissingError: its key is not stored, and `key` is None or, as `WrongTenantKeyError`, another one.
    """
    carried = extract(carrier)
    tenant = await tenancy.directory.find_by_id(carried.tenant_id)
    if tenant is None:
        raise TenantNotFoundError(f"the job's tenant {carried.tenant_id} is gone; the job cannot be done any more")
    require_active(tenant)
    async with tenancy.lease(tenant, key) as profile:
        with tenant_scope(tenant), acting_as(carried.actor):
            yield profile
