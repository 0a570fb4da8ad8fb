"""One call of the command: what all commands take, and how one is carried out."""

import asyncio
import json
import logging
import os
import sys
import traceback
from collections.abc import Awaitable, Callable, Iterable, Sequence
from contextlib import AbstractContextManager, redirect_stdout
from dataclasses import dataclass
from functools import cached_property, partial
from inspect import Parameter, Signature, iscoroutinefunction, signature
from typing import Annotated, Any, Concatenate, NoReturn, ParamSpec, TextIO, TypeVar

import typer
from rich.markup import escape

from ..audit import acting_as
from ..tenancy import Tenancy
from .application import tenancy_at
from .printing import one_line, write_lines, write_table
from .progress import Step, progress

PROGRAM = "fastapi-tenancy"
INTERRUPTED = 130  # the exit status, as shells tell it: 128 and the number of the signal

_PANEL = "Options on either side of the command"

P = ParamSpec("P")
T = TypeVar("T")


@dataclass
class Call:
    """What was given on either side of the command, and where its answer goes.

    Attributes:
        where: the application's Tenancy, as MODULE:ATTRIBUTE.
        json: whether the answer is JSON.
        actor: who acts.
        out: the standard output; `sys.stdout` is the standard error meanwhile, so that nothing else gets in between.
    """

    where: str | None
    json: bool
    actor: str | None
    out: TextIO

    @cached_property
    def tenancy(self) -> Tenancy:
        tenancy = tenancy_at(self.where)
        tenancy.upkeep = False  # that is for those who stay
        return tenancy

    def run(self, work: Callable[[], Awaitable[T]]) -> T:
        """What `work` gives while the Tenancy is open."""
        tenancy = self.tenancy  # first, as its module may run a loop of its own

        async def run() -> T:
            async with tenancy:
                return await work()

        return asyncio.run(run())

    def answer(self, value: Any, *lines: str) -> None:
        """Print JSON, with the text of what is none; or the lines."""
        if self.json:
            self.out.write(json.dumps(value, default=str) + "\n")
            self.out.flush()
        else:
            write_lines(self.out, lines)

    def table(self, value: Any, columns: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
        """Print JSON, or a table."""
        if self.json:
            self.answer(value)
        else:
            write_table(self.out, columns, rows)

    def progress(self, title: str) -> AbstractContextManager[Step]:
        return progress(self.out, title, quiet=self.json)


def where_in(context: typer.Context) -> str | None:
    """The MODULE:ATTRIBUTE that was given, or is in the environment."""
    given: str | None = context.meta.get("app") or os.environ.get("TENANCY_APP")
    return given


def command(
    group: typer.Typer, name: str, *examples: str
) -> Callable[[Callable[Concatenate[Call, P], T]], Callable[Concatenate[Call, P], T]]:
    """Make a function a command; one that is `async` is called while the Tenancy is open.

    Args:
        group: where the command belongs.
        name: of the command.
        examples: what follows the program's name, for `--help`.
    """

    def register(body: Callable[Concatenate[Call, P], T]) -> Callable[Concatenate[Call, P], T]:
        def call(context: typer.Context, **given: Any) -> None:
            own = {name: value for name, value in given.items() if name not in _NAMES}
            work: Callable[..., Any] = partial(body, **own)
            _carry_out(context, (lambda call: call.run(partial(work, call))) if iscoroutinefunction(body) else work)

        _, *own = signature(body, eval_str=True).parameters.values()
        context = Parameter("context", Parameter.KEYWORD_ONLY, annotation=typer.Context)
        call.__doc__ = body.__doc__
        typed = _taking([context, *(each.replace(kind=Parameter.KEYWORD_ONLY) for each in own), *FOR_ALL], call)
        group.command(name, epilog=_epilog(examples))(typed)
        return body

    return register


def group(name: str, text: str) -> typer.Typer:
    """A group of commands, which takes what all commands take as well."""
    made = typer.Typer(name=name, help=text, no_args_is_help=True)

    def nothing(**_: Any) -> None: ...

    made.callback()(_taking(FOR_ALL, nothing))
    return made


def _taking(parameters: Sequence[Parameter], function: Callable[..., None]) -> Callable[..., None]:
    """The function, of which typer sees these parameters."""
    function.__signature__ = Signature(parameters)  # type: ignore[attr-defined]  # of all functions, by PEP 362
    function.__annotations__ = {each.name: each.annotation for each in parameters}
    return function


def _remember(context: typer.Context, option: typer.CallbackParam, value: Any) -> None:
    if value:  # one that is not given here leaves what was given on the other side of the command
        context.meta[str(option.name)] = value


def _for_all(name: str, kind: Any, default: Any, text: str, metavar: str | None = None) -> Parameter:
    option = typer.Option(
        f"--{name}", help=text, metavar=metavar, callback=_remember, show_default=False, rich_help_panel=_PANEL
    )
    return Parameter(name, Parameter.KEYWORD_ONLY, default=default, annotation=Annotated[kind, option])


FOR_ALL = [
    _for_all("app", str | None, None, "Where the Tenancy is; or TENANCY_APP.", "MODULE:ATTRIBUTE"),
    _for_all("json", bool, False, "Print JSON."),
    _for_all("actor", str | None, None, "Who acts, for the audit trail; or TENANCY_ACTOR.", "NAME"),
    _for_all("traceback", bool, False, "Show where an error comes from."),
]
_NAMES = {each.name for each in FOR_ALL}


def _carry_out(context: typer.Context, body: Callable[[Call], Any]) -> None:
    call = Call(
        where_in(context),
        json=context.meta.get("json", False),
        actor=context.meta.get("actor") or os.environ.get("TENANCY_ACTOR") or None,
        out=sys.stdout,
    )
    # What the application does not handle goes to no handler of last resort, whose lines would stand among ours.
    logging.getLogger("fastapi_tenancy").addHandler(logging.NullHandler())
    try:
        with redirect_stdout(sys.stderr), acting_as(call.actor):
            body(call)
    except (typer.BadParameter, typer.Exit, BrokenPipeError):
        raise  # typer knows what to do
    except (KeyboardInterrupt, typer.Abort):
        fail("interrupted", INTERRUPTED)
    except Exception as error:  # noqa: BLE001 - the edge of the process, whatever the application raises
        if context.meta.get("traceback"):
            traceback.print_exc()
        fail(one_line(error), 1)


def fail(line: str, code: int) -> NoReturn:
    """End with one line on stderr."""
    sys.stderr.write(f"{PROGRAM}: {line}\n")
    raise typer.Exit(code)


def _epilog(examples: Sequence[str]) -> str:
    return "\n\n".join(["Examples:", *(f"{PROGRAM} {escape(each)}" for each in examples)])
