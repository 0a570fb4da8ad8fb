"""Write one tenant into one file, which is there whole or not at all."""

import json
import os
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from hashlib import sha256
from importlib.metadata import version
from pathlib import Path
from typing import Any
from uuid import uuid4
from zipfile import ZIP_DEFLATED, ZipFile

from sqlalchemy import MetaData, Table

from ...errors import ArchiveError
from ...migrations import revision_of
from ...multitenant.tables import TenantTables
from ..rows import RowsError, TenantRows, conversion
from .manifest import MEMBER, ArchivedTable, Manifest


@dataclass(frozen=True, slots=True)
class Exported:
    """An archive that was written.

    Attributes:
        file: where it is.
        rows: how many rows it has.
        tables: how many of each table.
        revision: of the tables, as Alembic names it.
        bytes: its size.
    """

    file: Path
    rows: int
    tables: Mapping[str, int]
    revision: str | None
    bytes: int


def export(
    tables: TenantTables, metadata: MetaData, tenant_id: str, file: Path, record: Mapping[str, Any], written_at: str
) -> Exported:
    """Write the rows, as they are at one moment, and `record` beside them; in a thread.

    Raises:
        ArchiveError: a table would be left out, or the file cannot be written.
    """
    draft = file.with_name(f".{file.name}.{uuid4().hex}")
    try:
        manifest = _write(tables, metadata, tenant_id, draft, record, written_at)
        draft.replace(file)
    except OSError as error:
        raise ArchiveError(f"{file} cannot be written: {error.strerror}") from error
    except RowsError as error:
        raise ArchiveError(str(error)) from error
    finally:
        with suppress(FileNotFoundError):
            draft.unlink()
    rows = {table.name: table.rows for table in manifest.tables}
    return Exported(file, sum(rows.values()), rows, manifest.revision, file.stat().st_size)


def _write(
    tables: TenantTables, metadata: MetaData, tenant_id: str, draft: Path, record: Mapping[str, Any], written_at: str
) -> Manifest:
    # 0600: what is in it is not encrypted.
    with os.fdopen(os.open(draft, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600), "w+b") as content:
        with ZipFile(content, "w", ZIP_DEFLATED) as archive, TenantRows.at(tables, metadata, tenant_id) as source:
            source.begin_snapshot()
            if unknown := source.unknown_tables():
                raise ArchiveError(
                    f"the tables {', '.join(unknown)} are not in the metadata, and would be left out; add them to it, "
                    "or drop them"
                )
            manifest = Manifest(
                library=version("fastapi-tenancy"),
                written_at=written_at,
                database=source.connection.dialect.name,
                was_encrypted=tables.cipher is not None,
                tenant=record,
                revision=revision_of(source.connection),
                tables=[_write_table(archive, source, table) for table in source.tables],
            )
            archive.writestr(MEMBER, manifest.to_json())
        content.flush()
        os.fsync(content.fileno())
    return manifest


def _write_table(archive: ZipFile, source: TenantRows, table: Table) -> ArchivedTable:
    columns, digest, rows = source.columns[table], sha256(), 0
    member = f"tables/{table.name}.jsonl"
    encoded = conversion(column.kind.encode for column in columns)
    dumps = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode
    with archive.open(member, "w", force_zip64=True) as written:
        for row in source.read(table):
            line = dumps(encoded(row)).encode() + b"\n"
            digest.update(line)
            written.write(line)
            rows += 1
    return ArchivedTable(table.name, member, [[each.name, each.shape] for each in columns], rows, digest.hexdigest())
