"""Read an archive: all of it is looked at before any of it is used."""

import json
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from hashlib import sha256
from itertools import islice
from pathlib import Path
from typing import Any
from zipfile import BadZipFile, ZipFile

from sqlalchemy import Table

from ...errors import ArchiveError
from ..rows import TenantRows, conversion
from .manifest import MEMBER, ArchivedTable, Manifest


class Archive:
    """An archive, opened by `opened`.

    Attributes:
        manifest: what it says of itself.
    """

    def __init__(self, file: Path, content: ZipFile) -> None:
        self._file = file
        self._content = content
        self.manifest = Manifest.from_json(self._member(MEMBER))
        self._tables = {table.name: table for table in self.manifest.tables}

    def check(self) -> None:
        """Look whether each member is what the manifest says.

        Raises:
            ArchiveError: one is damaged, missing, or there is one too many.
        """
        expected = {MEMBER, *(table.member for table in self.manifest.tables)}
        found = self._content.namelist()
        if len(found) != len(set(found)) or set(found) != expected:
            wrong = sorted(expected.symmetric_difference(found)) or found
            raise self._damaged(", ".join(wrong), "it is missing, or is there and should not be")
        for table in self.manifest.tables:
            self._check_table(table)

    def fits(self, target: TenantRows) -> None:
        """Look whether the tables and columns are those of `target`.

        Raises:
            ArchiveError: they are others.
        """
        expected = {
            table.name: sorted((column.name, column.shape) for column in target.columns[table])
            for table in target.tables
        }
        given = {table.name: sorted((name, shape) for name, shape in table.columns) for table in self.manifest.tables}
        for name in sorted({*expected, *given}):
            if expected.get(name, []) != given.get(name, []):
                wrong = sorted({*expected.get(name, ())}.symmetric_difference(given.get(name, ())))
                raise ArchiveError(
                    f"the table {name} has other columns in the archive than here: "
                    f"{', '.join(f'{column} ({shape})' for column, shape in wrong) or 'none'}; import it with "
                    "the models that it was exported with"
                )

    def read(self, target: TenantRows, table: Table, skip: int = 0) -> Iterator[Sequence[Any]]:
        """The rows of a table, as `target` takes them."""
        archived, columns = self._tables[table.name], {each.name: each for each in target.columns[table]}
        places = {name: place for place, (name, _) in enumerate(archived.columns)}
        order = [places[name] for name in columns]
        decoded = conversion(each.kind.decode for each in columns.values())
        for line in islice(self._lines(archived), skip, None):
            row = json.loads(line)
            try:
                yield decoded(row[place] for place in order)
            except (ValueError, TypeError, ArithmeticError, IndexError) as error:
                raise self._damaged(archived.member, str(error)) from error

    def counts(self, target: TenantRows) -> dict[Table, int]:
        return {table: self._tables[table.name].rows for table in target.tables}

    def _check_table(self, table: ArchivedTable) -> None:
        digest, rows = sha256(), 0
        for line in self._lines(table):
            digest.update(line)
            rows += 1
        if digest.hexdigest() != table.sha256 or rows != table.rows:
            raise self._damaged(table.member, "its checksum is another one")

    def _lines(self, table: ArchivedTable) -> Iterator[bytes]:
        with self._reading(table.member), self._content.open(table.member) as lines:
            yield from lines

    def _member(self, name: str) -> bytes:
        with self._reading(name):
            return self._content.read(name)

    @contextmanager
    def _reading(self, member: str) -> Iterator[None]:
        try:
            yield
        except (BadZipFile, KeyError, EOFError, zlib.error, NotImplementedError, RuntimeError) as error:
            raise self._damaged(member, str(error)) from error

    def _damaged(self, member: str, why: str) -> ArchiveError:
        return ArchiveError(f"{self._file}: the member {member} is damaged ({why}); export the tenant again")


@contextmanager
def opened(file: Path) -> Iterator[Archive]:
    """The archive in a file.

    Raises:
        ArchiveError: there is none.
    """
    try:
        content = ZipFile(file)
    except (BadZipFile, OSError) as error:
        raise ArchiveError(f"{file} is no archive of a tenant: {error}") from error
    with content:
        yield Archive(file, content)
