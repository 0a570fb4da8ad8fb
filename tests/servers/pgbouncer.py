"""A PgBouncer in transaction mode, in front of a PostgreSQL server."""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from sqlalchemy import make_url

from .databases import administered
from .process import free_port, installed, serving, working_folder

_CONFIGURATION = """\
[databases]
* = host={url.host} port={url.port} auth_user={url.username}

[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {port}
unix_socket_dir =
auth_type = trust
auth_file = users
pool_mode = transaction
query_wait_timeout = 10
"""


@contextmanager
def pgbouncer(postgresql_url: str) -> Iterator[str]:
    """The same URL by way of PgBouncer, which passes on every database and role of the server."""
    program = installed("pgbouncer")
    if program is None:
        pytest.skip("no PgBouncer: install it, with: apt-get install pgbouncer")
    url, port = make_url(postgresql_url), free_port()
    with working_folder("pgbouncer") as folder:
        (folder / "pgbouncer.ini").write_text(_CONFIGURATION.format(url=url.set(port=url.port or 5432), port=port))
        (folder / "users").write_text(f'"{url.username}" "{url.password or ""}"\n')  # others it asks the server for
        pooled = url.set(host="127.0.0.1", port=port).render_as_string(hide_password=False)
        with serving(folder, "process up", program, "pgbouncer.ini"), administered(pooled):
            yield pooled
