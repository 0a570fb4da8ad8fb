"""Ways to read from a request which tenant it is for."""

from .base import Resolver
from .chain import ResolverChain
from .header import HeaderResolver
from .host import HostResolver
from .path import PathResolver
from .subdomain import SubdomainResolver

__all__ = ["HeaderResolver", "HostResolver", "PathResolver", "Resolver", "ResolverChain", "SubdomainResolver"]
