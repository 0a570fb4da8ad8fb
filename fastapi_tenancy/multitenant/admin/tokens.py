"""The admin API's routes of the tenants' tokens."""

from typing import Annotated

from fastapi import APIRouter, Header, Query, Request

from ...errors import (
    InvalidHeaderError,
    InvalidIdentifierError,
    MediaTypeError,
    TenantConflictError,
    TenantNotFoundError,
    TokenNotFoundError,
    VetoedError,
    WrongTenantKeyError,
)
from ..keys import KEY_HEADER, key_in_header
from .answers import refusals
from .base import ManagesTenants, Named, PageSize
from .schemas import TokenCreated, TokenIn, TokenList, TokenOut

# Declared for the document; it is read from the scope, since FastAPI takes the last of several.
TenantKey = Annotated[
    str | None, Header(alias=KEY_HEADER, description="Of a tenant whose key is not stored; the token then carries it.")
]
TokenId = Annotated[str, Query(pattern="^[0-9a-f]{32}$")]

_NAMED = (InvalidIdentifierError, TenantNotFoundError)


def add_token_routes(router: APIRouter, tenancy: ManagesTenants) -> None:
    @router.get("/tenants/{identifier}/tokens", responses=refusals(*_NAMED))
    async def list_tokens(identifier: Named, limit: PageSize = 100, after: TokenId | None = None) -> TokenList:
        page = await tenancy.tokens.list(identifier, limit, after)
        return TokenList(items=[TokenOut.of(token) for token in page.items], next=page.next)

    @router.post(
        "/tenants/{identifier}/tokens",
        status_code=201,
        responses=refusals(
            *(*_NAMED, InvalidHeaderError, WrongTenantKeyError, TenantConflictError, VetoedError, MediaTypeError),
            body=True,
        ),
    )
    async def create_token(identifier: Named, body: TokenIn, request: Request, _: TenantKey = None) -> TokenCreated:
        key = key_in_header(request.scope)
        issued = await tenancy.tokens.create(
            identifier, name=body.name, scopes=body.scopes, expires_in=body.expires_in, key=key
        )
        return TokenCreated(token_id=issued.token_id, token=issued.token)

    @router.delete(
        "/tenants/{identifier}/tokens/{token_id}",
        status_code=204,
        responses=refusals(*_NAMED, TokenNotFoundError, VetoedError),
    )
    async def revoke_token(identifier: Named, token_id: str) -> None:
        await tenancy.tokens.revoke(identifier, token_id)
