"""Tenants without their place, and what was kept of tenants that are gone."""

from collections.abc import AsyncIterator

from ....tenant import Tenant
from ..deployment import Deployment
from ..finding import Found, error, info
from ..sights import Sight

_FORGET = "DELETE FROM tenancy_tenants WHERE id = '{}'"


async def placement(deployment: Deployment) -> AsyncIterator[Found]:
    for tenant, failure in (await deployment.places()).lost:
        yield error(
            str(failure),
            "restore the settings under which it was created (TENANCY_MANAGER_TYPE, TENANCY_DATABASE_URL), or see it "
            f"with: fastapi-tenancy tenants show {tenant.identifier}",
            tenant.identifier,
        )


async def missing_namespaces(deployment: Deployment) -> AsyncIterator[Found]:
    faulty = [sight for sight in (await deployment.sights()).found if _is_wrong(sight)]
    now = (await deployment.fresh_records()).by_id if faulty else {}
    for sight in faulty:
        tenant = now.get(sight.place.tenant.id)
        # Else it was deleted, or taken elsewhere, while we looked.
        if tenant is not None and tenant.is_settled and tenant.namespace == sight.place.tenant.namespace:
            yield _missing(sight, tenant)


async def retained_namespaces(deployment: Deployment) -> AsyncIterator[Found]:
    for tenant_id, identifier, namespace in (await deployment.records()).retained:
        yield info(
            f"the data of the former tenant {identifier!r} is kept as {namespace!r}",
            f"where nobody needs it any more, drop it, and then: {_FORGET.format(tenant_id)}",
        )


def _is_wrong(sight: Sight) -> bool:
    tenant = sight.place.tenant
    return tenant.is_settled and (not sight.exists or (sight.is_owner_known and sight.owner != tenant.id))


def _missing(sight: Sight, tenant: Tenant) -> Found:
    kind, name = sight.place.kind, sight.place.name
    delete = f"fastapi-tenancy tenants delete {tenant.identifier} --yes"
    if sight.exists:
        what = f"the {kind} {name} belongs to {sight.owner or 'nobody'} and not to {tenant.id}"
        return error(what, f"put the tenant's own in its place; where there is none: {delete}", tenant.identifier)
    what = f"the {kind} {name} is not there"
    return error(what, f"restore it from a backup; where there is none: {delete} --drop-data", tenant.identifier)
