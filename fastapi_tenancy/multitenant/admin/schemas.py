"""What the admin API takes and gives."""

from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Any, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field
from sqlalchemy import make_url

from ...store import Domain, DomainStatus, TokenRecord
from ...store.domain import MAX_HOST
from ...tenant import MAX_NAME, Tenant, TenantStatus, plain
from ..manager_provider import MultitenantManagerProvider
from ..tokens.issue import MAX_LIFE, MAX_SCOPES, is_scope, is_token_name

Name = Annotated[str, Field(min_length=1, max_length=MAX_NAME, examples=["Acme Corp"])]
Identifier = Annotated[str, Field(examples=["acme"], description="1 to 63 of a-z, 0-9 and '-'.")]
Settings = Annotated[dict[str, Any], Field(examples=[{"plan": "pro"}])]

_MASK = "***"


def _built_in(manager_type: str) -> str:
    # Not a dotted path: a request never decides which module is imported.
    if manager_type not in MultitenantManagerProvider.MANAGER_TYPES:
        raise ValueError(f"use one of {', '.join(MultitenantManagerProvider.MANAGER_TYPES)}")
    return manager_type


ManagerType = Annotated[str, AfterValidator(_built_in), Field(examples=["basic"])]


class TenantIn(BaseModel):
    """A tenant to be created."""

    model_config = ConfigDict(extra="forbid")

    identifier: Identifier
    name: Name | None = None
    settings: Settings = Field(default_factory=dict)
    manager_type: ManagerType | None = None


class TenantPatch(BaseModel):
    """What changes; `settings` by JSON Merge Patch, <https://www.rfc-editor.org/rfc/rfc7396>: null removes a key."""

    model_config = ConfigDict(extra="forbid")

    name: Name | None = None
    identifier: Identifier | None = None
    settings: Settings | None = None


class TenantOut(BaseModel):
    """A tenant, without the secrets of its database URL."""

    id: str
    identifier: str
    name: str
    status: TenantStatus
    settings: dict[str, Any]
    manager_type: str | None
    database_url: str | None
    version: int
    created_at: datetime
    updated_at: datetime

    @classmethod
    def of(cls, tenant: Tenant) -> Self:
        return cls(
            id=tenant.id,
            identifier=tenant.identifier,
            name=tenant.name,
            status=tenant.status,
            settings=plain(tenant.settings),
            manager_type=tenant.manager_type,
            database_url=None if tenant.database_url is None else masked(tenant.database_url),
            version=tenant.version,
            created_at=tenant.created_at,
            updated_at=tenant.updated_at,
        )


class TenantList(BaseModel):
    """A page of tenants; `next` is what `after` takes for the following one."""

    items: list[TenantOut]
    next: str | None


class DomainIn(BaseModel):
    """A host that a tenant claims."""

    model_config = ConfigDict(extra="forbid")

    host: Annotated[str, Field(max_length=MAX_HOST, examples=["app.acme.com"])]


class DomainOut(BaseModel):
    """A claim, and what proves it: `record_value` in a TXT record, or as the answer of `challenge_url`."""

    host: str
    status: DomainStatus
    is_primary: bool
    record_name: str
    record_value: str
    challenge_url: str
    created_at: datetime
    verified_at: datetime | None

    @classmethod
    def of(cls, domain: Domain) -> Self:
        return cls(
            host=domain.host,
            status=domain.status,
            is_primary=domain.is_primary,
            record_name=domain.record_name,
            record_value=domain.token,
            challenge_url=domain.challenge_url,
            created_at=domain.created_at,
            verified_at=domain.verified_at,
        )


class DomainList(BaseModel):
    """A page of domains; `next` is what `after` takes for the following one."""

    items: list[DomainOut]
    next: str | None


def _named(name: str) -> str:
    if not is_token_name(name):
        raise ValueError("use printable characters, not all of them spaces")
    return name


def _scope(scope: str) -> str:
    if not is_scope(scope):
        raise ValueError("use 1 to 64 printable ASCII characters, without spaces, quotes and backslashes")
    return scope


class TokenIn(BaseModel):
    """A token to be made."""

    model_config = ConfigDict(extra="forbid")

    name: Annotated[Name, AfterValidator(_named)]
    scopes: Annotated[
        list[Annotated[str, AfterValidator(_scope)]], Field(max_length=MAX_SCOPES, examples=[["notes:read"]])
    ] = Field(default_factory=list)
    expires_in: Annotated[int, Field(ge=1, le=MAX_LIFE, description="Seconds; null: until it is revoked.")] | None = (
        None
    )


class TokenCreated(BaseModel):
    """A new token; it is shown here and never again."""

    token_id: str
    token: str


class TokenOut(BaseModel):
    """A token, without what makes it one."""

    token_id: str
    name: str
    scopes: list[str]
    created_at: datetime
    expires_at: datetime | None
    last_used_at: datetime | None

    @classmethod
    def of(cls, token: TokenRecord) -> Self:
        return cls(
            token_id=token.token_id,
            name=token.name,
            scopes=sorted(token.scopes),
            created_at=token.created_at,
            expires_at=token.expires_at,
            last_used_at=token.last_used_at,
        )


class TokenList(BaseModel):
    """A page of tokens; `next` is what `after` takes for the following one."""

    items: list[TokenOut]
    next: str | None


def masked(database_url: str) -> str:
    """The URL without its password and without the values of its query."""
    url = make_url(database_url)
    return url.set(query=dict.fromkeys(url.query, _MASK)).render_as_string(hide_password=True)


def merge_patch(target: Mapping[str, Any], patch: Mapping[str, Any]) -> dict[str, Any]:
    """RFC 7396, section 2."""
    merged = dict(target)
    for key, value in patch.items():
        if value is None:
            merged.pop(key, None)
        elif isinstance(value, Mapping):
            inner = merged.get(key)
            merged[key] = merge_patch(inner if isinstance(inner, Mapping) else {}, value)
        else:
            merged[key] = value
    return merged
