"""A database server, what is on it, and the statements that create and drop tenants' own databases there."""

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Self

from servers import drop_database, new_database, rows_of
from sqlalchemy import Engine, event, make_url

SERVERS = {"postgresql": "postgresql_url", "mariadb": "mysql_url"}

# The steps after which something else is there than before; what lies between two of them can be taken as one.
_STEP = re.compile(r"(?:(?:CREATE|DROP|ALTER) (?:DATABASE|ROLE)|INSERT INTO tenancy_owner)\b")


@dataclass
class Server:
    """A database for the tenant store, on a server where tenants get databases of their own."""

    url: str
    before: set[str]

    @classmethod
    @contextmanager
    def at(cls, server_url: str) -> Iterator[Self]:
        server = cls(new_database(server_url), set())
        server.before = server._all()
        yield server
        for name in server.left():
            drop_database(server.named(name))
        for role in server.roles():
            rows_of(server.url, f'DROP ROLE "{role}"')
        drop_database(server.url)

    @property
    def is_postgresql(self) -> bool:
        return self.url.startswith("postgresql")

    def named(self, database: str, **parts: Any) -> str:
        """The URL of another database on it."""
        text = make_url(self.url).set(database=database, **parts).render_as_string(hide_password=False)
        return text.replace("%7Bid%7D", "{id}")

    def left(self) -> set[str]:
        """The databases that are there now and were not before the test."""
        return self._all() - self.before

    def roles(self) -> set[str]:
        """The roles of tenants."""
        query = "SELECT rolname FROM pg_roles WHERE rolname LIKE 't\\_%'"
        return {name for (name,) in rows_of(self.url, query)} if self.is_postgresql else set()

    def create(self, database: str, *statements: str) -> str:
        """Make a database that is not the library's."""
        quote = make_url(self.url).get_dialect()().identifier_preparer.quote_identifier
        rows_of(self.url, f"CREATE DATABASE {quote(database)}")
        for statement in statements:
            rows_of(self.named(database), statement)
        return self.named(database)

    def tables(self, database: str) -> set[str]:
        """Those that were created in it."""
        query = "SELECT table_name FROM information_schema.tables WHERE table_schema IN ('public', '{}')"
        return {name for (name,) in rows_of(self.named(database), query.format(database))}

    def _all(self) -> set[str]:
        query = "SELECT datname FROM pg_database" if self.is_postgresql else "SHOW DATABASES"
        return {name for (name,) in rows_of(self.url, query)}


@contextmanager
def before_step(number: int, act: Callable[[], None]) -> Iterator[list[str]]:
    """Do something just before the step of that number, from 0; gives the steps taken so far."""
    steps: list[str] = []

    def count(_connection: object, _cursor: object, statement: str, *_: object) -> None:
        if step := _STEP.match(statement):
            steps.append(step.group())
            if len(steps) == number + 1:
                act()

    event.listen(Engine, "before_cursor_execute", count)
    try:
        yield steps
    finally:
        event.remove(Engine, "before_cursor_execute", count)
