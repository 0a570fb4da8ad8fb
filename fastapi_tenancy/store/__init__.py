"""Where the list of tenants is kept."""

from .base import RetainedNamespace, TenantStore
from .domain import Domain, DomainStatus, DomainStore
from .in_memory import InMemoryTenantStore
from .sqlalchemy import SQLAlchemyTenantStore
from .token import TokenRecord, TokenStore

__all__ = [
    "Domain",
    "DomainStatus",
    "DomainStore",
    "InMemoryTenantStore",
    "RetainedNamespace",
    "SQLAlchemyTenantStore",
    "TenantStore",
    "TokenRecord",
    "TokenStore",
]
