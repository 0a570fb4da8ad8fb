"""Run measurements in the rival's own interpreter: fastapi-tenancy 0.5.0 from the index has our import name."""

import json
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

RIVAL = "fastapi-tenancy==0.5.0"
_NEEDS = (RIVAL, "aiosqlite", "asyncpg", "psycopg[binary]", "uvicorn")
_VENV = Path(tempfile.gettempdir()) / "fastapi-tenancy-rival"


def rival_python(given: Path | None) -> Path:
    """The interpreter of a virtual environment that has the rival; made once, in the temporary folder."""
    if given is not None:
        return given
    python = _VENV / ("Scripts/python.exe" if sys.platform == "win32" else "bin/python")
    if not python.exists():
        subprocess.run([sys.executable, "-m", "venv", _VENV], check=True, capture_output=True)
    subprocess.run([python, "-m", "pip", "install", "-q", *_NEEDS], check=True, capture_output=True)
    return python


def rival_if_there(given: Path | None) -> Path | None:
    """As `rival_python`; says so and gives None where it cannot be had."""
    try:
        return rival_python(given)
    except (OSError, subprocess.CalledProcessError) as error:
        print(f"{RIVAL} is not measured: {error}")
        return None


def run_in(python: Path, script: str) -> Any:
    """What the script prints, as JSON. Isolated, from a folder without our package: else the import finds ours."""
    run = subprocess.run([python, "-I", "-c", script], stdout=subprocess.PIPE, check=True, cwd=tempfile.gettempdir())
    return json.loads(run.stdout)


@contextmanager
def asking(python: Path, script: str) -> Iterator[Callable[[int], Any]]:
    """Ask a script that answers each number it reads with a line of JSON, until its input ends; isolated likewise.

    Raises:
        OSError: it ended instead, having said why on stderr.
    """
    with subprocess.Popen(
        [python, "-I", "-c", script],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=tempfile.gettempdir(),
    ) as process:

        def ask(number: int) -> Any:
            print(number, file=process.stdin, flush=True)
            answer = process.stdout.readline() if process.stdout else ""
            if not answer:
                raise OSError(f"{RIVAL} gave no answer")
            return json.loads(answer)

        yield ask
