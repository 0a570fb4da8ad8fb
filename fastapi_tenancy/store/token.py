"""What is kept of a tenant's token, and what a store of tokens must do."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Protocol, runtime_checkable

from ..audit import AuditEntry
from ..errors import TenantConflictError

LAST_USE_EVERY = timedelta(minutes=1)

_TOKEN_ID = re.compile(r"[0-9a-f]{32}")


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenRecord:
    """One token of a tenant, without the token itself.

    Attributes:
        token_id: 32 hexadecimal digits, never reused; later tokens have greater ones.
        tenant_id: whose it is.
        name: what people call it.
        scopes: what it allows, in the application's own words.
        digest: SHA-256 of the token, in hexadecimal; no token can be made from it.
        created_at: UTC.
        expires_at: UTC; None for a token that is valid until it is revoked.
        last_used_at: UTC, to the minute; None for one that was never used.
        impersonated_by: the support person who uses it; None for a token of the tenant's own.
    """

    token_id: str
    tenant_id: str
    name: str
    scopes: frozenset[str]
    digest: str = field(repr=False)
    created_at: datetime
    expires_at: datetime | None = None
    last_used_at: datetime | None = None
    impersonated_by: str | None = None


@runtime_checkable
class TokenStore(Protocol):
    """The tenants' tokens. None outlives its tenant.

    `audit` holds entries only where the store is an `AuditStore`.
    """

    async def add_token(self, token: TokenRecord, *, audit: Sequence[AuditEntry] = ()) -> None:
        """Record a new token, and forget those of its tenant that have expired when it is created.

        Raises:
            TenantConflictError: the tenant is gone.
        """

    async def get_token(self, token_id: str) -> TokenRecord | None:
        """The record, also where the token has expired."""

    async def list_tokens(
        self, tenant_id: str, limit: int | None = None, after: str | None = None
    ) -> Sequence[TokenRecord]:
        """At most `limit` tokens of a tenant in the order of their ids, from the first one beyond `after`."""

    async def remove_token(self, tenant_id: str, token_id: str, *, audit: Sequence[AuditEntry] = ()) -> bool:
        """Forget a token; False, and no entry, if the tenant has none of that id."""

    async def exchange_token(self, token_id: str, successor: TokenRecord, *, audit: Sequence[AuditEntry] = ()) -> bool:
        """Put `successor` in the place of its tenant's token; False, and no entry, if that is gone.

        Of those who exchange one token at once, one succeeds.
        """

    async def note_token_uses(self, uses: Mapping[str, datetime]) -> None:
        """Record when tokens were used, by their ids; where less than a minute has passed since, the old use stays."""


def is_token_id(text: str) -> bool:
    return _TOKEN_ID.fullmatch(text) is not None


def no_tenant_for_token(token: TokenRecord) -> TenantConflictError:
    return TenantConflictError(f"the tenant {token.tenant_id} is gone, and can have no new token")
