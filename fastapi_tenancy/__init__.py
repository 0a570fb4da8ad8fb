"""Multi-tenancy for FastAPI and Starlette: one middleware, one dependency, and nobody sees another tenant's data."""

from .context import current_tenant, tenant_scope
from .dependencies import CurrentProfile, CurrentTenant, OptionalTenant, TenantSession, TenantTransaction
from .errors import (
    ConfigurationError,
    InvalidIdentifierError,
    InvalidTenantError,
    InvalidTokenError,
    IsolationError,
    NamespaceExistsError,
    NamespaceMissingError,
    RequestError,
    StoreUnavailableError,
    TenancyError,
    TenantConflictError,
    TenantExistsError,
    TenantKeyMissingError,
    TenantNotFoundError,
    TenantNotSpecifiedError,
    TenantSuspendedError,
    TenantUnavailableError,
)
from .middleware import TenancyMiddleware
from .multitenant import MultitenantManagerProvider, Profile, TenantScoped
from .resolvers import HeaderResolver, PathResolver, SubdomainResolver
from .settings import TenancySettings
from .store import InMemoryTenantStore, RetainedNamespace, SQLAlchemyTenantStore, TenantStore
from .tenancy import Tenancy, TenantPage
from .tenant import Tenant, TenantStatus

__all__ = [
    "ConfigurationError",
    "CurrentProfile",
    "CurrentTenant",
    "HeaderResolver",
    "InMemoryTenantStore",
    "InvalidIdentifierError",
    "InvalidTenantError",
    "InvalidTokenError",
    "IsolationError",
    "MultitenantManagerProvider",
    "NamespaceExistsError",
    "NamespaceMissingError",
    "OptionalTenant",
    "PathResolver",
    "Profile",
    "RequestError",
    "RetainedNamespace",
    "SQLAlchemyTenantStore",
    "StoreUnavailableError",
    "SubdomainResolver",
    "Tenancy",
    "TenancyError",
    "TenancyMiddleware",
    "TenancySettings",
    "Tenant",
    "TenantConflictError",
    "TenantExistsError",
    "TenantKeyMissingError",
    "TenantNotFoundError",
    "TenantNotSpecifiedError",
    "TenantPage",
    "TenantScoped",
    "TenantSession",
    "TenantStatus",
    "TenantStore",
    "TenantSuspendedError",
    "TenantTransaction",
    "TenantUnavailableError",
    "current_tenant",
    "tenant_scope",
]
