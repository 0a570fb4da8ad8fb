"""Run measurements in the rival's own interpreter: fastapi-tenancy 0.5.0 from the index has our import name."""

import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

RIVAL = "fastapi-tenancy==0.5.0"
_VENV = Path(tempfile.gettempdir()) / "fastapi-tenancy-rival"


def rival_python(given: Path | None) -> Path:
    """The interpreter of a virtual environment that has the rival; made once, in the temporary folder."""
    if given is not None:
        return given
    python = _VENV / ("Scripts/python.exe" if sys.platform == "win32" else "bin/python")
    if not python.exists():
        subprocess.run([sys.executable, "-m", "venv", _VENV], check=True, capture_output=True)
    subprocess.run([python, "-m", "pip", "install", "-q", RIVAL, "aiosqlite"], check=True, capture_output=True)
    return python


def run_in(python: Path, script: str) -> Any:
    """What the script prints, as JSON. Isolated, from a folder without our package: else the import finds ours."""
    run = subprocess.run([python, "-I", "-c", script], stdout=subprocess.PIPE, check=True, cwd=tempfile.gettempdir())
    return json.loads(run.stdout)
