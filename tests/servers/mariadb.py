"""A MariaDB server: one that is named, or one that is started from the machine's binaries."""

import os
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from sqlalchemy import make_url

from .databases import administered
from .process import free_port, installed, run, serving, working_folder

# Small, and nothing has to survive a crash.
_SMALL = (
    "--innodb-buffer-pool-size=16M",
    "--innodb-log-file-size=4M",
    "--innodb-flush-log-at-trx-commit=0",
    "--innodb-doublewrite=0",
    "--loose-innodb-flush-method=nosync",
    "--skip-name-resolve",
)


@contextmanager
def mariadb() -> Iterator[str]:
    """The URL of an administrator on TENANCY_TEST_MYSQL_URL, else on a server that is started here; no database."""
    if url := os.environ.get("TENANCY_TEST_MYSQL_URL"):
        named = make_url(url).set(drivername="mysql+asyncmy").render_as_string(hide_password=False)
        with administered(named):
            yield named
        return
    server, install = installed("mariadbd"), installed("mariadb-install-db")
    if server is None or install is None:
        pytest.skip("no MariaDB: set TENANCY_TEST_MYSQL_URL, or install mariadb-server")
    with working_folder("mariadb") as folder:
        options = ("--no-defaults", f"--datadir={folder}/data", f"--tmpdir={folder}", *_SMALL)
        run(folder, install, *options, "--auth-root-authentication-method=normal", "--skip-test-db")
        port = free_port()
        here = ("--bind-address=127.0.0.1", f"--port={port}", f"--socket={folder}/socket")
        with (
            serving(folder, "ready for connections", server, *options, *here, "--character-set-server=utf8mb4"),
            administered(f"mysql+asyncmy://root@127.0.0.1:{port}/") as url,
        ):
            yield url
