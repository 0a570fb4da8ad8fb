"""The two forms of a token: signed, a JSON Web Token; and opaque, a random text. Both hold their record's id."""

import json
import re
import secrets
from base64 import urlsafe_b64decode
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from pydantic import SecretStr

from ...bearer import header_of, signing_key
from ...errors import InvalidTokenError
from ...store.token import is_token_id

# The prefix is for programs that look for leaked secrets.
_OPAQUE = re.compile(r"ft_([0-9a-f]{32})_[A-Za-z0-9_-]{43}(?:\.([A-Za-z0-9._-]+))?")  # a sealed key at the end
_ONCE = re.compile(r"ft_once_([0-9a-f]{32})_[A-Za-z0-9_-]{43}")  # no bearer token
_SECRET_BYTES = 32  # 43 characters

_MOMENT_DIGITS = 12  # of milliseconds since 1970, in hexadecimal: until the year 10889
_RANDOM_BYTES = 10


def new_token_id(now: datetime) -> str:
    """An id that is greater than those of earlier milliseconds, so that lists are in the order of creation."""
    return f"{int(now.timestamp() * 1000):0{_MOMENT_DIGITS}x}{secrets.token_hex(_RANDOM_BYTES)}"


def opaque_token(token_id: str, carried: str | None = None) -> str:
    end = "" if carried is None else f".{carried}"
    return f"ft_{token_id}_{secrets.token_urlsafe(_SECRET_BYTES)}{end}"


def carried_by(token: str) -> str | None:
    """The sealed key that a token carries which is known to be one of ours; None where it carries none."""
    opaque = _OPAQUE.fullmatch(token)
    if opaque is not None:
        return opaque[2]
    claims: dict[str, Any] = json.loads(urlsafe_b64decode(token.split(".")[1] + "=="))
    return claims.get("key")


def one_time_token(token_id: str) -> str:
    """A token that cannot be sent as one: it is redeemed first."""
    return f"ft_once_{token_id}_{secrets.token_urlsafe(_SECRET_BYTES)}"


def one_time_id(token: str) -> str:
    """The id of the record that has to bear the token's digest.

    Raises:
        InvalidTokenError: it is no token to be redeemed.
    """
    once = _ONCE.fullmatch(token)
    if once is None:
        raise InvalidTokenError("the token is none that is redeemed; tenancy.impersonate makes those")
    return once[1]


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

    def signed(
        self,
        token_id: str,
        tenant_id: str,
        scopes: frozenset[str],
        created_at: datetime,
        expires_at: datetime | None,
        carried: str | None = None,
    ) -> str:
        """A token signed by the newest secret, or an opaque one where there is none; with the tenant's sealed key."""
        if self._newest is None:
            return opaque_token(token_id, carried)
        claims: dict[str, Any] = {"jti": token_id, "sub": tenant_id, "iat": int(created_at.timestamp())}
        if scopes:
            claims["scope"] = " ".join(sorted(scopes))  # RFC 9068, section 2.2.3
        if expires_at is not None:
            claims["exp"] = int(expires_at.timestamp())
        if carried is not None:
            claims["key"] = carried
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
