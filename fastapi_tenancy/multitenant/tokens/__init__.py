"""The tenants' own bearer tokens: made, listed, verified and revoked."""

from .impersonation import DEFAULT_IMPERSONATION, MAX_IMPERSONATION, MAX_REASON, is_reason
from .issue import IssuedToken, TokenPage
from .manager import MultitenantTokenManager

__all__ = [
    "DEFAULT_IMPERSONATION",
    "MAX_IMPERSONATION",
    "MAX_REASON",
    "IssuedToken",
    "MultitenantTokenManager",
    "TokenPage",
    "is_reason",
]
