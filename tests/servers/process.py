"""Run a server's programs for as long as the tests need them, never as root."""

import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

# Servers refuse to run as root, or should not.
_USER = {"user": "nobody"} if os.geteuid() == 0 else {}

_MEMORY = Path("/dev/shm")  # noqa: S108 - a folder of its own is made in it
_ENOUGH = 4 << 30  # bytes; a PostgreSQL database takes 8 million


@contextmanager
def working_folder(server: str) -> Iterator[Path]:
    """A folder that the server may write to, gone afterwards; in memory where there is enough of it.

    A disk that others use too makes CREATE DATABASE take 200 ms instead of 10.
    """
    memory = _MEMORY if _MEMORY.is_dir() and shutil.disk_usage(_MEMORY).free >= _ENOUGH else None
    with tempfile.TemporaryDirectory(prefix=f"tenancy-{server}-", dir=memory, ignore_cleanup_errors=True) as folder:
        if _USER:
            shutil.chown(folder, **_USER)
        yield Path(folder)


def installed(program: str) -> str | None:
    """Where the program is, also where only administrators look for it."""
    return shutil.which(program, path=os.pathsep.join((os.environ.get("PATH", ""), "/usr/sbin", "/usr/local/sbin")))


def may_run(program: Path) -> bool:
    """Whether the servers' user can read it: root's environment may lie where no other user may look."""
    return not _USER or all(part.stat().st_mode & 0o005 == 0o005 for part in (program, *program.parents))


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def run(folder: Path, *command: str | Path) -> None:
    """Run a program to its end; RuntimeError, with what it said, if it fails."""
    ended = subprocess.run(command, check=False, capture_output=True, text=True, cwd=folder, **_USER)
    if ended.returncode:
        raise RuntimeError(f"{command[0]} failed: {ended.stdout}{ended.stderr}")


@contextmanager
def serving(
    folder: Path, says: str, *command: str | Path, end: signal.Signals = signal.SIGKILL, seconds: float = 30
) -> Iterator[None]:
    """Run a server until the block is left, which is entered once its log `says` that it is ready.

    It is also ended where it does not become ready within `seconds`.
    """
    log = folder / "log"
    with log.open("wb") as output:
        server = subprocess.Popen(command, stdout=output, stderr=output, cwd=folder, **_USER)
        try:
            deadline = time.monotonic() + seconds
            # A port that answers is no sign: PostgreSQL's does, and then refuses for a while.
            while says not in log.read_text(errors="replace"):
                if server.poll() is not None or time.monotonic() > deadline:
                    raise RuntimeError(f"{command[0]} does not start: {log.read_text(errors='replace')}")
                time.sleep(0.005)
            yield
        finally:
            server.send_signal(end)
            server.wait(timeout=30)
