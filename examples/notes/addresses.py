"""The addresses of a company: by its subdomain, by a path, or by a header."""

from dataclasses import dataclass

from starlette.datastructures import URL
from starlette.requests import Request

# Browsers and curl take every name below it for this machine (RFC 6761, section 6.3).
DOMAIN = "localhost"
HEADER = "X-Tenant-ID"
PREFIX = "/t"

RESERVED = frozenset({"www"})  # names the product itself, so no company can have it


@dataclass(frozen=True, slots=True)
class Addresses:
    """Where one company is found.

    Attributes:
        slug: the company's identifier.
        root: the address of the product itself, with its port and without a path.
    """

    slug: str
    root: URL

    @property
    def subdomain(self) -> str:
        return f"{self.root.replace(hostname=f'{self.slug}.{DOMAIN}')}/"

    @property
    def path(self) -> str:
        return f"{self.root}{PREFIX}/{self.slug}/"

    @property
    def curl(self) -> str:
        return f"curl -H '{HEADER}: {self.slug}' {self.root}/api/notes"


def product_url(request: Request) -> URL:
    """The product itself, without a slash at the end, on the port that the request came in by, whatever way it came."""
    return request.url.replace(hostname=DOMAIN, path="", query="", fragment="")


def addresses(request: Request, slug: str) -> Addresses:
    return Addresses(slug, product_url(request))


def way_of(request: Request) -> str:
    """Which of the three named the tenant of `request`, for people."""
    if HEADER in request.headers:
        return f"the {HEADER} header"
    return "the path" if f"{PREFIX}/" in request.scope.get("root_path", "") else "the subdomain"
