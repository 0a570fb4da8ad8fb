"""Run a program, or call a function of the application, for one tenant or for all."""

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager, nullcontext, redirect_stdout
from inspect import isawaitable, iscoroutinefunction
from typing import Any

import typer

from ..fleet import Outcome
from ..multitenant import Profile
from .application import found_at
from .call import Call
from .printing import FailureError

InTenant = Callable[[Profile], Any]
Use = Callable[[str], AbstractAsyncContextManager[Profile]]


class StatusError(FailureError):
    """A program ended with another status than 0.

    Attributes:
        passed_on: the status as a shell would tell it, where a signal has ended the program, too.
    """

    def __init__(self, status: int) -> None:
        self.passed_on = status if status > 0 else 128 - status
        super().__init__(f"exit status {self.passed_on}")


def run_program(call: Call, identifier: str, words: Sequence[str]) -> Outcome[None]:
    """Wait for a program that is told of a tenant in its environment.

    Raises:
        OSError: it cannot be run.
        KeyboardInterrupt: Ctrl-C has ended it.
    """
    environment = {**os.environ, "TENANCY_TENANT": identifier, "TENANCY_APP": str(call.where)}
    output = sys.stderr.fileno() if call.json else None
    # Ctrl-C goes to the program as well, and what it means there is the program's own affair.
    before = signal.signal(signal.SIGINT, lambda *_: None)
    try:
        status = subprocess.run(words, env=environment, stdout=output, check=False).returncode  # noqa: S603 - as typed
    finally:
        signal.signal(signal.SIGINT, before)
    if status == -signal.SIGINT:
        raise KeyboardInterrupt
    return Outcome(identifier, error=StatusError(status) if status else None)


def call_function(
    call: Call, function: InTenant, identifier: str | None, use: Use, workers: int
) -> Sequence[Outcome[Any]]:
    """Call a function in a tenant, whose failure is raised; or, where none is named, in all active tenants."""

    async def ask() -> Sequence[Outcome[Any]]:
        if identifier is None:
            return await call.tenancy.gather(function, limit=workers)
        async with use(identifier) as profile:
            value = function(profile) if iscoroutinefunction(function) else await asyncio.to_thread(function, profile)
            return [Outcome(identifier, await value if isawaitable(value) else value)]

    with nullcontext() if call.json else redirect_stdout(call.out):
        return call.run(ask)


def function_at(where: str, words: Sequence[str]) -> InTenant:
    """The application's function, called with a profile and the words."""
    function = found_at(where, "--call")
    if not callable(function):
        raise typer.BadParameter(f"--call {where} is a {type(function).__name__}; name a function")
    if not iscoroutinefunction(function):
        return lambda profile: function(profile, *words)

    async def bound(profile: Profile) -> Any:
        return await function(profile, *words)

    return bound
