"""The command `fastapi-tenancy`; imports typer and rich."""

from .program import main

__all__ = ["main"]
