"""Bearer tokens without their tenants: their shape, the keys of signed ones, and those of identity providers."""

from .foreign import ForeignTokens
from .keys import header_of, signing_key
from .recent import Recent
from .shape import digest_of

__all__ = [
    "ForeignTokens",
    "Recent",
    "digest_of",
    "header_of",
    "signing_key",
]
