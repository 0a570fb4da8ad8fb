"""Where the list of tenants is kept."""

from .audit import AuditStore
from .base import ProbedStore, Resealed, RetainedNamespace, SealingStore, TenantStore
from .changes import ChangeStore
from .domain import Domain, DomainStatus, DomainStore
from .fleet import FleetStore, MigrationRecord, Work
from .idempotency import IdempotencyStore, RequestRecord
from .in_memory import InMemoryTenantStore
from .moves import MoveRecord, MoveStore
from .pending import PendingStore, PendingTenant
from .sqlalchemy import SQLAlchemyTenantStore
from .token import TokenRecord, TokenStore

__all__ = [
    "AuditStore",
    "ChangeStore",
    "Domain",
    "DomainStatus",
    "DomainStore",
    "FleetStore",
    "IdempotencyStore",
    "InMemoryTenantStore",
    "MigrationRecord",
    "MoveRecord",
    "MoveStore",
    "PendingStore",
    "PendingTenant",
    "ProbedStore",
    "RequestRecord",
    "Resealed",
    "RetainedNamespace",
    "SQLAlchemyTenantStore",
    "SealingStore",
    "TenantStore",
    "TokenRecord",
    "TokenStore",
    "Work",
]
