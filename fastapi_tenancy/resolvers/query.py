"""Read the tenant from a parameter of the query string."""

import re
from dataclasses import dataclass, field
from urllib.parse import unquote_plus

from starlette.types import Scope

from ..errors import ConfigurationError, InvalidIdentifierError

# What nobody percent-encodes: neither RFC 3986, section 2.3, nor <https://url.spec.whatwg.org/#urlencoded-serializing>.
_NAME = re.compile(r"[A-Za-z0-9._-]+")

_SEPARATOR = re.compile("[&;]")  # today's, and the one that HTML 4 recommended beside it


@dataclass(frozen=True, slots=True)
class QueryResolver:
    """The tenant is the value of the parameter `name`, as it stands in the URL.

    URLs end up in logs, in histories and in other sites' `Referer`: see "By a query parameter" in the documentation.
    A query in which another program may read another tenant is refused: the parameter twice, encoded, as `name[]`,
    without a value, or behind a semicolon.

    Raises:
        ConfigurationError: `name` is not made of letters, digits, `.`, `_` and `-`.
    """

    name: str = "tenant"
    _loose: re.Pattern[str] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.name):
            raise ConfigurationError(f"{self.name!r} cannot be a parameter's name; use one like 'tenant'")
        # Also for a parser that strips white space, ends a name at NUL, or takes name[] for a list.
        loose = re.compile(rf"[\s\0]*{re.escape(self.name)}\s*(?:[\0\[].*)?", re.DOTALL)
        object.__setattr__(self, "_loose", loose)

    def __call__(self, scope: Scope) -> str | None:
        query: str = scope.get("query_string", b"").decode("latin-1")
        if not query:
            return None
        mentions: list[str] = [pair for pair in _SEPARATOR.split(query) if self._is_named_in(pair)]
        if not mentions:
            return None
        start = f"{self.name}="
        if len(mentions) > 1 or mentions != [pair for pair in query.split("&") if pair.startswith(start)]:
            raise InvalidIdentifierError(
                f"the parameter {self.name!r} can be read in several ways; send it once, plainly"
            )
        return mentions[0].removeprefix(start)

    def _is_named_in(self, pair: str) -> bool:
        return self._loose.fullmatch(unquote_plus(pair.partition("=")[0])) is not None

    def security_scheme(self) -> dict[str, str]:
        return {"type": "apiKey", "in": "query", "name": self.name, "description": "The tenant's identifier."}
