"""Read the tenant from a bearer token."""

import re
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from typing import NoReturn, Protocol

from starlette.types import Scope

from ..bearer import ForeignTokens
from ..errors import ConfigurationError, InvalidTokenError
from ..settings import TenancySettings
from ..tenant import Tenant
from .base import Named, single_header

Found = Named | Awaitable[Named | None] | None

# RFC 9110, section 11.4: a scheme in any letter case, which ends where no character of a name follows, and spaces.
_SCHEME = re.compile(r"bearer(?![!#$%&'*+.^_`|~0-9A-Za-z-])( +)?", re.IGNORECASE)


class Tokens(Protocol):
    """What a token is asked of."""

    def tenant_of(self, token: str) -> Tenant | Awaitable[Tenant]: ...


class HasTokens(Protocol):
    """What a `TokenResolver` needs of a `Tenancy`."""

    @property
    def tokens(self) -> Tokens: ...

    @property
    def settings(self) -> TenancySettings: ...


def bearer_token(scope: Scope) -> str | None:
    """What stands after `Bearer`; None where there is no such header, or one of another scheme.

    Raises:
        InvalidTokenError: no space stands there.
        InvalidIdentifierError: there are several such headers.
    """
    value = single_header(scope, b"authorization")
    if value is None:
        return None
    if value.startswith("Bearer ") and value[7:8] != " ":  # as nearly all are
        return value[7:]
    scheme = _SCHEME.match(value)
    if scheme is None:
        return None
    if scheme[1] is None:
        raise InvalidTokenError("the Authorization header has no token; send: Bearer, a space, and the token")
    return value[scheme.end() :]


def _unbound(_: str) -> NoReturn:
    raise ConfigurationError("this TokenResolver knows no tokens; give it to Tenancy(resolvers=[TokenResolver()])")


class TokenResolver:
    """The tenant is the one whose token is in `Authorization: Bearer …`; a token that is not valid is a 401.

    Without arguments these are the tokens of `tenancy.tokens`. With `claim` they are JSON Web Tokens of an identity
    provider, of which a claim is the tenant's identifier; a valid token without the claim names no tenant. They need an
    `exp`, which may be 5 seconds past, and are believed for at most `cache_ttl` without another look.

    Args:
        claim: the name of a claim at the top of the token.
        key: what verifies it: a public key (PEM, `jwt.PyJWK` or an object of cryptography), a secret of as many bytes
            as its algorithm's hash, or a callable from a token's header to one of these, sync or async. Where that
            raises a `LookupError` the token is refused; where it raises an `OSError` the answer is a 503.
        algorithms: the one that the key is for; for a callable, at most one for each kind of key, such as
            `["RS256", "ES256"]`.
        audience: has to be in the token's `aud`; None refuses every token that has an `aud`.
        issuer: has to be the token's `iss`; None does not look at it.

    Raises:
        ConfigurationError: the key does not fit the algorithm, is weak or unreadable, or PyJWT is not installed.
    """

    __slots__ = ("_find", "_foreign")

    def __init__(
        self,
        *,
        claim: str | None = None,
        key: object = None,
        algorithms: Sequence[str] = (),
        audience: str | None = None,
        issuer: str | None = None,
    ) -> None:
        self._find: Callable[[str], Found] = _unbound
        self._foreign: ForeignTokens | None = None
        if claim is not None:
            self._foreign = ForeignTokens(claim, key, algorithms, audience, issuer)
            self._find = self._foreign.read
        elif (key, audience, issuer) != (None, None, None) or algorithms:
            raise ConfigurationError("key, algorithms, audience and issuer are for others' tokens; give claim=…, too")

    def bound_to(self, tenancy: HasTokens) -> "TokenResolver":
        """This resolver with the tokens that it asks; `Tenancy` binds those that it is given."""
        bound = TokenResolver()
        if self._foreign is None:
            bound._find = tenancy.tokens.tenant_of
        else:
            bound._foreign = replace(self._foreign, ttl=tenancy.settings.cache_ttl)
            bound._find = bound._foreign.read
        return bound

    def __call__(self, scope: Scope) -> Found:
        token = bearer_token(scope)
        return None if token is None else self._find(token)

    def security_scheme(self) -> dict[str, str]:
        scheme = {"type": "http", "scheme": "bearer", "description": "A token of the tenant."}
        return scheme if self._foreign is None else {**scheme, "bearerFormat": "JWT"}
