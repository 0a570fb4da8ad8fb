"""Keys of JSON Web Tokens, each with the one algorithm that it is for; the one module that needs PyJWT."""

import hmac
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any

from ..errors import ConfigurationError, InvalidTokenError, TenantUnavailableError

try:
    import jwt
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey
    from cryptography.hazmat.primitives.asymmetric.ed448 import Ed448PublicKey
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
    from cryptography.hazmat.primitives.serialization import (
        Encoding,
        PublicFormat,
        load_pem_private_key,
        load_pem_public_key,
    )
except ModuleNotFoundError:
    _INSTALLED = False
else:
    _INSTALLED = True

# The kind of key that an algorithm takes: RFC 7518, section 3.1; RFC 8037, section 3.1; RFC 8812, section 3.2.
_KINDS = {
    **dict.fromkeys(("HS256", "HS384", "HS512"), "secret"),
    **dict.fromkeys(("RS256", "RS384", "RS512", "PS256", "PS384", "PS512"), "RSA"),
    "ES256": "secp256r1",
    "ES256K": "secp256k1",
    "ES384": "secp384r1",
    "ES512": "secp521r1",
    "EdDSA": "Edwards",
}

_SIGNS = {"secret": "HS256", "RSA": "RS256", "secp256r1": "ES256", "Edwards": "EdDSA"}

_SECRET_BYTES = {"HS256": 32, "HS384": 48, "HS512": 64}  # as long as the hash: RFC 7518, section 3.2
_RSA_BITS = 2048  # RFC 7518, section 3.3

_COMPACT = re.compile(r"[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+")  # RFC 7515, section 3.1, and signed

# Times are compared with a clock that is given to us.
_UNTIMED: Any = {"verify_exp": False, "verify_nbf": False, "verify_iat": False}


@dataclass(frozen=True, slots=True)
class VerifyingKey:
    """A key and the only algorithm that it verifies."""

    algorithm: str
    key: Any = field(repr=False)

    def claims(self, token: str, *, audience: str | None = None, issuer: str | None = None) -> dict[str, Any]:
        """What a token says, if its signature, audience and issuer are right; its times are not looked at.

        Raises:
            InvalidTokenError: they are not.
        """
        try:
            return jwt.decode(token, self.key, [self.algorithm], _UNTIMED, audience=audience, issuer=issuer)
        except (jwt.PyJWTError, ValueError, RecursionError) as error:
            raise _refused(error) from None  # it may quote what was sent


@dataclass(frozen=True, slots=True)
class SigningKey:
    """A key of our own; `kid` names it in a token's header."""

    kid: str
    public: VerifyingKey
    _private: Any = field(repr=False)

    def sign(self, claims: dict[str, Any]) -> str:
        return jwt.encode(claims, self._private, self.public.algorithm, {"kid": self.kid})


class Algorithms:
    """The algorithms that are accepted: at most one for each kind of key, so that a token never chooses.

    Raises:
        ConfigurationError: there is none, one is unknown, two are for the same keys, or PyJWT is not installed.
    """

    def __init__(self, names: Iterable[str]) -> None:
        _require_jwt()
        self.names = (names,) if isinstance(names, str) else tuple(names)
        unknown = [name for name in self.names if name not in _KINDS]
        if unknown or not self.names:
            raise ConfigurationError(f"algorithms={unknown or []} cannot be used; give some of {', '.join(_KINDS)}")
        self._by_kind = {_KINDS[name]: name for name in self.names}
        if len(self._by_kind) < len(self.names):
            raise ConfigurationError(f"algorithms={list(self.names)} has two for the same keys; give one of them")

    def key(self, given: object) -> VerifyingKey:
        """`given` as the key of that one of the algorithms which is for it.

        Raises:
            ConfigurationError: none is, it is no public key and no secret, or too weak.
        """
        key = _public(given)
        algorithm = self._by_kind.get(_kind(key))
        if algorithm is None:
            raise ConfigurationError(f"this {type(given).__name__} is no public key or secret for {list(self.names)}")
        _check_strength(key, algorithm)
        return VerifyingKey(algorithm, key)


