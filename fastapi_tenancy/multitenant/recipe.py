"""What decides how a new tenant is made, as a digest: what was made ahead is given only while it is still the same."""

import json
from collections.abc import Iterator
from hashlib import sha256

from sqlalchemy import Dialect, MetaData
from sqlalchemy.schema import CreateIndex, CreateTable

from .ddl import MadeOnce
from .profile import RootProfile


class Recipe:
    """The recipe of one manager.

    Args:
        root_profile: the deployment's.
        dialect: of the tenants' databases.
        place: what else decides where a tenant is put and what is in it; no secrets.
    """

    def __init__(self, root_profile: RootProfile, dialect: Dialect, *place: str | None) -> None:
        self._root_profile = root_profile
        self._dialect = dialect
        self._place = place
        self._tables = MadeOnce[str]()

    def digest(self) -> str:
        head, metadata = self._root_profile.head, self._root_profile.metadata
        if head is not None:
            return _digest([*self._place, "revision", head])
        tables = self._tables.get(metadata.tables.values(), lambda: _digest([*_definitions(metadata, self._dialect)]))
        return _digest([*self._place, "tables", tables])


def _definitions(metadata: MetaData, dialect: Dialect) -> Iterator[str]:
    for table in metadata.sorted_tables:
        yield str(CreateTable(table).compile(dialect=dialect))
        yield from (str(CreateIndex(index).compile(dialect=dialect)) for index in table.indexes)
        yield from (repr(column.type) for column in table.columns)  # with the values of an enumeration


def _digest(parts: list[str | None]) -> str:
    return sha256(json.dumps(parts).encode()).hexdigest()
