"""The command that says what is wrong with a deployment, and what mends it."""

import asyncio
from dataclasses import asdict

import typer

from .call import Call, command
from .printing import FailureError

diagnosis = typer.Typer()


@command(diagnosis, "doctor", "doctor", "doctor --json")
def doctor(call: Call) -> None:
    """Look for what is wrong, and say what mends it; changes nothing. It exits with 1 where something is an error."""
    found = asyncio.run(call.tenancy.doctor())  # not opened, as what is wrong may be that it cannot be
    lines = [
        line
        for each in found
        for line in (
            f"{each.severity} {each.check}{f' ({each.tenant})' if each.tenant else ''}: {each.message}",
            f"  mend it: {each.remedy}",
        )
    ]
    call.answer({"findings": [asdict(each) for each in found]}, *(lines or ["nothing is wrong"]))
    errors = sum(each.severity == "error" for each in found)
    if errors:
        raise FailureError("1 error was found" if errors == 1 else f"{errors} errors were found")
