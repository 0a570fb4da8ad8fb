"""Read a claim from the tokens of an identity provider, verified once and then remembered for a while."""

import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from inspect import isawaitable
from typing import Any

from ..errors import ConfigurationError, InvalidTokenError
from .keys import Algorithms, VerifyingKey, getting_a_key, header_of
from .recent import Recent
from .shape import digest_of

LEEWAY = 5.0  # seconds by which the provider's clock may differ from ours
_REMEMBERED = 10_000  # tokens
_FAR = 1e15  # seconds; no moment is beyond


@dataclass(frozen=True, slots=True, eq=False)
class ForeignTokens:
    """JSON Web Tokens that somebody else signs.

    Attributes:
        claim: whose value is read.
        key: verifies them; or is called with a token's header and gives its key, or something to be awaited for it.
        algorithms: exactly one, for a key; where the header decides, at most one for each kind of key.
        audience: which has to be in `aud`; None refuses tokens that are made for somebody in particular.
        issuer: which has to be `iss`, if it is given.
        ttl: seconds for which a verified token is believed without another look, at most.
        now: seconds since 1970.

    Raises:
        ConfigurationError: the key does not fit the algorithms, or either cannot be used.
    """

    claim: str
    key: object = field(repr=False)
    algorithms: Sequence[str]
    audience: str | None = None
    issuer: str | None = None
    ttl: float = 60.0
    now: Callable[[], float] = field(default=time.time, repr=False)
    _algorithms: Algorithms = field(init=False, repr=False)
    _only: VerifyingKey | None = field(init=False, repr=False)
    _known: Recent[bytes, tuple[str | None, float]] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        algorithms = Algorithms(self.algorithms)
        if not callable(self.key) and len(algorithms.names) != 1:
            raise ConfigurationError(f"algorithms={list(algorithms.names)} for one key; give the one that it is for")
        object.__setattr__(self, "_algorithms", algorithms)
        object.__setattr__(self, "_only", None if callable(self.key) else algorithms.key(self.key))
        object.__setattr__(self, "_known", Recent(_REMEMBERED))

    def read(self, token: str) -> str | Awaitable[str | None] | None:
        """The claim, None where the token has none; awaitable where its key has to be waited for.

        Raises:
            InvalidTokenError: the token is not the provider's, not for us, or not valid now; or its claim is no text.
            TenantUnavailableError: the key cannot be fetched.
        """
        digest = digest_of(token)
        known = self._known.get(digest)
        if known is not None and self.now() < known[1]:
            return known[0]
        header = header_of(token)
        if self._only is not None:
            return self._verified(token, digest, self._only)
        return self._by_header(token, digest, header)

    def _by_header(self, token: str, digest: bytes, header: Mapping[str, Any]) -> str | Awaitable[str | None] | None:
        with getting_a_key():
            given = self.key(header)  # type: ignore[operator]  # callable, since there is no only key
        if isawaitable(given):
            return self._later(token, digest, given)
        return self._verified_by(given, token, digest)

    async def _later(self, token: str, digest: bytes, given: Awaitable[object]) -> str | None:
        with getting_a_key():
            key = await given
        return self._verified_by(key, token, digest)

    def _verified_by(self, given: object, token: str, digest: bytes) -> str | None:
        with getting_a_key():  # a key set may hold some that are for something else
            key = self._algorithms.key(given)
        return self._verified(token, digest, key)

    def _verified(self, token: str, digest: bytes, key: VerifyingKey) -> str | None:
        claims = key.claims(token, audience=self.audience, issuer=self.issuer)
        now = self.now()
        end = _end(claims, now)
        named = claims.get(self.claim)
        if self.claim in claims and not isinstance(named, str):
            raise InvalidTokenError(f"the token's claim {self.claim!r} is no text")
        self._known.put(digest, (named, min(end, now + self.ttl)))
        return named


def _end(claims: Mapping[str, Any], now: float) -> float:
    """When the token ends, in seconds since 1970.

    Raises:
        InvalidTokenError: it has no end, has ended, or has not begun.
    """
    end = _moment(claims.get("exp")) + LEEWAY
    if not _moment(claims.get("nbf", 0)) - LEEWAY <= now < end:
        raise InvalidTokenError("the token has expired, or is not valid yet")
    return end


def _moment(value: object) -> float:
    if not isinstance(value, int | float) or isinstance(value, bool) or not abs(value) < _FAR:
        raise InvalidTokenError("the token's exp is missing, or its exp or nbf is no moment")
    return float(value)
