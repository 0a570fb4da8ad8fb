"""Find what MODULE:ATTRIBUTE names, from the folder in which the command is called, as uvicorn does."""

import importlib
import sys
from operator import attrgetter
from pathlib import Path
from types import ModuleType
from typing import Any

import typer

from ..tenancy import Tenancy


def tenancy_at(where: str | None) -> Tenancy:
    """The application's Tenancy.

    Raises:
        typer.BadParameter: there is none.
    """
    if not where:
        raise typer.BadParameter("say where the Tenancy is: --app MODULE:ATTRIBUTE, or TENANCY_APP")
    found = found_at(where, "--app")
    if not isinstance(found, Tenancy):
        raise typer.BadParameter(f"--app {where} is a {type(found).__name__}; name a Tenancy")
    return found


def found_at(where: str, option: str) -> Any:
    """What the application calls so; what a module raises while it is imported is raised as it is.

    Args:
        where: MODULE:ATTRIBUTE, of which the attribute may be dotted.
        option: what it was given for.

    Raises:
        typer.BadParameter: there is no such module, or it has no such attribute.
    """
    name, _, attribute = where.partition(":")
    if not name or not attribute:
        raise typer.BadParameter(f"{option} {where}: name it as MODULE:ATTRIBUTE")
    module = _imported(name, f"{option} {where}")
    try:
        return attrgetter(attribute)(module)
    except AttributeError as error:
        raise typer.BadParameter(f"{option} {where}: {error}") from error


def _imported(name: str, given: str) -> ModuleType:
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.insert(0, here)
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        # Else the module is there, and misses another one: that is the application's own failure.
        if error.name is not None and f"{name}.".startswith(f"{error.name}."):
            raise typer.BadParameter(f"{given}: {error}") from error
        raise
