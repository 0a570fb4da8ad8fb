"""The arguments and options that several commands take."""

import asyncio
import json
import sys
from collections.abc import Sequence
from contextlib import redirect_stdout, suppress
from typing import Annotated

import typer

from ..errors import InvalidIdentifierError, TenantNotFoundError
from ..tenancy import Tenancy
from .application import tenancy_at
from .call import where_in
from .values import from_stdin

_OFFERED = 100  # identifiers, at most, when a shell asks


def _offered(context: typer.Context, incomplete: str) -> Sequence[str]:
    try:
        with redirect_stdout(sys.stderr):
            return asyncio.run(_beginning_with(incomplete, tenancy_at(where_in(context))))
    except Exception:  # noqa: BLE001 - the edge of the process: a shell that asks for words is not told of errors
        return []


async def _beginning_with(text: str, tenancy: Tenancy) -> Sequence[str]:
    after = text.rstrip("-") or None  # beyond it come the identifiers that begin with it
    offered = []
    async with tenancy:
        if text:
            with suppress(InvalidIdentifierError, TenantNotFoundError):
                offered.append((await tenancy.get_tenant(text)).identifier)
        beyond = await tenancy.list_tenants(_OFFERED, after)
    return [*offered, *(each.identifier for each in beyond.items if each.identifier.startswith(text))]


def _typed(context: typer.Context, option: typer.CallbackParam, value: str | None) -> str | None:
    # While the options are read, as there is no event loop yet, which would keep Ctrl-C from who is asked.
    return from_stdin(option.opts[0]) if value == "-" and not context.resilient_parsing else value


def _typed_pairs(context: typer.Context, option: typer.CallbackParam, pairs: list[str] | None) -> list[str] | None:
    def typed(pair: str) -> str:
        key, _, value = pair.partition("=")
        return f"{key}={json.dumps(from_stdin(f'{option.opts[0]} {key}'))}" if value == "-" else pair

    return pairs if pairs is None or context.resilient_parsing else [typed(pair) for pair in pairs]


Identifier = Annotated[
    str, typer.Argument(metavar="ID", help="The tenant's identifier.", autocompletion=_offered, show_default=False)
]
Key = Annotated[
    str | None,
    typer.Option(
        "--key", metavar="KEY", help="Of a tenant whose key is not stored; - reads it from stdin.", callback=_typed
    ),
]
Keys = Annotated[
    list[str] | None,
    typer.Option(
        "--key",
        metavar="ID=KEY",
        help="Of a tenant whose key is not stored; - reads it from stdin. Can be repeated.",
        callback=_typed_pairs,
    ),
]
Set = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="KEY=VALUE",
        help="A setting: JSON, else text; KEY may be dotted, and - reads a text from stdin. Can be repeated.",
        callback=_typed_pairs,
    ),
]
DatabaseURL = Annotated[
    str | None,
    typer.Option(
        "--database-url",
        metavar="URL",
        help="Where it is kept, instead of the place derived from the settings; - reads it from stdin.",
        callback=_typed,
    ),
]
Manager = Annotated[
    str | None, typer.Option("--manager", help="What keeps it: basic, shared-profile, or a dotted path.")
]
Encrypted = Annotated[
    bool | None, typer.Option("--encrypted/--not-encrypted", help="Encrypt its data.", show_default=False)
]
Unmanaged = Annotated[bool, typer.Option("--unmanaged", help="Do not store its key.", show_default=False)]
