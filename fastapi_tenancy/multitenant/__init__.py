"""Managers of tenants' data, and the provider that picks one."""

from .ask import ask_router
from .base import BaseMultitenantManager
from .cache import ProfileCache
from .domain_check import AnyChecker, DNSChecker, DomainChecker
from .http_check import HTTPChecker
from .isolation import TenantScoped
from .manager_provider import MultitenantManagerProvider
from .profile import Place, Profile, RootProfile
from .route_manager import MultitenantRouteManager
from .seeds import SeedFunction, Seeds
from .tokens import DEFAULT_IMPERSONATION, IssuedToken, MultitenantTokenManager, TokenPage

__all__ = [
    "DEFAULT_IMPERSONATION",
    "AnyChecker",
    "BaseMultitenantManager",
    "DNSChecker",
    "DomainChecker",
    "HTTPChecker",
    "IssuedToken",
    "MultitenantManagerProvider",
    "MultitenantRouteManager",
    "MultitenantTokenManager",
    "Place",
    "Profile",
    "ProfileCache",
    "RootProfile",
    "SeedFunction",
    "Seeds",
    "TenantScoped",
    "TokenPage",
    "ask_router",
]
