"""What a resolver is: a callable from an ASGI scope to the identifier that the request names, or None."""

from collections.abc import Awaitable, Callable
from typing import Any

from starlette.types import Scope

from ..errors import InvalidIdentifierError
from ..tenant import Tenant

# An identifier, or the tenant itself where the resolver had to look it up in any case.
Named = str | Tenant

Resolver = Callable[[Scope], Named | Awaitable[Named | None] | None]


# A resolver that has a method `enter` of this kind takes what it read off the path: the application routes the scope
# that `enter` gives. It is asked about every tenant that is served, and gives the scope as it came where it has not
# read that one.
Enter = Callable[[Scope, str], Scope]


def single_header(scope: Scope, name: bytes) -> str | None:
    """The value of a header that may be there once.

    Raises:
        InvalidIdentifierError: it is there more often: who reads the first and who the last must never differ.
    """
    found: bytes | None = None
    for key, value in scope["headers"]:
        if key == name:
            if found is not None:
                raise InvalidIdentifierError(f"the request has several {name.decode()!r} headers; send one")
            found = value
    return None if found is None else found.decode("latin-1")


def is_under(path: str, prefix: str) -> bool:
    """Whether `path` is `prefix` or lies below it, segment by segment."""
    return path.startswith(prefix) and path[len(prefix) : len(prefix) + 1] in ("", "/")


def path_below_root(scope: Scope) -> str:
    """The path that the application routes: the scope's path without its `root_path`."""
    path: str = scope["path"]
    root: str = scope.get("root_path", "")
    return path[len(root) :] if root and is_under(path, root) else path


def server_of(url: str) -> dict[str, Any]:
    """An entry of an OpenAPI document's `servers`, with a field for the tenant."""
    variable = {"default": "your-tenant", "description": "The tenant's identifier."}
    return {"url": url, "description": "A tenant's address", "variables": {"tenant": variable}}
