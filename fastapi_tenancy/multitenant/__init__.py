"""Managers of tenants' data, and the provider that picks one."""

from .base import BaseMultitenantManager
from .cache import ProfileCache
from .isolation import TenantScoped
from .manager_provider import MultitenantManagerProvider
from .profile import Profile, RootProfile

__all__ = [
    "BaseMultitenantManager",
    "MultitenantManagerProvider",
    "Profile",
    "ProfileCache",
    "RootProfile",
    "TenantScoped",
]
