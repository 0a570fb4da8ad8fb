"""How tenants who share a database are kept apart in it."""

from .base import Isolation
from .policies import row_security
from .rls import RLSIsolation
from .row import RowIsolation
from .schema import SchemaIsolation
from .scoped import TenantScoped, check_metadata, tenant_columns
from .sessions import stamped_sessionmaker

__all__ = [
    "Isolation",
    "RLSIsolation",
    "RowIsolation",
    "SchemaIsolation",
    "TenantScoped",
    "check_metadata",
    "row_security",
    "stamped_sessionmaker",
    "tenant_columns",
]
