"""Where a tenant's tables are, for what works on them as a whole: migrations, copies and checks."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from pydantic import SecretStr
from sqlalchemy import URL, Connection, Engine, NullPool, event, func, select

from ..engines import open_sync_engine
from .databases.sqlcipher import drivers


@dataclass(frozen=True, slots=True)
class TenantTables:
    """A tenant's tables, and how they are reached by the deployment's own user, from a thread or another process.

    Attributes:
        url: of the database, with a driver for threads.
        schema: that they are in; None for the one that a connection to `url` is in.
        rows_of: the tenant whose rows are meant, where the tables are all tenants'; None where the tables are its own.
        search_path: in which bare names are looked up, where there is a `schema`.
        cipher: what opens the file where it is encrypted.
    """

    url: URL = field(repr=False)  # it may hold a password
    schema: str | None = None
    rows_of: str | None = None
    search_path: str | None = None
    cipher: SecretStr | None = None

    @contextmanager
    def connect(self) -> Iterator[Connection]:
        """A connection of its own, which finds the tables by their bare names; nothing isolates it."""
        engine = self._engine()
        try:
            with engine.connect() as connection:
                if self.schema is not None:
                    connection.dialect.default_schema_name = self.schema  # where SQLAlchemy looks for what has none
                yield connection
        finally:
            engine.dispose()

    def _engine(self) -> Engine:
        module: dict[str, Any] = {}
        if self.cipher is not None:
            module["module"] = drivers(self.cipher.get_secret_value()).blocking
        engine = open_sync_engine(self.url, hide_parameters=True, poolclass=NullPool, **module)
        if self.search_path is not None:
            event.listen(engine, "begin", self._find_bare_names)
        return engine

    def _find_bare_names(self, connection: Connection) -> None:
        # Of each transaction, as a pooler may give the next one another connection; without one it would be lost.
        local = connection.get_execution_options().get("isolation_level") != "AUTOCOMMIT"
        connection.execute(select(func.set_config("search_path", self.search_path, local)))
