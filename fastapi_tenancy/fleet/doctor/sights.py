"""What is in the tenants' places, seen once for all checks that judge it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from .places import Place


@dataclass(frozen=True, slots=True)
class Sight:
    """What is in a place.

    Attributes:
        place: which.
        exists: whether there is anything.
        is_read: whether it was looked into; not all are where each takes a connection, nor those that are encrypted.
        is_owner_known: whether its mark was.
        owner: whose it is by its mark; None for nobody's.
        revision: Alembic's, of the tables; None where no migration ran.
        tables: the names of its tables.
        in_wal: False where it is a SQLite file whose journal is no write-ahead log.
        problem: why it could not be read.
    """

    place: Place
    exists: bool
    is_read: bool = False
    is_owner_known: bool = False
    owner: str | None = None
    revision: str | None = None
    tables: frozenset[str] = field(default=frozenset(), repr=False)
    in_wal: bool = True
    problem: str | None = None


@dataclass(frozen=True, slots=True)
class Sights:
    """What is in the places of all tenants.

    Attributes:
        found: what is there, or is not.
        dark: servers that could not be looked at, and why.
    """

    found: Sequence[Sight]
    dark: Mapping[str, str]
