"""A PostgreSQL database that the migrations have made, and new tenants' are copied from."""

import asyncio
import hashlib
from collections import defaultdict
from collections.abc import Mapping
from contextlib import suppress

from sqlalchemy import URL, Connection, text
from sqlalchemy.exc import DBAPIError

from ...errors import TenantUnavailableError
from ..profile import RootProfile
from .addresses import Address
from .base import connected, make_tables

_PREFIX = "tenancy_template"
_DRAFT = "_draft"

# The comment of a finished one is the revision that it is at.
_FOUND = text("""
SELECT datname, shobj_description(oid, 'pg_database') FROM pg_catalog.pg_database
WHERE starts_with(datname, CAST(:prefix AS text))
""")
_LOCK = text("SELECT pg_advisory_xact_lock(hashtextextended(CAST(:prefix AS text), 0))")
_DISCONNECT = text(
    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = :name AND usename = current_user"
)


class OwnTemplates:
    """The templates of one deployment: on each server one, which is made anew when the migrations go on.

    Its name tells the deployment, by the URLs of its settings, and the revision, so that neither two deployments on one
    server nor the old and the new code of one share a template.
    """

    def __init__(self, root_profile: RootProfile) -> None:
        self._root_profile = root_profile
        settings = root_profile.settings
        self._prefix = f"{_PREFIX}_{_digest(settings.database_url, str(settings.tenant_database_url))}"
        self._ready: set[tuple[str | None, int | None, str]] = set()
        self._turns: defaultdict[str | None, asyncio.Lock] = defaultdict(asyncio.Lock)

    async def on_server(self, address: Address, head: str) -> str:
        """The name of the template on the server of `address`, which is made if need be."""
        name = f"{self._prefix}_{_digest(head)}"
        key = (address.url.host, address.url.port, name)
        async with self._turns[address.url.host]:
            if key not in self._ready:
                await asyncio.to_thread(self._make, address, name, head)
                self._ready.add(key)
        return name

    def forget(self) -> None:
        """Look again whether they are there."""
        self._ready.clear()

    def _make(self, address: Address, name: str, head: str) -> None:
        url = _first_that_answers(address.maintenance)
        # One connection for the lock and one for what no transaction allows: so it works by way of a pooler as well.
        with connected(url) as lock, connected(url, isolation_level="AUTOCOMMIT") as server:
            lock.execute(_LOCK, {"prefix": self._prefix})
            found = {row[0]: row[1] for row in server.execute(_FOUND, {"prefix": self._prefix})}
            if name not in found:
                self._build(server, address, name, head)
            self._drop_stale(server, name, found)

    def _build(self, server: Connection, address: Address, name: str, head: str) -> None:
        draft = name + _DRAFT
        server.exec_driver_sql(f'DROP DATABASE IF EXISTS "{draft}" WITH (FORCE)')
        # To copy template1, nobody may be connected to it, as we may be.
        source = " TEMPLATE template0" if server.engine.url.database == "template1" else ""
        server.exec_driver_sql(f'CREATE DATABASE "{draft}"{source}')
        with connected(address.admin.set(database=draft)) as connection:
            make_tables(self._root_profile, connection)
        server.execute(_DISCONNECT, {"name": draft})
        comment = text(f'COMMENT ON DATABASE "{draft}" IS :head').bindparams(head=head)
        server.exec_driver_sql(str(comment.compile(server, compile_kwargs={"literal_binds": True})))
        server.exec_driver_sql(f'ALTER DATABASE "{draft}" RENAME TO "{name}"')

    def _drop_stale(self, server: Connection, name: str, found: Mapping[str, str | None]) -> None:
        scripts = self._root_profile.scripts
        for other, head in found.items():
            is_draft = other.endswith(_DRAFT) and other != name + _DRAFT
            if is_draft or (head is not None and scripts is not None and scripts.is_behind(head)):
                with suppress(DBAPIError, TenantUnavailableError):  # it is being copied; the next to come drops it
                    server.exec_driver_sql(f'DROP DATABASE IF EXISTS "{other}"')


def _first_that_answers(urls: tuple[URL, ...]) -> URL:
    for url in urls[:-1]:
        with suppress(TenantUnavailableError, DBAPIError), connected(url):
            return url
    return urls[-1]


def _digest(*parts: str) -> str:
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:12]
