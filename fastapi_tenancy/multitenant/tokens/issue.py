"""What a token can be made of, and what is given of it: once the token, later only its record."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from ...store import TokenRecord
from ...tenant import MAX_NAME

MAX_SCOPES = 32  # of a token, so that a signed one, which holds them, fits into the header that a proxy lets through
_SCOPE = re.compile(r"[!#-\[\]-~]{1,64}")  # RFC 6749, section 3.3; the length is ours, for the same reason
MAX_LIFE = 315_360_000  # seconds: ten years


@dataclass(frozen=True, slots=True)
class IssuedToken:
    """A new token, which can be read here and never again.

    Attributes:
        token_id: what `list` shows and `revoke` takes.
        token: what goes into the header `Authorization: Bearer …`.
    """

    token_id: str
    token: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class TokenPage:
    """Some tokens of a tenant in the order of their creation.

    Attributes:
        items: their records.
        next: what `after` takes to give the next page; None on the last.
    """

    items: Sequence[TokenRecord]
    next: str | None


def is_token_name(text: str) -> bool:
    return bool(text.strip()) and text.isprintable() and len(text) <= MAX_NAME


def is_scope(text: str) -> bool:
    return _SCOPE.fullmatch(text) is not None


def checked_scopes(name: str, scopes: Iterable[str], expires_in: float | None) -> frozenset[str]:
    """The scopes, if all that a token is made of can be."""
    if not is_token_name(name):
        raise ValueError(f"a token's name has 1 to {MAX_NAME} printable characters")
    if expires_in is not None and not 0 < expires_in <= MAX_LIFE:
        raise ValueError(f"expires_in is {expires_in}; give more than 0 and at most {MAX_LIFE} seconds")
    granted = frozenset((scopes,) if isinstance(scopes, str) else scopes)
    if len(granted) > MAX_SCOPES or not all(map(is_scope, granted)):
        raise ValueError(f"a token has at most {MAX_SCOPES} scopes, each of at most 64 characters and without spaces")
    return granted
