"""Start real servers for the tests, on any machine, and make databases on them."""

from .databases import administer, administered, drop_database, new_database, plain_role, rows_of
from .mariadb import mariadb
from .pgbouncer import pgbouncer
from .postgresql import postgresql
from .redis import redis

__all__ = [
    "administer",
    "administered",
    "drop_database",
    "mariadb",
    "new_database",
    "pgbouncer",
    "plain_role",
    "postgresql",
    "redis",
    "rows_of",
]
