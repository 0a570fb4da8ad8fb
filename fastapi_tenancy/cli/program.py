"""The program `fastapi-tenancy`: its groups of commands, and how it is called."""

from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

import typer

from . import inside  # noqa: F401 - its commands join those of tenants
from .audit import audit
from .call import PROGRAM, group
from .diagnosis import diagnosis
from .domains import domains
from .fleet import fleet, pool
from .keeping import keeping
from .migrating import migrating, migrations
from .tenants import tenants
from .tokens import tokens

_WRONG_CALL = 2

program = group(PROGRAM, "Administer the tenants of an application.")
for _each in (tenants, domains, tokens, migrations, migrating, pool, fleet, diagnosis, keeping, audit):
    program.add_typer(_each)


def main(arguments: Sequence[str] | None = None) -> int:
    """Carry out a command.

    Args:
        arguments: without the program's name; None for those of the process.

    Returns:
        The exit status: 0; 1 where it failed, with one line on stderr; 130 where it was interrupted; or the one of the
        program that it ran.

    Raises:
        SystemExit: with 2, for a wrong call.
    """
    try:
        _built()(args=arguments, prog_name=PROGRAM)
    except SystemExit as ended:
        if ended.code == _WRONG_CALL:
            raise
        return int(ended.code or 0)
    return 0


@cache
def _built() -> Callable[..., Any]:
    return typer.main.get_command(program)
