"""What every token has in common: a length that can be read, and the digest that it is remembered by."""

from hashlib import sha256

from ..errors import InvalidTokenError

MAX_TOKEN = 16_384  # characters; more than servers take in one header by default


def digest_of(token: str) -> bytes:
    """SHA-256 of a token; what is remembered or stored, since it cannot be turned into the token.

    Raises:
        InvalidTokenError: it is longer than any token, or holds what none has.
    """
    if len(token) > MAX_TOKEN or not token.isascii():
        raise InvalidTokenError(f"a token has at most {MAX_TOKEN} characters, all of them ASCII")
    return sha256(token.encode("ascii")).digest()
