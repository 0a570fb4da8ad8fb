"""Read what options hold: settings as KEY=VALUE, and secrets that no list of processes shall show."""

import json
import sys
from collections.abc import Iterable, Mapping
from functools import reduce
from getpass import getpass
from typing import Any, NoReturn

import typer

from ..secret_settings import merged
from ..tenant import plain
from .call import INTERRUPTED, fail


def from_stdin(what: str) -> str:
    """A line of standard input; a terminal is asked for it, without showing it.

    Raises:
        typer.BadParameter: there is no more line.
        typer.Exit: Ctrl-C was pressed.
    """
    if sys.stdin.isatty():
        try:
            return getpass(f"{what}: ", stream=sys.stderr)
        except KeyboardInterrupt:
            fail("interrupted", INTERRUPTED)
    line = sys.stdin.readline()
    if not line:
        raise typer.BadParameter(f"{what} is -, and standard input has no line for it")
    return line.rstrip("\r\n")


def given_settings(pairs: Iterable[str]) -> dict[str, Any]:
    """The settings that `--set KEY=VALUE` names; `smtp.host` is the `host` in `smtp`.

    A value is JSON where it can be read as such, else a text.

    Raises:
        typer.BadParameter: one of them cannot be read.
    """
    return reduce(merged, map(_setting, pairs), {})


def given_keys(pairs: Iterable[str]) -> dict[str, str]:
    """The tenants' keys that `--key ID=KEY` names.

    Raises:
        typer.BadParameter: one of them cannot be read.
    """
    keys = {}
    for pair in pairs:
        identifier, equals, key = pair.partition("=")
        if not equals:
            raise typer.BadParameter("write --key ID=KEY, or ID=- to give the key on stdin")
        keys[identifier] = str(_value(key))
    return keys


def without(settings: Mapping[str, Any], key: str) -> dict[str, Any]:
    """The settings without `key`, which may be dotted; the same if they have none."""
    first, _, rest = key.partition(".")
    left: dict[str, Any] = plain(settings)
    inner = left.get(first)
    if not rest:
        left.pop(first, None)
    elif isinstance(inner, Mapping):
        left[first] = without(inner, rest)
    return left


def _setting(pair: str) -> dict[str, Any]:
    key, equals, text = pair.partition("=")
    names = key.split(".")
    if not equals or not all(names):
        raise typer.BadParameter(f"--set {key}: write KEY=VALUE, such as plan=pro or smtp.port=25")
    *outer, last = names
    setting = {last: _value(text)}
    for name in reversed(outer):
        setting = {name: setting}
    return setting


def _value(text: str) -> Any:
    try:
        return json.loads(text, parse_constant=_no_json)
    except ValueError:
        return text


def _no_json(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is no JSON")
