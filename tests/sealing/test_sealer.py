"""What is sealed opens only as it was, for the tenant and the purpose that it was sealed for."""

from base64 import standard_b64encode, urlsafe_b64encode
from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr

from fastapi_tenancy import ConfigurationError, Sealer, SealError, sealing


def key_of(*content: int) -> SecretStr:
    return SecretStr(urlsafe_b64encode(bytes(content)).decode().rstrip("="))


OLD, NEW = key_of(*range(32)), key_of(*range(32, 64))
SEALER = Sealer([NEW, OLD])
NAMES = st.text(max_size=8)


@given(st.binary(max_size=100), NAMES, NAMES)
def test_it_opens_for_the_same_tenant_and_purpose(plain: bytes, tenant_id: str, purpose: str) -> None:
    sealed = SEALER.seal(plain, tenant_id, purpose)
    assert SEALER.unseal(sealed, tenant_id, purpose) == plain
    assert Sealer.is_sealed(sealed)
    assert SEALER.is_current(sealed)


@given(st.tuples(NAMES, NAMES), st.tuples(NAMES, NAMES))
def test_it_opens_for_no_other_tenant_or_purpose(one: tuple[str, str], other: tuple[str, str]) -> None:
    sealed = SEALER.seal(b"plain", *one)
    if one != other:
        with pytest.raises(SealError):
            SEALER.unseal(sealed, *other)


@pytest.mark.parametrize("plain", [b"", b"p", b"pl", b"plain"])  # for each way in which base64 can end
def test_no_bit_can_be_changed(plain: bytes) -> None:
    sealed = SEALER.seal(plain, "acme", "url").encode("latin-1")
    for place, bit in product(range(len(sealed)), range(8)):
        changed = bytearray(sealed)
        changed[place] ^= 1 << bit
        with pytest.raises(SealError):
            SEALER.unseal(changed.decode("latin-1"), "acme", "url")


@given(st.text())
def test_any_other_text_is_refused(text: str) -> None:
    assert not Sealer.is_sealed(text)
    with pytest.raises(SealError, match="not sealed"):
        SEALER.unseal(text, "acme", "url")


def test_the_same_plain_is_never_sealed_alike() -> None:
    assert len({SEALER.seal(b"plain", "acme", "url") for _ in range(100)}) == 100


def test_an_older_key_opens_and_does_not_seal() -> None:
    sealed = Sealer([OLD]).seal(b"plain", "acme", "url")
    assert SEALER.unseal(sealed, "acme", "url") == b"plain"
    assert not SEALER.is_current(sealed)


def test_a_key_that_is_not_listed_is_named_and_not_shown() -> None:
    sealed = Sealer([OLD]).seal(b"plain", "acme", "url")
    with pytest.raises(SealError, match=r"the key [0-9a-f]{16}, which is not listed") as caught:
        Sealer([NEW]).unseal(sealed, "acme", "url")
    assert caught.value.detail == "The tenant is temporarily unavailable."
    assert OLD.get_secret_value() not in str(caught.value)


def test_a_key_may_end_in_an_equals_sign() -> None:
    padded = SecretStr(NEW.get_secret_value() + "=")
    assert Sealer([padded]).is_current(SEALER.seal(b"plain", "acme", "url"))


@pytest.mark.parametrize(
    "key",
    [
        "",
        "=" * 44,
        "too short",
        key_of(*range(31)).get_secret_value(),
        key_of(*range(33)).get_secret_value(),
        bytes(range(32)).hex(),
        NEW.get_secret_value() + "==",
        NEW.get_secret_value() + "\n",
        f" {NEW.get_secret_value()}",
        standard_b64encode(b"\xff" * 32).decode(),
        "A" * 42 + "B",  # 32 bytes and two bits more
        "é" * 43,
    ],
)
def test_anything_else_is_no_key(key: str) -> None:
    with pytest.raises(ConfigurationError, match="32 bytes in URL-safe base64") as caught:
        Sealer([NEW, SecretStr(key)])
    assert not key or key not in str(caught.value)


def test_there_is_no_sealer_without_a_key() -> None:
    with pytest.raises(ConfigurationError, match="at least one"):
        Sealer([])


def test_without_cryptography_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sealing, "_INSTALLED", False)
    with pytest.raises(ConfigurationError, match=r"pip install '\.\[encryption\]'"):
        Sealer([NEW])
