"""Connections to SQLite files that SQLCipher encrypts; the one module that needs sqlcipher3."""

from hashlib import sha256
from types import SimpleNamespace
from typing import Any

import aiosqlite
from pydantic import SecretBytes
from sqlalchemy.dialects.sqlite.aiosqlite import AsyncAdapt_aiosqlite_dbapi

from ...engines import Drivers
from ...errors import ConfigurationError
from ...tenant import Tenant

try:
    from sqlcipher3 import dbapi2  # type: ignore[import-untyped]  # it has no types
except ModuleNotFoundError:
    dbapi2 = None

SALT_BYTES = 16

_ROWS_AT_ONCE = 64  # as aiosqlite.connect has it


def sqlcipher() -> Any:
    """The module `sqlcipher3.dbapi2`.

    Raises:
        ConfigurationError: it is not installed.
    """
    if dbapi2 is None:
        raise ConfigurationError(
            "encrypted tenants need sqlcipher3; install the extra from the checkout: pip install '.[sqlcipher]'"
        )
    return dbapi2


def salt_of(tenant: Tenant) -> bytes:
    """What the tenant's file begins with, the only part of it that can be read without the key.

    SQLCipher derives what authenticates the pages from the key and the salt, so a file whose salt was exchanged does
    not open: <https://www.zetetic.net/sqlcipher/design/>.
    """
    return sha256(tenant.id.encode()).digest()[:SALT_BYTES]


def raw(key: SecretBytes, tenant: Tenant) -> str:
    """The key and the salt as SQLCipher reads them; from such a key it derives nothing, which would take 100 ms."""
    return f"x'{(key.get_secret_value() + salt_of(tenant)).hex()}'"


def connect(database: str, key: str, **options: Any) -> Any:
    """A connection under a key that `raw` gave; whether it is the right one is known when something is read."""
    connection = sqlcipher().connect(database, **options)
    connection.execute(f'PRAGMA key = "{key}"')
    return connection


def drivers(key: str) -> Drivers:
    """What SQLAlchemy takes for the modules of its drivers, with `connect` bound to the key."""
    module = sqlcipher()
    names = {name: value for name, value in vars(module).items() if not name.startswith("__")}

    def connect_now(database: str, **options: Any) -> Any:
        return connect(database, key, **options)

    def connect_later(database: str, **options: Any) -> aiosqlite.Connection:
        # No functools.partial: aiosqlite logs what it is about to call, with its arguments.
        return aiosqlite.Connection(lambda: connect_now(database, **options), _ROWS_AT_ONCE)

    # As aiosqlite, but that the errors are those of sqlcipher3: SQLAlchemy would not know them as a database's else.
    own = {"connect": connect_later, "Connection": aiosqlite.Connection, "__version__": aiosqlite.__version__}
    later: Any = SimpleNamespace(**{**names, **own})
    return Drivers(AsyncAdapt_aiosqlite_dbapi(later, module), SimpleNamespace(**{**names, "connect": connect_now}))
