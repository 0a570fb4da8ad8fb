"""A database for each tenant, on every kind of server."""

from collections.abc import Mapping
from types import MappingProxyType

from .addresses import Address, Addresses
from .base import Databases, uninterrupted
from .encrypted_file import EncryptedFiles
from .mysql import MySQLDatabases
from .postgresql import PostgreSQLDatabases
from .sqlite_file import SQLiteFiles

# By SQLAlchemy's name of the backend.
DATABASES: Mapping[str, type[Databases]] = MappingProxyType(
    {
        "sqlite": SQLiteFiles,
        "postgresql": PostgreSQLDatabases,
        "mysql": MySQLDatabases,
        "mariadb": MySQLDatabases,
    }
)

__all__ = ["DATABASES", "Address", "Addresses", "Databases", "EncryptedFiles", "SQLiteFiles", "uninterrupted"]
