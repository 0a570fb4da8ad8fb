"""Keys of every kind, made once, and tokens signed by hand, as an attacker would."""

import base64
import hashlib
import hmac
import json
from functools import cache
from typing import Any

from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa, x25519
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)

MAKERS = {
    "RSA": lambda: rsa.generate_private_key(65537, 2048),
    "weak RSA": lambda: rsa.generate_private_key(65537, 1024),  # noqa: S505 - it is to be refused
    "P-256": lambda: ec.generate_private_key(ec.SECP256R1()),
    "P-384": lambda: ec.generate_private_key(ec.SECP384R1()),
    "Ed25519": ed25519.Ed25519PrivateKey.generate,
    "X25519": x25519.X25519PrivateKey.generate,  # which cannot sign
}


@cache
def private_key(kind: str) -> Any:
    return MAKERS[kind]()


def private_pem(kind: str, password: bytes | None = None) -> str:
    encryption = BestAvailableEncryption(password) if password else NoEncryption()
    return private_key(kind).private_bytes(Encoding.PEM, PrivateFormat.PKCS8, encryption).decode()


def public_pem(kind: str, form: PublicFormat = PublicFormat.SubjectPublicKeyInfo) -> str:
    return private_key(kind).public_key().public_bytes(Encoding.PEM, form).decode()


def public_der(kind: str) -> bytes:
    return private_key(kind).public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def b64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def unb64(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def parts_of(token: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """A token's header and claims, as anybody can read them."""
    header, claims, _ = token.split(".")
    return json.loads(unb64(header)), json.loads(unb64(claims))


def assembled(header: object, claims: object, signature: bytes = b"x") -> str:
    return f"{b64(json.dumps(header).encode())}.{b64(json.dumps(claims).encode())}.{b64(signature)}"


def hmac_signed(header: object, claims: object, secret: bytes, name: str = "sha256") -> str:
    unsigned = assembled(header, claims).rpartition(".")[0]
    return f"{unsigned}.{b64(hmac.digest(secret, unsigned.encode(), getattr(hashlib, name)))}"
