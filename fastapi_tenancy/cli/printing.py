"""What is written to a terminal, a pipe or a file: lines, tables, and one line for an error."""

from collections.abc import Iterable, Sequence
from typing import TextIO

from rich.console import Console
from rich.table import Table
from rich.text import Text
from sqlalchemy.exc import SQLAlchemyError

from ..errors import TenancyError


class FailureError(Exception):
    """The command did not do what it was told to; the message is its one line on stderr."""


def one_line(error: BaseException) -> str:
    """What went wrong; never the SQL nor its parameters, which may be secret."""
    # SQLAlchemy's own text goes on with the statement, its parameters and a link.
    text = error.args[0] if isinstance(error, SQLAlchemyError) and error.args else error
    line = printable(" ".join(str(text).split()))
    if isinstance(error, TenancyError | FailureError):
        return line
    return f"{type(error).__name__}: {line}" if line else type(error).__name__


def printable(text: str) -> str:
    """The text without characters that a terminal obeys: a tenant's name is what somebody typed at a sign-up."""
    return "".join(each if each.isprintable() else ascii(each)[1:-1] for each in text)


def write_lines(out: TextIO, lines: Iterable[str]) -> None:
    out.writelines(f"{printable(line)}\n" for line in lines)
    out.flush()


def write_table(out: TextIO, columns: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """A table on a terminal; elsewhere a line for each row, with tabs between its cells."""
    if not out.isatty():
        # Printable first: a tab in a cell would be one cell more.
        out.writelines("\t".join(map(printable, row)) + "\n" for row in rows)
        out.flush()
        return
    table = Table(*columns, box=None, header_style="bold", pad_edge=False)
    for row in rows:
        table.add_row(*(Text(printable(cell)) for cell in row))
    Console(file=out).print(table)
