"""What is recorded of a tenant's key, and what recognises it."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from keys.key_support import SEALING_KEY, random_key
from pydantic import SecretBytes, SecretStr

from fastapi_tenancy import (
    ConfigurationError,
    InvalidTenantKeyError,
    SealError,
    TenantKeyMissingError,
    WrongTenantKeyError,
)
from fastapi_tenancy.multitenant.keys import TenantKeys, new_key
from fastapi_tenancy.testing import tenant_named

KEYS = TenantKeys([SecretStr(SEALING_KEY)])


def unmanaged(key: str):
    return KEYS.with_key(tenant_named(key_management_mode="unmanaged"), key)[0]


@given(st.binary(min_size=32, max_size=32), st.binary(min_size=32, max_size=32))
def test_of_all_keys_only_the_tenants_own_is_recognised(own: bytes, other: bytes) -> None:
    tenant, _ = KEYS.with_key(tenant_named(key_management_mode="unmanaged"), SecretBytes(own))
    assert KEYS.given(tenant, SecretBytes(own)).get_secret_value() == own
    if other != own:
        with pytest.raises(WrongTenantKeyError):
            KEYS.given(tenant, SecretBytes(other))


@given(st.text(min_size=9, max_size=60))
def test_a_text_that_is_no_key_is_refused_without_being_quoted(text: str) -> None:
    with pytest.raises(InvalidTenantKeyError) as refused:
        new_key(text)
    assert text not in f"{refused.value}{refused.value!r}{refused.value.detail}"


@pytest.mark.parametrize("text", ["", "x", "A" * 42, "A" * 44, "+/" + "A" * 41, "A" * 42 + "B", "ü"])
def test_what_is_no_key_is_wrong_where_one_is_asked_for(text: str) -> None:
    with pytest.raises(WrongTenantKeyError):
        KEYS.given(unmanaged(random_key()), text)


def test_the_padding_of_base64_may_be_there() -> None:
    key = random_key()
    assert KEYS.given(unmanaged(key), f"{key}=") == KEYS.given(unmanaged(key), SecretStr(key))


def test_bytes_of_another_length_are_no_key() -> None:
    with pytest.raises(InvalidTenantKeyError, match="32 bytes"):
        new_key(SecretBytes(b"short"))


def test_two_tenants_with_one_key_have_records_that_do_not_tell() -> None:
    key = random_key()
    assert unmanaged(key).key_record != unmanaged(key).key_record


def test_nothing_recognises_a_key_where_the_record_is_lost() -> None:
    key = random_key()
    with pytest.raises(WrongTenantKeyError):
        KEYS.given(replace(unmanaged(key), key_record=None), key)


def test_a_managed_key_is_sealed_for_its_tenant_and_for_nothing_else() -> None:
    tenant, key = KEYS.with_key(tenant_named(), random_key())
    assert KEYS.recorded(tenant) == [key]
    with pytest.raises(SealError):
        KEYS.recorded(replace(tenant, id="0" * 32))
    with pytest.raises(WrongTenantKeyError):
        KEYS.uncarried(tenant, str(tenant.key_record))


def test_another_key_is_recorded_beside_those_that_are_there() -> None:
    tenant, first = KEYS.with_key(tenant_named(), random_key())
    second, third = new_key(random_key()), new_key(random_key())
    for key in (second, third, third):
        tenant = replace(tenant, key_record=KEYS.record(tenant, key, or_recorded=True))
    assert KEYS.recorded(tenant) == [third, second, first]


def test_what_a_token_carries_opens_for_its_tenant_only() -> None:
    key = random_key()
    tenant = unmanaged(key)
    sealed = KEYS.carried(tenant, key)
    assert KEYS.uncarried(tenant, sealed) == new_key(key)
    for keys, other in [
        (KEYS, unmanaged(key)),
        (TenantKeys([SecretStr(random_key())]), tenant),
        (TenantKeys([]), tenant),
    ]:
        with pytest.raises(WrongTenantKeyError, match="make a new token"):
            keys.uncarried(other, sealed)


def test_what_is_missing_is_said_when_a_tenant_is_made() -> None:
    with pytest.raises(TenantKeyMissingError, match="has to be given"):
        KEYS.with_key(tenant_named(key_management_mode="unmanaged"), None)
    with pytest.raises(ConfigurationError, match="choose from managed, unmanaged"):
        KEYS.with_key(tenant_named(key_management_mode="none"), None)
    with pytest.raises(ConfigurationError, match="encryption_keys"):
        TenantKeys([]).with_key(tenant_named(encrypted=True), None)
    assert KEYS.with_key(tenant_named(), None)[1] is None
