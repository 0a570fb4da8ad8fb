"""Look into SQLite files, without leaving anything beside them."""

import sqlite3
from collections.abc import Iterable
from contextlib import closing

from ...multitenant.databases.sqlcipher import SALT_BYTES, salt_of
from ...tenant import Tenant
from .failures import said
from .places import Place
from .sights import Sight

# <https://www.sqlite.org/fileformat.html#the_database_header>
_HEADER, _FORMAT_VERSIONS, _WAL = 100, slice(18, 20), b"\x02\x02"

_BUSY = 1.0  # seconds to wait for somebody who has the file to himself

_TABLES = "SELECT name FROM sqlite_master WHERE type = 'table'"
_OWNERS = "SELECT tenant_id FROM tenancy_owner"
_REVISION = "SELECT version_num FROM alembic_version"


def look_at_files(places: Iterable[Place]) -> list[Sight]:
    return [_look_at(place) for place in places]


def in_wal(header: bytes) -> bool:
    """Whether a SQLite file that begins with `header` has a write-ahead log; an empty one may still get one."""
    return not header or header[_FORMAT_VERSIONS] == _WAL


def _look_at(place: Place) -> Sight:
    if not place.file.exists():
        return Sight(place, exists=False)
    try:
        with place.file.open("rb") as content:
            header = content.read(_HEADER)
        return _encrypted(place, header) if place.tenant.encrypted else _plain(place, header)
    except (OSError, sqlite3.OperationalError) as error:
        return Sight(place, exists=True, problem=said(error))


def _encrypted(place: Place, header: bytes) -> Sight:
    """What can be told without the key."""
    tenant: Tenant = place.tenant
    owner = tenant.id if header[:SALT_BYTES] == salt_of(tenant) else None
    return Sight(place, exists=True, is_owner_known=True, owner=owner)


def _plain(place: Place, header: bytes) -> Sight:
    # Not read-only: then SQLite would leave a -wal and a -shm behind.
    with closing(sqlite3.connect(f"{place.file.as_uri()}?mode=rw", uri=True, timeout=_BUSY)) as connection:
        try:
            connection.execute("PRAGMA query_only=ON")
            tables = frozenset(name for (name,) in connection.execute(_TABLES))
            owners = connection.execute(_OWNERS).fetchall() if "tenancy_owner" in tables else []
            revisions = connection.execute(_REVISION).fetchall() if "alembic_version" in tables else []
        except sqlite3.OperationalError:
            raise
        except sqlite3.DatabaseError:  # it is none
            return Sight(place, exists=True, is_read=True, is_owner_known=True)
    return Sight(
        place,
        exists=True,
        is_read=True,
        is_owner_known=True,
        owner=owners[0][0] if len(owners) == 1 else None,
        revision=revisions[0][0] if revisions else None,
        tables=tables,
        in_wal=in_wal(header),
    )
