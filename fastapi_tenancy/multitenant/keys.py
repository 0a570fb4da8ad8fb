"""A tenant's own key: stored sealed; or brought by each request, with what recognises it stored instead."""

import hmac
import secrets
from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property
from typing import Literal, get_args

from pydantic import SecretBytes, SecretStr
from starlette.types import Scope

from ..errors import (
    ConfigurationError,
    InvalidHeaderError,
    InvalidIdentifierError,
    InvalidTenantKeyError,
    SealError,
    TenantKeyMissingError,
    WrongTenantKeyError,
)
from ..resolvers.base import single_header
from ..sealing import KEY_BYTES, Sealer, decode_key
from ..tenant import Tenant

KeyManagementMode = Literal["managed", "unmanaged"]
"""Whether a tenant's key is stored, sealed, or is brought by each request."""

GivenKey = str | SecretStr | SecretBytes
"""32 bytes in URL-safe base64; or, as `SecretBytes`, the bytes themselves."""

KEY_HEADER = "X-Tenant-Key"
_HEADER = KEY_HEADER.lower().encode()

# What something is sealed for: a text that was sealed for one is of no use in the other's place.
_STORED, _CARRIED = "key", "token"


def needs_key(tenant: Tenant) -> bool:
    """Whether the tenant opens only for who brings its key."""
    return tenant.key_management_mode == "unmanaged"


def key_in_header(scope: Scope) -> SecretStr | None:
    """What stands in the header `X-Tenant-Key`; None where there is none.

    Raises:
        InvalidHeaderError: it is there more often.
    """
    try:
        value = single_header(scope, _HEADER)
    except InvalidIdentifierError as error:
        raise InvalidHeaderError(str(error)) from None
    return None if value is None else SecretStr(value)


def new_key(given: GivenKey) -> SecretBytes:
    """The key that is given for a tenant.

    Raises:
        InvalidTenantKeyError: it is no 32 bytes in URL-safe base64.
    """
    try:
        return _decoded(given)
    except ConfigurationError as error:
        raise InvalidTenantKeyError(str(error)) from None


