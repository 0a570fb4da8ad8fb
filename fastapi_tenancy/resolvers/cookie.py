"""Read the tenant from a cookie."""

import re
from dataclasses import dataclass, field

from starlette.types import Scope

from ..errors import ConfigurationError, InvalidIdentifierError

# Of RFC 9110's tokens those that no server changes or, like "$Version", takes for something else.
_NAME = re.compile(r"[A-Za-z0-9._-]+")

# A quoted value that its own pair does not close: who honours quotes (RFC 2109) reads on over the semicolon.
_RUNS_ON = re.compile(r'(?:^|;)(?:[^=;"]*=)?\s*"(?!(?:[^"\\;]|\\[^;])*"\s*(?:;|\Z))')


@dataclass(frozen=True, slots=True)
class CookieResolver:
    """The tenant is the whole value of the cookie `name`.

    A browser sends cookies by itself, with links and forms of other sites too: see "By a cookie" in the documentation.
    Cookies in which another program may read another tenant are refused: the name twice, also in two header lines,
    behind a comma or a space, without a value, or in quotes that are left open.

    Raises:
        ConfigurationError: `name` is not made of letters, digits, `.`, `_` and `-`.
    """

    name: str = "tenant"
    _exact: re.Pattern[str] = field(init=False, repr=False)
    _loose: re.Pattern[str] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.name):
            raise ConfigurationError(f"{self.name!r} cannot be a cookie's name; use one like '__Host-tenant'")
        name = re.escape(self.name)
        object.__setattr__(self, "_exact", re.compile(rf"(?:^|;)[ \t]*{name}=([^;]*)"))
        # Wherever a pair begins for a parser that also splits at commas and white space, or needs no value.
        loose = rf"(?:^|[;,\s\0]){name}[\s\0]*=|(?:^|;)\s*{name}\s*(?=;|\Z)"
        object.__setattr__(self, "_loose", re.compile(loose))

    def __call__(self, scope: Scope) -> str | None:
        # RFC 9113, section 8.2.3: HTTP/2 may send each cookie in a line of its own.
        cookies = "; ".join(value.decode("latin-1") for key, value in scope["headers"] if key == b"cookie")
        if self.name not in cookies:
            return None
        mentions = len(self._loose.findall(cookies))
        if mentions == 0:
            return None
        values: list[str] = self._exact.findall(cookies)
        if mentions > 1 or len(values) != 1 or _RUNS_ON.search(cookies):
            raise InvalidIdentifierError(f"the cookie {self.name!r} can be read in several ways; send it once, plainly")
        return values[0]

    def security_scheme(self) -> dict[str, str]:
        return {"type": "apiKey", "in": "cookie", "name": self.name, "description": "The tenant's identifier."}
