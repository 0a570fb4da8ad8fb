"""A tenant's rows, apart from the database that holds them: read, compared, and written into another one."""

from collections.abc import Mapping
from types import MappingProxyType

from .collisions import refuse_collisions
from .columns import Column, conversion
from .copy_writer import CopyWriter
from .insert_writer import MySQLWriter, SQLiteWriter
from .problems import RowsError
from .source import BATCH, Digest, TenantRows, digest_of
from .target import ReadRows, Rows, RowWriter, in_batches

WRITERS: Mapping[str, type[RowWriter]] = MappingProxyType(
    {"postgresql": CopyWriter, "sqlite": SQLiteWriter, "mysql": MySQLWriter, "mariadb": MySQLWriter}
)


def writer_for(target: TenantRows) -> RowWriter:
    return WRITERS[target.connection.dialect.name](target)


__all__ = [
    "BATCH",
    "Column",
    "Digest",
    "ReadRows",
    "RowWriter",
    "Rows",
    "RowsError",
    "TenantRows",
    "conversion",
    "digest_of",
    "in_batches",
    "refuse_collisions",
    "writer_for",
]
