"""What was begun and not ended: creations, deletions, leases, moves, tenants made ahead."""

from collections.abc import AsyncIterator, Iterator, Mapping
from datetime import datetime, timedelta
from typing import Any

from ....lifecycle import PROVISIONING_LEASE
from ....store.models import aware
from ....tenant import Tenant, TenantStatus
from ..deployment import Deployment
from ..finding import Found, info, warning
from ..records import Records

# A deletion has no lease: after so long it is not at work any more.
_DELETION = timedelta(minutes=5)

_MOVE = timedelta(minutes=1)  # since a move was heard of; its lease is 15 s long
_UNCONFIRMED = timedelta(days=3)

# In this phase a move is over, but that the source is kept.
_MOVED = "moved"


async def unfinished_work(deployment: Deployment) -> AsyncIterator[Found]:
    records, now = await deployment.records(), deployment.now()
    for found in (*_tenants(records, now), *_moves(records, now), *_pending(records, now)):
        yield found


def _tenants(records: Records, now: datetime) -> Iterator[Found]:
    for tenant in records.tenants:
        yield from _life(tenant, now - tenant.updated_at)
        # What is left of a move without a record of it is a lease that anybody may take.
        if tenant.work == "migration" and tenant.work_until is not None and tenant.work_until < now:
            yield warning(
                f"a migration of this tenant was cut short: its lease ended {_ago(now - tenant.work_until)} ago",
                f"fastapi-tenancy migrate --tenant {tenant.identifier}",
                tenant.identifier,
            )


def _life(tenant: Tenant, age: timedelta) -> Iterator[Found]:
    name = tenant.identifier
    if tenant.status is TenantStatus.PROVISIONING and age > PROVISIONING_LEASE:
        yield warning(
            f"its creation was cut short {_ago(age)} ago",
            f"fastapi-tenancy tenants create {name}, which takes over; or: "
            f"fastapi-tenancy tenants delete {name} --drop-data --yes",
            name,
        )
    if tenant.status is TenantStatus.DELETING and age > _DELETION:
        yield warning(
            f"its deletion was begun {_ago(age)} ago, and has not ended",
            f"fastapi-tenancy tenants delete {name} --yes, with --drop-data if its data are to go",
            name,
        )


def _moves(records: Records, now: datetime) -> Iterator[Found]:
    for row in records.moves:
        name, age = records.name_of(row["tenant_id"]), now - aware(row["updated_at"])
        if row["phase"] == _MOVED:
            if age > _UNCONFIRMED:
                yield info(
                    f"it was moved {_ago(age)} ago, and its source is still kept as {row['namespace']!r}",
                    f"fastapi-tenancy move {name} --confirm",
                    name,
                )
        elif age > _MOVE and not _is_leased(records, row, now):
            yield warning(
                f"a move was cut short {_ago(age)} ago, in the phase {row['phase']!r}",
                f"fastapi-tenancy move {name} --to {row['manager_type'] or 'basic'}, which goes on; or: "
                f"fastapi-tenancy move {name} --abort",
                name,
            )


def _pending(records: Records, now: datetime) -> Iterator[Found]:
    dead = [row for row in records.pending if not row["is_ready"] and now - aware(row["updated_at"]) > _MOVE]
    if dead:
        ready = sum(bool(row["is_ready"]) for row in records.pending)
        yield warning(
            f"{len(dead)} tenants that were being made ahead were left behind",
            f"fastapi-tenancy pool fill {ready}, which drops them",
        )


def _is_leased(records: Records, row: Mapping[str, Any], now: datetime) -> bool:
    tenant = records.by_id.get(row["tenant_id"])
    return tenant is not None and tenant.work_until is not None and tenant.work_until > now


def _ago(age: timedelta) -> str:
    for unit, seconds in (("days", 86400), ("hours", 3600), ("minutes", 60)):
        if age.total_seconds() >= 2 * seconds:
            return f"{age.total_seconds() // seconds:.0f} {unit}"
    return f"{age.total_seconds():.0f} s"
