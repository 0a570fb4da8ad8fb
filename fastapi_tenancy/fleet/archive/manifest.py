"""What an archive says of itself, in `manifest.json`."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Self

from ...errors import ArchiveError

FORMAT = "fastapi-tenancy archive"
VERSION = 1
MEMBER = "manifest.json"


@dataclass(frozen=True, slots=True)
class ArchivedTable:
    """A table in an archive.

    Attributes:
        name: in the database.
        member: of the archive, that has its rows: one JSON array in each line.
        columns: the name and the shape of each, in the order of the values.
        rows: how many.
        sha256: of the member, in hexadecimal.
    """

    name: str
    member: str
    columns: Sequence[Sequence[str]]
    rows: int
    sha256: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """The whole.

    Attributes:
        library: the version of fastapi-tenancy that wrote it.
        written_at: when its snapshot was taken, ISO 8601.
        database: SQLAlchemy's name of the kind of database that it comes from.
        was_encrypted: whether the tenant's data are encrypted where they come from; in the archive they never are.
        tenant: its identifier, name, status and settings; its URL only where that was asked for.
        revision: of its tables, as Alembic names it; None where no migrations are kept.
        tables: each after those that it refers to, as far as that is possible.
    """

    library: str
    written_at: str
    database: str
    was_encrypted: bool
    tenant: Mapping[str, Any]
    revision: str | None
    tables: Sequence[ArchivedTable]

    def to_json(self) -> str:
        return json.dumps({"format": FORMAT, "version": VERSION, **asdict(self)}, indent=2, ensure_ascii=False)

    @classmethod
    def from_json(cls, text: bytes) -> Self:
        """What `to_json` was made from.

        Raises:
            ArchiveError: it is something else, or of a version that this one does not know.
        """
        try:
            given = json.loads(text)
            if given.pop("format") != FORMAT:
                raise ArchiveError(f"{MEMBER} is not of an archive of a tenant")
            version = given.pop("version")
            if version != VERSION:
                raise ArchiveError(f"the archive has version {version} and this library knows {VERSION}; upgrade it")
            tables = [ArchivedTable(**table) for table in given.pop("tables")]
            manifest = cls(**given, tables=tables)
            kinds = [type(manifest.tenant[name]) for name in ("identifier", "name", "settings")]
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise ArchiveError(f"{MEMBER} is damaged: {error}") from error
        if kinds != [str, str, dict]:
            raise ArchiveError(f"{MEMBER} is damaged: it has no record of a tenant")
        return manifest
