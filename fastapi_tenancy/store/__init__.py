"""Where the list of tenants is kept."""

from .base import RetainedNamespace, TenantStore
from .in_memory import InMemoryTenantStore
from .sqlalchemy import SQLAlchemyTenantStore

__all__ = ["InMemoryTenantStore", "RetainedNamespace", "SQLAlchemyTenantStore", "TenantStore"]
