"""Read the tenant from the path, and route the rest of it."""

import re
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote

from starlette.types import Scope

from ..errors import ConfigurationError, InvalidIdentifierError
from .base import is_under, path_below_root, server_of

_PREFIX = re.compile(r"(?:/[A-Za-z0-9._~-]+)+")


@dataclass(frozen=True, slots=True)
class PathResolver:
    """The tenant is `acme` in `/t/acme/notes`, where `prefix` is `/t`.

    What is read moves into the scope's `root_path`, as if a proxy had stripped it: the application's routes are written
    without it, and `url_for` keeps it.

    Raises:
        ConfigurationError: `prefix` does not begin with a slash, ends in one, or is empty.
    """

    prefix: str = "/t"

    def __post_init__(self) -> None:
        if not _PREFIX.fullmatch(self.prefix):
            raise ConfigurationError(f"{self.prefix!r} cannot be a path prefix; begin it with a slash, like '/t'")

    def __call__(self, scope: Scope) -> str | None:
        path = path_below_root(scope)
        start = f"{self.prefix}/"
        if not path.startswith(start):
            return None
        if "/." in path and not {".", ".."}.isdisjoint(path.split("/")):
            raise InvalidIdentifierError("the path has dot segments, which a proxy may have followed; send none")
        identifier = path[len(start) :].partition("/")[0]
        raw: bytes = scope.get("raw_path") or b""
        if b"%" in raw and not _has_plain(start + identifier, raw.decode("latin-1"), path):
            raise InvalidIdentifierError("the tenant in the path is percent-encoded; send it as it is")
        return identifier

    def enter(self, scope: Scope, identifier: str) -> Scope:
        path, start = path_below_root(scope), f"{self.prefix}/{identifier}"
        if not is_under(path, start):
            return scope
        root = scope.get("root_path", "")
        return {**scope, "path": f"{root}{path}", "root_path": f"{root}{start}"}

    def server(self) -> dict[str, Any]:
        return server_of(f"{self.prefix}/{{tenant}}")


def _has_plain(tenant: str, raw: str, path: str) -> bool:
    """Whether the part of `path` that is `tenant`, its beginning, came as it is; `raw` may have a root path before."""
    return any(
        raw[found.end() : found.end() + 1] in ("", "/") and unquote(raw[found.start() :]) == path
        for found in re.finditer(re.escape(tenant), raw)
    )
