"""Run a program in a fork of a process that has imported the library already, which is much faster than a new Python.

Run as a program itself, it reads an order from each line, in JSON, and answers with what became of it.
"""

import asyncio
import json
import os
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from subprocess import PIPE, CompletedProcess, Popen
from tempfile import TemporaryDirectory, TemporaryFile
from typing import IO, Any, NoReturn

from support import make_tenancy


class Forking:
    def __init__(self, server: Popen[str]) -> None:
        self._server = server

    def run(self, program: str | Path, *arguments: str, paths: tuple[str, ...] = ()) -> CompletedProcess[str]:
        """What became of a program, or of a file with one, that found modules in `paths` first."""
        text, name = (program.read_text("utf-8"), str(program)) if isinstance(program, Path) else (program, "<string>")
        order = {"program": text, "argv": [name, *arguments], "paths": paths}
        assert self._server.stdin is not None
        assert self._server.stdout is not None
        self._server.stdin.write(json.dumps(order) + "\n")
        self._server.stdin.flush()
        return CompletedProcess(order["argv"], **json.loads(self._server.stdout.readline()))


@contextmanager
def forking() -> Iterator[Forking]:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    with Popen([sys.executable, __file__], env=environment, stdin=PIPE, stdout=PIPE, text=True) as server:
        yield Forking(server)


def _ended(order: dict[str, Any]) -> dict[str, Any]:
    with TemporaryFile("w+", encoding="utf-8") as output, TemporaryFile("w+", encoding="utf-8") as errors:
        child = os.fork()
        if not child:
            _become(order, output, errors)
        _, status = os.waitpid(child, 0)
        said = {"stdout": output, "stderr": errors}
        return {"returncode": os.waitstatus_to_exitcode(status), **{name: _all_of(file) for name, file in said.items()}}


def _all_of(file: IO[str]) -> str:
    file.seek(0)
    return file.read()


def _become(order: dict[str, Any], output: IO[str], errors: IO[str]) -> NoReturn:
    """Go on as Python would that was started with the program."""
    code = 1
    try:
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        os.dup2(output.fileno(), 1)
        os.dup2(errors.fileno(), 2)
        sys.argv[:], sys.path[:0] = order["argv"], order["paths"]
        main = {"__name__": "__main__", "__file__": sys.argv[0]}
        exec(compile(order["program"], sys.argv[0], "exec"), main)  # noqa: S102 - the tests' own
        code = 0
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else int(end.code is not None)
        if isinstance(end.code, str):
            sys.stderr.write(f"{end.code}\n")
    except BaseException:  # noqa: BLE001 - the edge of the process
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


async def used_once() -> None:
    """What this imports and compiles, no program needs to."""
    with TemporaryDirectory() as folder:
        async with make_tenancy(Path(folder)) as tenancy:
            await tenancy.create_tenant("acme")
            await tenancy.delete_tenant("acme", drop_data=True)


def main() -> None:
    asyncio.run(used_once())
    for line in sys.stdin:
        sys.stdout.write(json.dumps(_ended(json.loads(line))) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
