"""Seal small secrets for one tenant and one purpose; the one module that needs cryptography for this."""

import hmac
import re
import secrets
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Sequence
from functools import lru_cache

from pydantic import SecretStr

from .errors import ConfigurationError, SealError

try:
    from cryptography.exceptions import InvalidTag
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM
    from cryptography.hazmat.primitives.hashes import SHA256
    from cryptography.hazmat.primitives.kdf.hkdf import HKDF
except ModuleNotFoundError:
    _INSTALLED = False
else:
    _INSTALLED = True

KEY_BYTES = 32  # AES-256

_NONCE_BYTES = 12  # NIST SP 800-38D, section 5.2.1.1
_DERIVED = 10_000  # tenants' keys that are remembered: to derive one takes twice as long as to use it

# version.key id.nonce and ciphertext: no database URL looks like this, and none of its parts is a secret.
_SEALED = re.compile(r"tenancy-sealed-1\.([0-9a-f]{16})\.([A-Za-z0-9_-]{38,})")


class Sealer:
    """Seals bytes with AES-256-GCM under a key of the tenant's, derived by HKDF-SHA256 from a key of the deployment.

    Args:
        keys: the newest first: it seals, all of them open. Each is 32 bytes in URL-safe base64.

    Raises:
        ConfigurationError: there is none, one is no such key, or cryptography is not installed.
    """

    def __init__(self, keys: Sequence[SecretStr]) -> None:
        if not _INSTALLED:
            raise ConfigurationError(
                "encryption_keys need cryptography; install the extra from the checkout: pip install '.[encryption]'"
            )
        masters = [decode_key(key.get_secret_value(), "a key of encryption_keys") for key in keys]
        if not masters:
            raise ConfigurationError("there is no key to seal with; give at least one in encryption_keys")
        self._masters = {_key_id(master): master for master in masters}
        self._current = _key_id(masters[0])
        self._cipher = lru_cache(_DERIVED)(self._derived)

    def seal(self, plain: bytes, tenant_id: str, purpose: str) -> str:
        """A text that only `unseal` with the same tenant and purpose turns into `plain` again."""
        nonce = secrets.token_bytes(_NONCE_BYTES)
        sealed = self._cipher(self._current, tenant_id).encrypt(nonce, plain, _context(tenant_id, purpose))
        return f"tenancy-sealed-1.{self._current}.{_encoded(nonce + sealed)}"

    def unseal(self, sealed: str, tenant_id: str, purpose: str) -> bytes:
        """What was sealed.

        Raises:
            SealError: it was changed, is another tenant's or for another purpose, or its key is not listed.
        """
        found = _SEALED.fullmatch(sealed)
        if found is None:
            raise SealError(f"the {purpose} of the tenant {tenant_id} is not sealed, or was changed since")
        key_id, text = found.groups()
        if key_id not in self._masters:
            raise SealError(
                f"the {purpose} of the tenant {tenant_id} is sealed with the key {key_id}, which is not listed; "
                "add it to encryption_keys, behind the newest"
            )
        content = _decoded(text)
        nonce, encrypted = content[:_NONCE_BYTES], content[_NONCE_BYTES:]
        try:
            return self._cipher(key_id, tenant_id).decrypt(nonce, encrypted, _context(tenant_id, purpose))
        except (InvalidTag, ValueError):  # ValueError: there is no nonce, since the text is not what was encoded
            raise SealError(
                f"the {purpose} of the tenant {tenant_id} was changed since it was sealed, or was sealed for another "
                "tenant or purpose; restore it from a backup"
            ) from None

    def is_current(self, sealed: str) -> bool:
        """Whether it was sealed with the newest key."""
        found = _SEALED.fullmatch(sealed)
        return found is not None and found[1] == self._current

    def secret(self, purpose: str) -> bytes:
        """32 bytes to sign with, derived from the newest key; another purpose has others."""
        return HKDF(SHA256(), KEY_BYTES, salt=None, info=b"fastapi-tenancy secret 1\0" + purpose.encode()).derive(
            self._masters[self._current]
        )

    @staticmethod
    def is_sealed(text: str) -> bool:
        """Whether it has the shape of what `seal` gives; whether it opens is for `unseal` to say."""
        return _SEALED.fullmatch(text) is not None

    def _derived(self, key_id: str, tenant_id: str) -> "AESGCM":
        info = b"fastapi-tenancy sealing 1\0" + tenant_id.encode()
        return AESGCM(HKDF(SHA256(), KEY_BYTES, salt=None, info=info).derive(self._masters[key_id]))


def decode_key(text: str, what: str) -> bytes:
    """The 32 bytes that are written in `text`, as `secrets.token_urlsafe(32)` writes them; "=" at the end is allowed.

    Raises:
        ConfigurationError: it is anything else; the message calls it `what`, and does not show it.
    """
    content = _decoded(text.removesuffix("="))
    if len(content) != KEY_BYTES:
        raise ConfigurationError(
            f"{what} has to be {KEY_BYTES} bytes in URL-safe base64; make one with: "
            "python -c 'import secrets; print(secrets.token_urlsafe(32))'"
        )
    return content


def _key_id(master: bytes) -> str:
    """A name that tells nothing of the key, and is different for each."""
    return hmac.digest(master, b"key id of fastapi-tenancy", "sha256")[:8].hex()


def _context(tenant_id: str, purpose: str) -> bytes:
    return f"{tenant_id}\0{purpose}".encode()


def _encoded(content: bytes) -> str:
    return urlsafe_b64encode(content).rstrip(b"=").decode()


def _decoded(text: str) -> bytes:
    """The content of URL-safe base64; nothing if it is not written as `_encoded` would, so that each bit counts."""
    try:
        content = urlsafe_b64decode(text + "=" * (-len(text) % 4))
    except ValueError:
        return b""
    return content if _encoded(content) == text else b""
