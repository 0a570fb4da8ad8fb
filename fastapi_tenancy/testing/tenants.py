"""Records of tenants that no store has seen."""

from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

from ..tenant import Tenant, TenantStatus

MOMENT = datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=UTC)


def tenant_named(identifier: str = "acme", **given: Any) -> Tenant:
    """A record of an active tenant, made without a store; `given` are further fields of `Tenant`."""
    values = {"id": uuid4().hex, "name": identifier, "status": TenantStatus.ACTIVE}
    return Tenant(**{"identifier": identifier, "created_at": MOMENT, "updated_at": MOMENT, **values, **given})
