"""Administer tenants from a shell: `python -m fastapi_tenancy COMMAND --app MODULE:ATTRIBUTE`."""

import argparse
import asyncio
import importlib
import json
import logging
import os
import sys
from collections.abc import Sequence
from operator import attrgetter

from .tenancy import Tenancy


class _WrongCallError(Exception):
    """What was typed cannot be carried out."""


async def _reseal(tenancy: Tenancy, given: argparse.Namespace) -> None:
    async with tenancy:
        done = await tenancy.reseal()
    if given.json:
        _say(json.dumps({"resealed": done.resealed, "left": list(done.left)}))
    else:
        _say(f"resealed: {done.resealed}, left: {len(done.left)}")
    if done.left:
        raise RuntimeError(f"could not be opened with the encryption_keys that are listed: {', '.join(done.left)}")


_COMMANDS = {"reseal": (_reseal, "seal the store's secrets with the newest of encryption_keys")}


def main(arguments: Sequence[str] | None = None) -> int:
    """Carry out a command.

    Returns:
        The exit status: 0, or 1 where it failed, with one line on stderr; a wrong call exits with 2.
    """
    parser = _parser()
    given = parser.parse_args(arguments)
    # What the application does not handle goes to no handler of last resort, whose lines would stand among ours.
    logging.getLogger(__package__).addHandler(logging.NullHandler())
    try:
        asyncio.run(_COMMANDS[given.command][0](_loaded(given), given))
    except _WrongCallError as error:
        parser.error(str(error))
    except Exception as error:  # noqa: BLE001 - the edge of the process, whatever the application raises
        line = " ".join(str(error).split()) or type(error).__name__
        sys.stderr.write(f"fastapi-tenancy: {line}\n")
        return 1
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="fastapi-tenancy")
    _add_options(parser, app=os.environ.get("TENANCY_APP", ""), json=False)
    commands = parser.add_subparsers(dest="command", required=True)
    for name, (_, text) in _COMMANDS.items():
        # The options may stand on either side of the command: one that is not given here leaves what was given there.
        _add_options(commands.add_parser(name, help=text), app=argparse.SUPPRESS, json=argparse.SUPPRESS)
    return parser


def _add_options(parser: argparse.ArgumentParser, *, app: str, json: bool | str) -> None:
    parser.add_argument("--app", metavar="MODULE:ATTRIBUTE", default=app, help="where the Tenancy is; or TENANCY_APP")
    parser.add_argument("--json", action="store_true", default=json, help="print JSON")


def _loaded(given: argparse.Namespace) -> Tenancy:
    module, _, attribute = given.app.partition(":")
    if not module or not attribute:
        raise _WrongCallError("say where the Tenancy is: --app MODULE:ATTRIBUTE, or TENANCY_APP")
    try:
        found = attrgetter(attribute)(importlib.import_module(module))
    except (ModuleNotFoundError, AttributeError) as error:
        raise _WrongCallError(f"--app {given.app}: {error}") from error
    if not isinstance(found, Tenancy):
        raise _WrongCallError(f"--app {given.app} is a {type(found).__name__}; name a Tenancy")
    return found


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")


if __name__ == "__main__":
    sys.exit(main())
