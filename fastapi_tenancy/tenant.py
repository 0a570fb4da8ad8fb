"""What a tenant is: an immutable record, its status, and the rule for its identifier."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from types import MappingProxyType
from typing import Any, Literal

from .errors import InvalidIdentifierError, InvalidTenantError

# RFC 1123, section 2.1: a host name's label; lower case only, so that one tenant has one spelling.
IDENTIFIER = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?")

MAX_NAME = 200  # characters

MAX_DEPTH = 64  # levels of settings; beyond 255 they could be stored, and not be shown as JSON


class TenantStatus(StrEnum):
    """Where a tenant stands in its life; only an active one is served."""

    PROVISIONING = "provisioning"
    ACTIVE = "active"
    SUSPENDED = "suspended"
    DELETING = "deleting"


@dataclass(frozen=True, slots=True, kw_only=True)
class Tenant:
    """One customer of the application.

    Attributes:
        id: opaque, never reused; names everything that is stored for the tenant.
        identifier: the slug that requests name, a DNS label; can be changed, and be given to another tenant later.
        name: what people read.
        status: only `active` is served.
        settings: the application's own values for this tenant; JSON types, read-only at every depth.
        manager_type: the manager that serves it (a name in `MANAGER_TYPES` or a dotted path); None for the default.
        database_url: where its data lives; None for the place derived from the settings.
        key_management_mode: "managed" if its key, where it has one, is stored (sealed), "unmanaged" if each request
            brings it.
        key_record: what is stored of its key, as `multitenant.keys` reads it; None for a tenant without a key.
        encrypted: whether its data are encrypted with its key.
        namespace: the name that was taken for its data when it was created, unique among all tenants.
        revision: of its tables when they were created or migrated last, as Alembic names it; None where no migrations
            are kept.
        work: what is being done with its data as a whole; None for nothing.
        work_until: until when that is so, unless whoever does it is heard of again; UTC.
        version: counts the changes; a writer that read an older version is refused.
        created_at: UTC.
        updated_at: UTC.
    """

    id: str
    identifier: str
    name: str
    status: TenantStatus
    created_at: datetime
    updated_at: datetime
    settings: Mapping[str, Any] = field(default_factory=dict, hash=False, repr=False)  # some may be secret
    manager_type: str | None = None
    database_url: str | None = field(default=None, repr=False)  # it may hold a password
    key_management_mode: Literal["managed", "unmanaged"] = "managed"
    key_record: str | None = field(default=None, repr=False)
    encrypted: bool = False
    namespace: str | None = None
    revision: str | None = None
    work: Literal["migration", "move"] | None = None
    work_until: datetime | None = None
    version: int = 1

    def __post_init__(self) -> None:
        object.__setattr__(self, "settings", _frozen(self.settings))

    @property
    def is_active(self) -> bool:
        return self.status is TenantStatus.ACTIVE

    @property
    def is_settled(self) -> bool:
        """Whether it is neither being created nor deleted."""
        return self.status in (TenantStatus.ACTIVE, TenantStatus.SUSPENDED)


def is_identifier(text: str) -> bool:
    return IDENTIFIER.fullmatch(text) is not None


def check_identifier(text: str) -> str:
    """Return `text` if it can be an identifier.

    Raises:
        InvalidIdentifierError: it is not a lower-case DNS label of 1 to 63 characters.
    """
    if not is_identifier(text):
        raise InvalidIdentifierError(
            f"{text[:80]!r} cannot be a tenant's identifier: use 1 to 63 of a-z, 0-9 and '-', "
            "with a letter or digit at both ends"
        )
    return text


def check_name(text: str) -> str:
    """Return `text` if it can be a tenant's name.

    Raises:
        InvalidTenantError: it is blank, longer than 200 characters, or holds a NUL, which PostgreSQL cannot store.
    """
    if not text.strip() or len(text) > MAX_NAME or "\0" in text:
        raise InvalidTenantError(f"a tenant's name has 1 to {MAX_NAME} characters without NUL, not {len(text)}")
    return text


def check_settings(settings: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return `settings` if the store gives back exactly the same.

    Raises:
        InvalidTenantError: they hold something that is no JSON, or are nested deeper than 64 levels.
    """
    if _is_deeper(settings, MAX_DEPTH):
        raise InvalidTenantError(f"a tenant's settings are nested at most {MAX_DEPTH} levels deep")
    value = plain(settings)
    try:
        text = json.dumps(value, allow_nan=False, ensure_ascii=False)
        same = json.loads(text.encode()) == value  # half a surrogate pair cannot be encoded
    except (TypeError, ValueError) as error:
        raise InvalidTenantError(f"a tenant's settings are JSON values under string keys: {error}") from error
    if not same:
        raise InvalidTenantError("a tenant's settings are JSON values under string keys; turn other keys into strings")
    return settings


def _is_deeper(value: Any, levels: int) -> bool:
    if not isinstance(value, Mapping | list | tuple):
        return False
    inner = value.values() if isinstance(value, Mapping) else value
    return levels == 0 or any(_is_deeper(each, levels - 1) for each in inner)


def plain(value: Any) -> Any:
    """The JSON value that a tenant's read-only settings were made from."""
    if isinstance(value, Mapping):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    return value


def _frozen(value: Any) -> Any:
    """A read-only copy of a JSON value: a cached tenant is shared by all requests, so none may change it."""
    if isinstance(value, Mapping):
        return MappingProxyType({key: _frozen(item) for key, item in value.items()})
    if isinstance(value, list | tuple):
        return tuple(_frozen(item) for item in value)
    return value
