"""What the admin API takes and gives."""

from collections.abc import Collection, Mapping
from datetime import datetime
from typing import Annotated, Any, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field
from sqlalchemy import make_url
from sqlalchemy.exc import ArgumentError

from ...secret_settings import MASK, masked_settings
from ...store import Domain, DomainStatus, TokenRecord
from ...store.domain import MAX_HOST
from ...tenant import MAX_NAME, Tenant, TenantStatus, check_name, check_settings, plain
from ..manager_provider import MultitenantManagerProvider
from ..tokens.issue import MAX_LIFE, MAX_SCOPES, is_scope, is_token_name
from .base import SLUG

_MOMENT = "2026-01-02T03:04:05.678901Z"
_ID = "8d3f4a52c1b94d6c9c0e4f6a1b2c3d4e"
_NOT_BLANK = r"^[^\x00]*[^\s\x00-\x1f\x85][^\x00]*$"

Name = Annotated[str, Field(min_length=1, max_length=MAX_NAME, examples=["Acme Corp"])]
TenantName = Annotated[Name, AfterValidator(check_name), Field(json_schema_extra={"pattern": _NOT_BLANK})]
Identifier = Annotated[
    str,
    Field(
        examples=["acme"],
        description="1 to 63 of a-z, 0-9 and '-', with a letter or digit at both ends.",
        # What clients are told; the check itself answers 400, as everywhere else.
        json_schema_extra=SLUG,
    ),
]
Settings = Annotated[dict[str, Any], AfterValidator(check_settings), Field(examples=[{"plan": "pro"}])]


def _built_in(manager_type: str) -> str:
    # Not a dotted path: a request never decides which module is imported.
    if manager_type not in MultitenantManagerProvider.MANAGER_TYPES:
        raise ValueError(f"use one of {', '.join(MultitenantManagerProvider.MANAGER_TYPES)}")
    return manager_type


ManagerType = Annotated[
    str,
    AfterValidator(_built_in),
    Field(examples=["basic"], json_schema_extra={"enum": [*MultitenantManagerProvider.MANAGER_TYPES]}),
]


class TenantIn(BaseModel):
    """A tenant to be created."""

    model_config = ConfigDict(extra="forbid")

    identifier: Identifier
    name: TenantName | None = None
    settings: Settings = Field(default_factory=dict)
    manager_type: ManagerType | None = None


class TenantPatch(BaseModel):
    """What changes, by JSON Merge Patch, <https://www.rfc-editor.org/rfc/rfc7396>: null removes a key of `settings`.

    Nothing else can be removed, so a null elsewhere is refused; what is not named stays.
    """

    model_config = ConfigDict(extra="forbid")

    # The defaults stand for "not named": a route looks at what was set.
    name: TenantName = Field(default_factory=str)
    identifier: Identifier = Field(default_factory=str)
    settings: Settings = Field(default_factory=dict)


class TenantOut(BaseModel):
    """A tenant; secret settings and the secrets in its database URL are masked."""

    id: Annotated[str, Field(examples=[_ID], description="Never changes, and is never reused.")]
    identifier: Annotated[str, Field(examples=["acme"])]
    name: Annotated[str, Field(examples=["Acme Corp"])]
    status: Annotated[TenantStatus, Field(examples=["active"])]
    settings: Annotated[dict[str, Any], Field(examples=[{"plan": "pro"}])]
    manager_type: Annotated[str | None, Field(examples=["basic"], description="Null: the deployment's default.")]
    database_url: Annotated[str | None, Field(examples=["postgresql+psycopg://app:***@db2/acme"])]
    version: Annotated[int, Field(examples=[2], description="Counts the changes.")]
    created_at: Annotated[datetime, Field(examples=[_MOMENT])]
    updated_at: Annotated[datetime, Field(examples=[_MOMENT])]

    @classmethod
    def of(cls, tenant: Tenant, secret_settings: Collection[str]) -> Self:
        return cls(
            id=tenant.id,
            identifier=tenant.identifier,
            name=tenant.name,
            status=tenant.status,
            settings=masked_settings(plain(tenant.settings), secret_settings),
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

    host: Annotated[
        str, Field(max_length=MAX_HOST, examples=["app.acme.com"], json_schema_extra={"format": "idn-hostname"})
    ]


class DomainOut(BaseModel):
    """A claim, and what proves it: `record_value` in a TXT record, or as the answer of `challenge_url`."""

    host: Annotated[str, Field(examples=["app.acme.com"])]
    status: Annotated[DomainStatus, Field(examples=["pending"])]
    is_primary: Annotated[bool, Field(examples=[False])]
    record_name: Annotated[str, Field(examples=["_fastapi-tenancy.app.acme.com"])]
    record_value: Annotated[str, Field(examples=["kX2wq0mZ8c1n5Uo7bTfG3yHs9RjVd4eLpA6iQxCzN0M"])]
    challenge_url: Annotated[str, Field(examples=["http://app.acme.com/.well-known/fastapi-tenancy/kX2wq0mZ8c1n"])]
    created_at: Annotated[datetime, Field(examples=[_MOMENT])]
    verified_at: Annotated[datetime | None, Field(examples=[_MOMENT])]

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


Scopes = Annotated[
    list[Annotated[str, AfterValidator(_scope)]], Field(max_length=MAX_SCOPES, examples=[["notes:read"]])
]


class TokenIn(BaseModel):
    """A token to be made."""

    model_config = ConfigDict(extra="forbid")

    name: Annotated[Name, AfterValidator(_named)]
    scopes: Scopes = Field(default_factory=list)
    expires_in: Annotated[int, Field(ge=1, le=MAX_LIFE, description="Seconds; null: until it is revoked.")] | None = (
        None
    )


class TokenCreated(BaseModel):
    """A new token; it is shown here and never again."""

    token_id: Annotated[str, Field(examples=[_ID])]
    token: Annotated[str, Field(examples=["eyJhbGciOi…"])]


class TokenOut(BaseModel):
    """A token, without what makes it one."""

    token_id: Annotated[str, Field(examples=[_ID])]
    name: Annotated[str, Field(examples=["Ada's laptop"])]
    scopes: Annotated[list[str], Field(examples=[["notes:read"]])]
    created_at: Annotated[datetime, Field(examples=[_MOMENT])]
    expires_at: Annotated[datetime | None, Field(examples=[_MOMENT])]
    last_used_at: Annotated[datetime | None, Field(examples=[_MOMENT])]
    impersonated_by: Annotated[str | None, Field(examples=["ada@example.com"])]

    @classmethod
    def of(cls, token: TokenRecord) -> Self:
        return cls(
            token_id=token.token_id,
            name=token.name,
            scopes=sorted(token.scopes),
            created_at=token.created_at,
            expires_at=token.expires_at,
            last_used_at=token.last_used_at,
            impersonated_by=token.impersonated_by,
        )


class TokenList(BaseModel):
    """A page of tokens; `next` is what `after` takes for the following one."""

    items: list[TokenOut]
    next: str | None


def masked(database_url: str) -> str:
    """The URL without its password and without the values of its query."""
    try:
        url = make_url(database_url)
    except ArgumentError:
        return MASK  # it is sealed, and could not be opened
    return url.set(query=dict.fromkeys(url.query, MASK)).render_as_string(hide_password=True)


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
