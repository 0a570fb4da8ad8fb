"""The commands that run something inside a tenant: a program, a function of the application, or a prompt."""

from collections.abc import Sequence
from contextlib import redirect_stdout
from functools import partial
from typing import Annotated, Any

import typer

from ..fleet import Outcome
from ..tenant import TenantStatus
from .arguments import Identifier, Key
from .call import Call, command
from .printing import FailureError, one_line
from .running import StatusError, call_function, function_at, run_program
from .shell import interact
from .tenants import every_tenant, tenants

AllowInactive = Annotated[bool, typer.Option("--allow-inactive", help="Also if it is not active.", show_default=False)]


@command(
    tenants,
    "run",
    "tenants run acme -- python report.py --month 5",
    "tenants run acme --call jobs:send_invoices 2026-05",
    "tenants run --all -- ./nightly.sh",
)
def run_inside(
    call: Call,
    words: Annotated[
        list[str] | None, typer.Argument(metavar="ID -- COMMAND [ARGUMENT]...", show_default=False)
    ] = None,
    function: Annotated[
        str | None,
        typer.Option("--call", metavar="MODULE:CALLABLE", help="Call it with the tenant's profile and the arguments."),
    ] = None,
    everywhere: Annotated[
        bool, typer.Option("--all", help="In each active tenant; then ID is left out.", show_default=False)
    ] = False,
    workers: Annotated[int, typer.Option(min=1, help="In how many tenants --all --call is at once.")] = 10,
    allow_inactive: AllowInactive = False,
    key: Key = None,
) -> None:
    """Run a program with TENANCY_TENANT and TENANCY_APP in its environment, or call a function of the application.

    A program's exit status is passed on; with --all it is 1 where any failed. With --json, what the program or the
    function prints goes to stderr.
    """
    given = list(words or ())
    if everywhere and (allow_inactive or key):
        raise typer.BadParameter("--all goes to the active tenants, and gives no key")
    if not given and not everywhere:
        raise typer.BadParameter("name a tenant, or give --all")
    identifier = None if everywhere else given.pop(0)
    if function is not None:
        use = partial(call.tenancy.use, key=key, allow_inactive=allow_inactive)
        _answer(call, call_function(call, function_at(function, given), identifier, use, workers), identifier)
    elif given:
        named = call.run(lambda: _named(call, identifier, allow_inactive=allow_inactive))
        _answer(call, [run_program(call, each, given) for each in named], identifier)
    else:
        raise typer.BadParameter("say what to run: tenants run acme -- COMMAND, or --call MODULE:CALLABLE")


@command(tenants, "shell", "tenants shell acme", "tenants shell acme < mend.py")
def shell(call: Call, identifier: Identifier, allow_inactive: AllowInactive = False, key: Key = None) -> None:
    """Open a Python prompt inside a tenant, with `tenant`, `profile`, `session` and the models; `await` works."""
    tenancy = call.tenancy  # what its module prints is no answer
    with redirect_stdout(call.out):
        interact(tenancy, identifier, key=key, allow_inactive=allow_inactive)


async def _named(call: Call, identifier: str | None, *, allow_inactive: bool) -> Sequence[str]:
    if identifier is None:
        return [each.identifier async for each in every_tenant(call.tenancy, TenantStatus.ACTIVE)]
    tenant = await call.tenancy.get_tenant(identifier)
    return [(tenant if allow_inactive else await call.tenancy.directory.admitted(tenant)).identifier]


def _answer(call: Call, outcomes: Sequence[Outcome[Any]], alone: str | None) -> None:
    shown = [(each.tenant, each.value, each.error and one_line(each.error)) for each in outcomes]
    if alone is None:
        lines = [f"{tenant}: {error or ('done' if value is None else value)}" for tenant, value, error in shown]
    else:
        lines = [line for _, value, _ in shown if value is not None for line in str(value).splitlines()]
    call.answer([{"tenant": tenant, "value": value, "error": error} for tenant, value, error in shown], *lines)
    failed = [each for each in outcomes if each.error is not None]
    if alone is not None and failed and isinstance(failed[0].error, StatusError):
        raise typer.Exit(failed[0].error.passed_on)
    if failed:
        raise FailureError(f"{len(failed)} of {len(outcomes)} failed: {', '.join(each.tenant for each in failed)}")