class TenantKeys:
    """Reads and writes what is recorded of the tenants' keys.

    While a tenant is given another key, the record holds the new one and those before it: whatever happens meanwhile,
    its data are under one of them.

    Args:
        encryption_keys: what keys are sealed with; none where no key has to be.
    """

    def __init__(self, encryption_keys: Sequence[SecretStr]) -> None:
        self._encryption_keys = encryption_keys

    def with_key(self, tenant: Tenant, key: GivenKey | None) -> tuple[Tenant, SecretBytes | None]:
        """A new tenant with the record of its key, and the key; a random one where it needs one and none is given.

        Raises:
            TenantKeyMissingError: none is given, and none can be made, as it would not be stored.
            InvalidTenantKeyError: what is given cannot be a key.
            ConfigurationError: its key management mode is unknown, or the key cannot be sealed.
        """
        mode, modes = tenant.key_management_mode, get_args(KeyManagementMode)
        if mode not in modes:
            raise ConfigurationError(f"key_management_mode={mode!r} is unknown; choose from {', '.join(modes)}")
        if key is None and not needs_key(tenant) and not tenant.encrypted:
            return tenant, None
        own = self.chosen(tenant, key)
        return replace(tenant, key_record=self.record(tenant, own)), own

    def chosen(self, tenant: Tenant, key: GivenKey | None) -> SecretBytes:
        """The new key of a tenant: the one that is given, or a random one; raises as `with_key` does."""
        if key is not None:
            return new_key(key)
        if needs_key(tenant):
            raise TenantKeyMissingError(
                f"the key of {tenant.identifier!r} is not stored, so a new one has to be given; make it with: "
                "python -c 'import secrets; print(secrets.token_urlsafe(32))'"
            )
        return SecretBytes(secrets.token_bytes(KEY_BYTES))

    def record(self, tenant: Tenant, key: SecretBytes, *, or_recorded: bool = False) -> str:
        """What is stored of the tenant's key; with `or_recorded`, of the keys that are recorded now as well."""
        if needs_key(tenant):
            checks = [_check(tenant, key), *(_checks(tenant) if or_recorded else ())]
            return " ".join(dict.fromkeys(checks))
        keys = [key, *(self.recorded(tenant) if or_recorded else ())]
        content = b"".join(dict.fromkeys(each.get_secret_value() for each in keys))
        return self._sealer.seal(content, tenant.id, _STORED)

    def own(self, tenant: Tenant, given: SecretBytes | None) -> list[SecretBytes]:
        """The keys one of which opens the tenant's data: that which was given, or those that are stored.

        Raises:
            TenantKeyMissingError: none was given, and none is stored.
        """
        if given is not None:
            return [given]
        if needs_key(tenant):
            raise _missing(tenant)
        return self.recorded(tenant)

    def recorded(self, tenant: Tenant) -> list[SecretBytes]:
        """The keys that are stored, the newest first; the tenant's data are under one of them.

        Raises:
            ConfigurationError: there is none, or there are no `encryption_keys`.
            SealError: they cannot be opened.
        """
        if tenant.key_record is None:
            raise ConfigurationError(f"the tenant {tenant.identifier!r} has no key")
        content = self._sealer.unseal(tenant.key_record, tenant.id, _STORED)
        return [SecretBytes(content[start : start + KEY_BYTES]) for start in range(0, len(content), KEY_BYTES)]

    def given(self, tenant: Tenant, key: GivenKey | None) -> SecretBytes:
        """The key of a tenant whose key is not stored, if it is that which is given.

        Raises:
            TenantKeyMissingError: none is given.
            WrongTenantKeyError: it is another one, or none at all.
        """
        if key is None:
            raise _missing(tenant)
        try:
            own = _decoded(key)
        except ConfigurationError as error:
            raise WrongTenantKeyError(str(error)) from None
        check = _check(tenant, own)
        # All are compared, and each in the same time, whatever the key.
        if not sum([hmac.compare_digest(check, each) for each in _checks(tenant)]):
            raise WrongTenantKeyError(f"what was given as the key of {tenant.identifier!r} is not its key")
        return own

    def carried(self, tenant: Tenant, key: GivenKey) -> str:
        """The key as a token carries it: sealed; raises as `given` does."""
        return self._sealer.seal(self.given(tenant, key).get_secret_value(), tenant.id, _CARRIED)

    def uncarried(self, tenant: Tenant, sealed: str) -> SecretBytes:
        """What `carried` has sealed.

        Raises:
            WrongTenantKeyError: it is another tenant's, or what it was sealed with is no longer in `encryption_keys`.
        """
        try:
            return SecretBytes(self._sealer.unseal(sealed, tenant.id, _CARRIED))
        except (SealError, ConfigurationError) as error:
            raise WrongTenantKeyError(f"the key in the token does not open ({error}); make a new token") from error

    @cached_property
    def _sealer(self) -> Sealer:
        return Sealer(self._encryption_keys)


def _decoded(given: GivenKey) -> SecretBytes:
    if isinstance(given, SecretBytes):
        if len(given) != KEY_BYTES:
            raise ConfigurationError(f"a tenant's key has {KEY_BYTES} bytes")
        return given
    text = given if isinstance(given, str) else given.get_secret_value()
    return SecretBytes(decode_key(text, "a tenant's key"))


def _check(tenant: Tenant, key: SecretBytes) -> str:
    # A fast digest will do: nobody finds 32 random bytes by trying. The id is the salt.
    return hmac.digest(key.get_secret_value(), b"fastapi-tenancy key check 1\0" + tenant.id.encode(), "sha256").hex()


def _checks(tenant: Tenant) -> list[str]:
    """What recognises the tenant's keys; nothing recognises one where the record is lost."""
    return (tenant.key_record or "").split()


def _missing(tenant: Tenant) -> TenantKeyMissingError:
    return TenantKeyMissingError(
        f"the key of {tenant.identifier!r} is not stored; send it in {KEY_HEADER} or inside a token, or write "
        f"tenancy.use({tenant.identifier!r}, key=…)"
    )
