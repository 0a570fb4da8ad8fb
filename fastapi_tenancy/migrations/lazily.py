"""Alembic, imported when it is first needed: it takes a tenth of a second, and not every deployment has it."""

from functools import cache
from importlib import import_module
from typing import Any

from ..errors import ConfigurationError


@cache
def alembic() -> Any:
    """The package, with all of its modules that are used here.

    Raises:
        ConfigurationError: it is not installed.
    """
    try:
        for module in ("autogenerate", "config", "migration", "operations", "script"):
            import_module(f"alembic.{module}")
        return import_module("alembic")
    except ModuleNotFoundError as error:
        raise ConfigurationError(
            "migrations need Alembic; install the extra from the checkout: pip install '.[migrations]'"
        ) from error
