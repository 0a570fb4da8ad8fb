"""The commands for tenants' bearer tokens."""

from typing import Annotated

import typer

from ..multitenant.admin.schemas import TokenOut
from .arguments import Identifier, Key
from .call import Call, command, group

_PAGE = 500  # tokens that are listed at once

tokens = group("tokens", "List, make and revoke tenants' tokens.")


@command(tokens, "list", "tokens list acme", "tokens list acme --json")
async def list_tokens(call: Call, identifier: Identifier) -> None:
    """List a tenant's tokens, without what makes them tokens."""
    page = await call.tenancy.tokens.list(identifier, _PAGE)
    found = list(page.items)
    while page.next is not None:
        page = await call.tenancy.tokens.list(identifier, _PAGE, page.next)
        found += page.items
    rows = ((each.token_id, each.name, " ".join(sorted(each.scopes)), str(each.expires_at or "")) for each in found)
    call.table(
        [TokenOut.of(each).model_dump(mode="json") for each in found], ("token_id", "name", "scopes", "expires"), rows
    )


@command(
    tokens,
    "create",
    'tokens create acme --name "Ada\'s laptop" --scope notes:read --expires-in 86400',
    "tokens create acme --json",
)
async def create_token(
    call: Call,
    identifier: Identifier,
    name: Annotated[str, typer.Option(help="What people call it.")] = "auth token",
    scopes: Annotated[list[str] | None, typer.Option("--scope", help="What it allows. Can be repeated.")] = None,
    expires_in: Annotated[
        int | None, typer.Option("--expires-in", metavar="SECONDS", min=1, help="Until revoked by default.")
    ] = None,
    opaque: Annotated[
        bool, typer.Option("--opaque", help="Make a random text, not a signed one.", show_default=False)
    ] = False,
    key: Key = None,
) -> None:
    """Make a token for a tenant. It is shown here and never again."""
    issued = await call.tenancy.tokens.create(
        identifier,
        name=name,
        scopes=scopes or (),
        expires_in=expires_in,
        opaque=opaque,
        key=key,
    )
    call.answer(
        {"token_id": issued.token_id, "token": issued.token}, f"token_id: {issued.token_id}", f"token: {issued.token}"
    )


@command(tokens, "revoke", "tokens revoke acme 8d3f4a52c1b94d6c9c0e4f6a1b2c3d4e")
async def revoke_token(
    call: Call,
    identifier: Identifier,
    token_id: Annotated[
        str, typer.Argument(metavar="TOKEN_ID", help="Its id; `tokens list` shows it.", show_default=False)
    ],
) -> None:
    """Refuse a token from now on."""
    await call.tenancy.tokens.revoke(identifier, token_id)
    call.answer({"token_id": token_id}, f"revoked {token_id}")
