"""Managers of tenants' data, and the provider that picks one."""

from .ask import ask_router
from .base import BaseMultitenantManager
from .cache import ProfileCache
from .domain_check import DNSChecker, DomainChecker
from .isolation import TenantScoped
from .manager_provider import MultitenantManagerProvider
from .profile import Place, Profile, RootProfile
from .route_manager import MultitenantRouteManager

__all__ = [
    "BaseMultitenantManager",
    "DNSChecker",
    "DomainChecker",
    "MultitenantManagerProvider",
    "MultitenantRouteManager",
    "Place",
    "Profile",
    "ProfileCache",
    "RootProfile",
    "TenantScoped",
    "ask_router",
]
