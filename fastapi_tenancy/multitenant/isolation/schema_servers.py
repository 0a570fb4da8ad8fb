"""What servers do differently about schemas: PostgreSQL has many in a database, to MySQL and MariaDB they are one."""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from types import MappingProxyType
from typing import ClassVar

from sqlalchemy import URL, Connection, inspect, text
from sqlalchemy.schema import DropSchema

from ...errors import TenantUnavailableError

_LOCK_AND_LOOK = """
SELECT pg_advisory_xact_lock(hashtextextended(CAST(:schema AS text), 0)),
       to_regnamespace(CAST(:schema AS text)) IS NOT NULL
"""


class SchemaServer(ABC):
    """Looks for schemas and drops them.

    Attributes:
        backend: as it is in URLs.
        is_transactional: whether DDL takes part in transactions; where it does not, a creation that was cut short
            leaves a schema without its mark.
    """

    backend: ClassVar[str]
    is_transactional: ClassVar[bool]

    @abstractmethod
    def shared_schema(self, url: URL) -> str:
        """Where the deployment's own tables are, as far as can be told without asking."""

    @abstractmethod
    def current_schema(self, connection: Connection) -> str | None:
        """Where they are."""

    @abstractmethod
    def looking(self, connection: Connection, schema: str) -> AbstractContextManager[bool]:
        """Whether the schema is there; meanwhile nobody else creates or drops it by way of this library."""

    def is_there(self, connection: Connection, schema: str) -> bool:
        return inspect(connection).has_schema(schema)

    @abstractmethod
    def drop(self, connection: Connection, schema: str) -> None:
        """Drop the schema with all that is in it."""


class PostgreSQL(SchemaServer):
    backend = "postgresql"
    is_transactional = True

    def shared_schema(self, _url: URL) -> str:
        return "public"

    def current_schema(self, connection: Connection) -> str | None:
        name: str | None = connection.scalar(text("SELECT current_schema()"))
        return name

    @contextmanager
    def looking(self, connection: Connection, schema: str) -> Iterator[bool]:
        # One after the other, in one round trip; the end of the transaction gives the lock back.
        _, exists = connection.execute(text(_LOCK_AND_LOOK), {"schema": schema}).one()
        yield bool(exists)

    def drop(self, connection: Connection, schema: str) -> None:
        connection.execute(DropSchema(schema, cascade=True))


class MySQL(SchemaServer):
    backend = "mysql"
    is_transactional = False

    def shared_schema(self, url: URL) -> str:
        return url.database or ""

    def current_schema(self, connection: Connection) -> str | None:
        name: str | None = connection.scalar(text("SELECT DATABASE()"))
        return name

    @contextmanager
    def looking(self, connection: Connection, schema: str) -> Iterator[bool]:
        if not connection.scalar(text("SELECT GET_LOCK(:schema, 60)"), {"schema": schema}):
            raise TenantUnavailableError(f"another process has been creating or dropping {schema!r} for a minute")
        try:
            found = text("SELECT count(*) FROM information_schema.schemata WHERE schema_name = :schema")
            yield bool(connection.scalar(found, {"schema": schema}))
        finally:
            connection.execute(text("SELECT RELEASE_LOCK(:schema)"), {"schema": schema})

    def drop(self, connection: Connection, schema: str) -> None:
        connection.execute(DropSchema(schema))


SERVERS: Mapping[str, type[SchemaServer]] = MappingProxyType(
    {"postgresql": PostgreSQL, "mysql": MySQL, "mariadb": MySQL}
)
