"""Where the list of tenants is kept."""

from .audit import AuditStore
from .base import Resealed, RetainedNamespace, SealingStore, TenantStore
from .domain import Domain, DomainStatus, DomainStore
from .idempotency import IdempotencyStore, RequestRecord
from .in_memory import InMemoryTenantStore
from .sqlalchemy import SQLAlchemyTenantStore
from .token import TokenRecord, TokenStore

__all__ = [
    "AuditStore",
    "Domain",
    "DomainStatus",
    "DomainStore",
    "IdempotencyStore",
    "InMemoryTenantStore",
    "RequestRecord",
    "Resealed",
    "RetainedNamespace",
    "SQLAlchemyTenantStore",
    "SealingStore",
    "TenantStore",
    "TokenRecord",
    "TokenStore",
]
