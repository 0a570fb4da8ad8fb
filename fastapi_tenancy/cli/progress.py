"""How far long work is: a bar on a terminal, lines elsewhere."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol, TextIO

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, Task, TextColumn, TimeRemainingColumn
from rich.text import Text

from .printing import printable, write_lines


class Step(Protocol):
    """Told of each step."""

    def __call__(self, done: int, total: int | None, line: str, *, failed: bool = False) -> None:
        """`done` of `total` are done, the last of them as `line` says."""


class _Rate(ProgressColumn):
    def render(self, task: Task) -> Text:
        return Text("" if task.speed is None else f"{task.speed:.1f}/s")


@contextmanager
def progress(out: TextIO, title: str, *, quiet: bool) -> Iterator[Step]:
    """Show the steps in a bar on stderr, if that is a terminal; else print them to `out`, unless `quiet`."""
    if not sys.stderr.isatty():
        yield _lines(out, quiet=quiet)
        return
    columns = (TextColumn(title), BarColumn(), MofNCompleteColumn(), _Rate(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(title, total=None)

        def step(done: int, total: int | None, line: str, *, failed: bool = False) -> None:
            bar.update(task, completed=done, total=total)
            if failed:
                bar.console.print(Text(printable(line), style="red"))

        yield step


def _lines(out: TextIO, *, quiet: bool) -> Step:
    def step(done: int, total: int | None, line: str, *, failed: bool = False) -> None:
        if not quiet:
            of = "" if total is None else f"/{total}"
            write_lines(out, [f"{done}{of} {line}"])

    return step
