"""What is read from the record of a move."""

from dataclasses import replace

from ...errors import MoveError, TenantConflictError
from ...store import MoveRecord
from ...tenant import Tenant
from .report import Moved


def busy(tenant: Tenant) -> TenantConflictError:
    return TenantConflictError(f"{tenant.identifier!r} is being migrated or moved by somebody else; wait for that")


def placed(tenant: Tenant, record: MoveRecord) -> Tenant:
    """The tenant as it would be in the other place."""
    return replace(
        tenant, manager_type=record.manager_type, database_url=record.database_url, namespace=record.namespace
    )


def finished(tenant: Tenant, there: Tenant, record: MoveRecord) -> Moved:
    """What the call that moved it would have said, had it not been killed before it could."""
    if tenant.namespace != there.namespace:
        raise MoveError(
            f"{tenant.identifier!r} has left {record.namespace}, which is still kept; drop that first: confirm_move"
        )
    return reported(tenant, record)


def reported(tenant: Tenant, record: MoveRecord) -> Moved:
    rows = dict(record.details["rows"])
    return Moved(tenant, sum(rows.values()), rows, record.details["read_only_seconds"], record.namespace)
