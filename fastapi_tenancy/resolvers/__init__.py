"""Ways to read from a request which tenant it is for."""

from .base import Resolver
from .chain import ResolverChain
from .cookie import CookieResolver
from .header import HeaderResolver
from .host import HostResolver
from .path import PathResolver
from .query import QueryResolver
from .subdomain import SubdomainResolver
from .token import TokenResolver

__all__ = [
    "CookieResolver",
    "HeaderResolver",
    "HostResolver",
    "PathResolver",
    "QueryResolver",
    "Resolver",
    "ResolverChain",
    "SubdomainResolver",
    "TokenResolver",
]
