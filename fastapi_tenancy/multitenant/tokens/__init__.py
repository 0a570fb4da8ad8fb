"""The tenants' own bearer tokens: made, listed, verified and revoked."""

from .issue import IssuedToken, TokenPage
from .manager import MultitenantTokenManager

__all__ = ["IssuedToken", "MultitenantTokenManager", "TokenPage"]
