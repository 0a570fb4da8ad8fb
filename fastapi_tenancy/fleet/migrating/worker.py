"""The process that migrates one tenant after the other: `python -m fastapi_tenancy.fleet.migrating.worker FOLDER`.

It reads an order from each line of its standard input and answers each by a line on its standard output, both in JSON,
until the input ends. A URL, which may hold a password, never stands in its arguments or its environment.
"""

import json
import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import cache
from hashlib import sha256
from typing import Any

from pydantic import SecretStr
from sqlalchemy import Connection, TextClause, make_url, text
from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from ...errors import NamespaceMissingError
from ...migrations import MigrationScripts, revision_of
from ...multitenant.owner import owner_of
from ...multitenant.tables import TenantTables

MAX_ERROR = 2000  # characters

# SQLite's write transaction is the lock there. On a server it belongs to a connection of its own, which a pooler leaves
# to us while the transaction lasts, and ends with it, whatever becomes of this process.
_LOCKS: Mapping[str, TextClause] = {
    "postgresql": text("SELECT pg_advisory_xact_lock(hashtextextended(:name, 0))"),
    "mysql": text("SELECT GET_LOCK(:name, 86400)"),
    "mariadb": text("SELECT GET_LOCK(:name, 86400)"),
}

# So that the server ends a statement whose client was killed, instead of holding its locks until it is through with it:
# <https://www.postgresql.org/docs/current/runtime-config-connection.html#GUC-CLIENT-CONNECTION-CHECK-INTERVAL>
_NOTICE_DEATH = text(
    "SELECT set_config(name, '2s', false) FROM pg_settings WHERE name = 'client_connection_check_interval'"
)


def main(folder: str) -> None:
    # What env.py and the migrations print is no answer, and what they read no order.
    orders, answers = os.fdopen(os.dup(0)), os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    with suppress(BrokenPipeError):  # whoever has ordered it was killed
        _say(answers, {"ready": True})
        for line in orders:
            _say(answers, carry_out(folder, json.loads(line)))


def carry_out(folder: str, order: Mapping[str, Any]) -> dict[str, Any]:
    """Migrate the tables that `order` names.

    Returns:
        `error`, None where it succeeded, and the `revision` that the tables are at, where that can be told.
    """
    cipher = order["cipher"]
    tables = TenantTables(
        make_url(order["url"]),
        schema=order["schema"],
        search_path=order["search_path"],
        cipher=None if cipher is None else SecretStr(cipher),
    )
    try:
        with _alone(tables), tables.connect() as connection:
            _prepare(connection, order["owner"])
            scripts = _scripts(folder)
            if order["stamp"]:
                scripts.stamp(connection, order["to"])
                return {"error": None, "revision": order["to"]}
            return {"error": None, "revision": scripts.upgrade(connection, order["to"])}
    except (Exception, SystemExit) as error:  # noqa: BLE001 - the migrations are the application's: this tenant has failed
        answer: dict[str, Any] = {"error": _described(error)}
        with suppress(SQLAlchemyError), tables.connect() as connection:
            answer["revision"] = revision_of(connection)
        return answer


@contextmanager
def _alone(tables: TenantTables) -> Iterator[None]:
    """Hold off whoever else would migrate the same tables, be it from another deployment that knows nothing of us."""
    lock = _LOCKS.get(tables.url.get_backend_name())
    if lock is None:
        yield
        return
    place = f"{tables.url.database}/{tables.schema or ''}"
    name = f"fastapi_tenancy {sha256(place.encode()).hexdigest()[:32]}"  # MySQL takes 64 characters
    with tables.connect() as connection:
        connection.execute(lock, {"name": name})
        yield


def _prepare(connection: Connection, owner: str | None) -> None:
    if connection.dialect.name == "postgresql":
        with suppress(DBAPIError):  # the server's system cannot tell
            connection.execute(_NOTICE_DEATH)
            connection.commit()
        connection.rollback()
    if owner is not None:
        found = owner_of(connection)
        if found != owner:
            raise NamespaceMissingError(f"the tables belong to {found or 'nobody'} and not to {owner}; restore them")
    connection.rollback()  # a transaction that goes on would be ours to commit


@cache
def _scripts(folder: str) -> MigrationScripts:
    return MigrationScripts(folder)


def _described(error: BaseException) -> str:
    message = str(error).partition("\n(Background on this error at")[0]
    return " ".join(f"{type(error).__name__}: {message}".split())[:MAX_ERROR]


def _say(answers: Any, answer: Mapping[str, Any]) -> None:
    answers.write(json.dumps(answer) + "\n")
    answers.flush()


if __name__ == "__main__":
    main(sys.argv[1])