def signing_key(secret: str) -> SigningKey:
    """The key that is in a text: a private key in PEM, or any other text as an HMAC secret.

    Raises:
        ConfigurationError: it is neither, too weak, or PyJWT is not installed.
    """
    _require_jwt()
    private = _private(secret.encode())
    public = private if isinstance(private, bytes) else private.public_key()
    algorithm = _SIGNS.get(_kind(public))
    if algorithm is None:
        raise ConfigurationError("token_secrets holds a key that cannot sign; use RSA, P-256, Ed25519 or a secret text")
    return SigningKey(_kid(public), Algorithms([algorithm]).key(public), private)


def header_of(token: str) -> dict[str, Any]:
    """The header of a token that is not verified yet.

    Raises:
        InvalidTokenError: it is no signed JWT, or needs an extension.
    """
    if not _COMPACT.fullmatch(token):
        raise InvalidTokenError("the token is no signed JSON Web Token")
    try:
        header = jwt.get_unverified_header(token)
    except (jwt.PyJWTError, ValueError, RecursionError) as error:
        raise _refused(error) from None
    if "crit" in header:  # RFC 7515, section 4.1.11: what we do not know must not be passed over
        raise InvalidTokenError("the token's header has critical extensions, and none is known")
    return header


@contextmanager
def getting_a_key() -> Iterator[None]:
    """Turn a failure to get somebody else's key into an answer; a mistake in the application stays one."""
    try:
        yield
    except (OSError, jwt.PyJWKClientConnectionError) as error:
        raise TenantUnavailableError("the keys of the identity provider cannot be fetched right now") from error
    except (LookupError, ConfigurationError, jwt.PyJWTError) as error:
        raise InvalidTokenError("the token's key is unknown, or is none of its algorithms'") from error


def _require_jwt() -> None:
    if not _INSTALLED:
        raise ConfigurationError(
            "signed tokens need PyJWT with cryptography; install the extra from the checkout: pip install '.[tokens]'"
        )


def _kind(key: object) -> str:
    match key:
        case bytes():
            return "secret"
        case RSAPublicKey():
            return "RSA"
        case EllipticCurvePublicKey():
            return key.curve.name
        case Ed25519PublicKey() | Ed448PublicKey():
            return "Edwards"
        case _:
            return ""


def _public(given: object) -> object:
    key = given.key if isinstance(given, jwt.PyJWK) else given
    if isinstance(key, str):
        key = key.encode()
    if not isinstance(key, bytes) or b"-----BEGIN " not in key:
        return key
    try:
        return load_pem_public_key(key)
    except (ValueError, UnsupportedAlgorithm):
        raise ConfigurationError("the key is in PEM, and no public key can be read from it") from None


def _private(secret: bytes) -> Any:
    if b"-----BEGIN " not in secret:
        return secret
    try:
        return load_pem_private_key(secret, password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm):  # TypeError: it is encrypted
        raise ConfigurationError(
            "token_secrets holds PEM, and no private key can be read from it; give one that is not encrypted"
        ) from None


def _check_strength(key: object, algorithm: str) -> None:
    if isinstance(key, RSAPublicKey) and key.key_size < _RSA_BITS:
        raise ConfigurationError(f"an RSA key has at least {_RSA_BITS} bits, not {key.key_size}")
    if not isinstance(key, bytes):
        return
    if len(key) < _SECRET_BYTES[algorithm]:
        raise ConfigurationError(f"a secret for {algorithm} has at least {_SECRET_BYTES[algorithm]} bytes")
    try:
        jwt.get_algorithm_by_name(algorithm).prepare_key(key)
    except jwt.InvalidKeyError:
        raise ConfigurationError(f"what is given as a secret for {algorithm} is a public key or a JWK") from None


def _kid(public: Any) -> str:
    """A name that tells nothing of a secret, and is different for each key."""
    if isinstance(public, bytes):
        digest = hmac.digest(public, b"kid of fastapi-tenancy", "sha256")
    else:
        digest = sha256(public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)).digest()
    return digest[:8].hex()


def _refused(error: Exception) -> InvalidTokenError:
    return InvalidTokenError(f"the token is refused: {type(error).__name__}")
