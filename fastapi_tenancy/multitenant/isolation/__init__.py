"""How tenants who share a database are kept apart in it."""

from .row import RowIsolation, stamped_sessionmaker
from .scoped import TenantScoped, check_metadata, tenant_columns

__all__ = ["RowIsolation", "TenantScoped", "check_metadata", "stamped_sessionmaker", "tenant_columns"]
