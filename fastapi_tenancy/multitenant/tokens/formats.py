"""The two forms of a token: signed, a JSON Web Token; and opaque, a random text. Both hold their record's id."""

import re
import secrets
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from pydantic import SecretStr

from ...bearer import header_of, signing_key
from ...errors import InvalidTokenError
from ...store.token import is_token_id

# The prefix is for programs that look for leaked secrets.
_OPAQUE = re.compile(r"ft_([0-9a-f]{32})_[A-Za-z0-9_-]{43}")
_SECRET_BYTES = 32  # 43 characters

_MOMENT_DIGITS = 12  # of milliseconds since 1970, in hexadecimal: until the year 10889
_RANDOM_BYTES = 10


def new_token_id(now: datetime) -> str:
    """An id that is greater than those of earlier milliseconds, so that lists are in the order of creation."""
    return f"{int(now.timestamp() * 1000):0{_MOMENT_DIGITS}x}{secrets.token_hex(_RANDOM_BYTES)}"


class TokenFormats:
    """Makes tokens, and reads which record one claims to belong to.

    Args:
        token_secrets: the first signs, all verify.

    Raises:
        ConfigurationError: one of them cannot be used, or PyJWT is not installed.
    """

    def __init__(self, token_secrets: Sequence[SecretStr]) -> None:
        keys = [signing_key(secret.get_secret_value()) for secret in token_secrets]
        self._newest = keys[0] if keys else None
        self._keys = {key.kid: key.public for key in keys}

    def opaque(self, token_id: str) -> str:
        return f"ft_{token_id}_{secrets.token_urlsafe(_SECRET_BYTES)}"

    def signed(
        self, token_id: str, tenant_id: str, scopes: frozenset[str], created_at: datetime, expires_at: datetime | None
    ) -> str:
        """A token signed by the newest secret, or an opaque one where there is none."""
        if self._newest is None:
            return self.opaque(token_id)
        claims: dict[str, Any] = {"jti": token_id, "sub": tenant_id, "iat": int(created_at.timestamp())}
        if scopes:
            claims["scope"] = " ".join(sorted(scopes))  # RFC 9068, section 2.2.3
        if expires_at is not None:
            claims["exp"] = int(expires_at.timestamp())
        return self._newest.sign(claims)

    def token_id(self, token: str) -> str:
        """The id of the record that has to bear the token's digest.

        Raises:
            InvalidTokenError: it is no token of ours; a signed one has a signature of none of our secrets.
        """
        opaque = _OPAQUE.fullmatch(token)
        return opaque[1] if opaque else self._signed_id(token)

    def _signed_id(self, token: str) -> str:
        if not self._keys:
            raise InvalidTokenError("the token is no token of this deployment, which signs none")
        key = self._keys.get(header_of(token).get("kid", ""))
        if key is None:
            raise InvalidTokenError("the token is signed by no secret in token_secrets")
        token_id: str = key.claims(token).get("jti", "")
        if not is_token_id(token_id):
            raise InvalidTokenError("the token is signed by one of token_secrets, and was not made by tenancy.tokens")
        return token_id
