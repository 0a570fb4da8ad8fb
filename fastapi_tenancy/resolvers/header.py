"""Read the tenant from a request header."""

import re
from dataclasses import dataclass, field

from starlette.types import Scope

from ..errors import ConfigurationError
from .base import single_header

_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")  # RFC 9110, section 5.6.2


@dataclass(frozen=True, slots=True)
class HeaderResolver:
    """The tenant is the whole value of `header`.

    Raises:
        ConfigurationError: `header` cannot be a header's name.
    """

    header: str = "X-Tenant-ID"
    _name: bytes = field(init=False, repr=False)

    def __post_init__(self) -> None:
        if not _TOKEN.fullmatch(self.header):
            raise ConfigurationError(f"{self.header!r} cannot be a header's name; use one like 'X-Tenant-ID'")
        object.__setattr__(self, "_name", self.header.lower().encode())

    def __call__(self, scope: Scope) -> str | None:
        return single_header(scope, self._name)

    def security_scheme(self) -> dict[str, str]:
        return {"type": "apiKey", "in": "header", "name": self.header, "description": "The tenant's identifier."}
