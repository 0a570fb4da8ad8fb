"""Read the tenant from the path, and route the rest of it."""

import re
from dataclasses import dataclass

from starlette.types import Scope

from ..errors import ConfigurationError, InvalidIdentifierError
from .base import path_below_root

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
        identifier = path[len(start) :].partition("/")[0]
        raw: bytes = scope.get("raw_path") or b""
        if b"%" in raw and raw.partition(start.encode())[2].partition(b"/")[0] != identifier.encode():
            raise InvalidIdentifierError("the tenant in the path is percent-encoded; send it as it is")
        return identifier

    def enter(self, scope: Scope, identifier: str) -> Scope:
        return {**scope, "root_path": f"{scope.get('root_path', '')}{self.prefix}/{identifier}"}
