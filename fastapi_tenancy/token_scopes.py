"""What an endpoint asks of the request's token: its record, and the scopes that it has to have."""

from typing import Annotated, Protocol, cast

from fastapi import Security, params
from fastapi.security import SecurityScopes
from starlette.requests import HTTPConnection

from .dependencies import CurrentTenant
from .errors import InvalidTokenError, TokenScopeError
from .multitenant import MultitenantTokenManager
from .resolvers.token import bearer_token
from .store import TokenRecord


class _HasTokens(Protocol):
    @property
    def tokens(self) -> MultitenantTokenManager: ...


async def current_token(connection: HTTPConnection, tenant: CurrentTenant, needed: SecurityScopes) -> TokenRecord:
    token = bearer_token(connection.scope)
    if token is None:
        raise InvalidTokenError("this endpoint needs a token of the tenant, and the request has none")
    tenancy = cast("_HasTokens", connection.scope["state"]["tenancy"])
    record = await tenancy.tokens.verify(token)
    if record.tenant_id != tenant.id:  # another resolver has named the tenant
        raise InvalidTokenError("the token is another tenant's than the one that the request names")
    missing = sorted(set(needed.scopes) - record.scopes)
    if missing:
        raise TokenScopeError(f"the token {record.name!r} lacks the scopes {', '.join(missing)}")
    return record


CurrentToken = Annotated[TokenRecord, Security(current_token)]


def require_scope(*scopes: str) -> params.Security:
    """For `dependencies=[require_scope("notes:write")]`: a request needs a token that has all of the scopes.

    Raises:
        InvalidTokenError: when a request has no token of its tenant.
        TokenScopeError: when the token lacks one.
    """
    return cast("params.Security", Security(current_token, scopes=scopes))
