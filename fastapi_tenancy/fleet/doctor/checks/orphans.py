"""Files, schemas and databases that are named like a tenant's, and of which the store knows nothing."""

import asyncio
import re
import time
from collections.abc import AsyncIterator, Iterable, Iterator
from pathlib import Path
from shlex import quote
from typing import NamedTuple

from sqlalchemy import text

from ....lifecycle import PROVISIONING_LEASE
from ....multitenant.databases.sqlite_file import draft_of_file
from ....urls import server_of
from ..deployment import Deployment, UnknownError
from ..failures import FAILURES, said
from ..finding import Found, warning
from ..looking import first_that_answers
from ..places import NOBODY, Place
from ..records import Records
from .servers import urls_of

_ID = "([0-9a-f]{32})"
_DRAFT = "_provisioning"
_NAMED_BY_US = re.compile(f"t_{_ID}(?:{_DRAFT})?")

_SCHEMAS = text("SELECT nspname FROM pg_catalog.pg_namespace ORDER BY 1")

_ON_MYSQL = text("SELECT schema_name FROM information_schema.schemata ORDER BY 1")
_DATABASES = {
    # Another deployment on the same server mostly has another user.
    "postgresql": text(
        "SELECT datname FROM pg_catalog.pg_database JOIN pg_catalog.pg_roles r ON r.oid = datdba "
        "WHERE rolname = current_user ORDER BY 1"
    ),
    "mysql": _ON_MYSQL,
    "mariadb": _ON_MYSQL,
}


class _Seen(NamedTuple):
    """Something that has a tenant's id in its name.

    Attributes:
        what: it is, and how it is called.
        tenant_id: in its name.
        namespaces: one of which the store has if it is a tenant's; none for what is there only for a moment.
        remedy: how to see what is in it, and how to drop it.
    """

    what: str
    tenant_id: str
    namespaces: frozenset[str]
    remedy: str

    def is_known(self, records: Records) -> bool:
        if self.namespaces:
            return not self.namespaces.isdisjoint(records.namespaces)
        tenant = records.by_id.get(self.tenant_id)
        at_work = tenant is not None and (not tenant.is_settled or tenant.work is not None)
        return at_work or any(self.tenant_id in row.values() for row in (*records.pending, *records.moves))


async def orphaned_namespaces(deployment: Deployment) -> AsyncIterator[Found]:
    records = await deployment.records()
    own = (await deployment.places()).own
    seen = await _in_database(deployment)
    if own is not None and own.kind == "file":
        seen += await asyncio.to_thread(lambda: list(_in_folder(own, records)))
    elif own is not None:
        seen += await _on_server(deployment, own)
    unknown = _unknown(seen, records)
    # What was created after the store was read is known by now.
    for each in _unknown(unknown, await deployment.fresh_records()) if unknown else ():
        yield warning(f"{each.what} is of no tenant that the store knows", each.remedy)


def _unknown(seen: Iterable[_Seen], records: Records) -> list[_Seen]:
    namespaces = records.namespaces
    return [each for each in seen if namespaces.isdisjoint(each.namespaces) and not each.is_known(records)]


def _in_folder(own: Place, records: Records) -> Iterator[_Seen]:
    parts, known = own.file.parts, records.namespaces
    depth = next(number for number, part in enumerate(parts) if NOBODY in part)
    folder, pattern = Path(*parts[:depth]), re.compile(re.escape(parts[depth]).replace(NOBODY, _ID))
    entries = sorted(entry.name for entry in folder.iterdir()) if folder.is_dir() else []
    for tenant_id in dict.fromkeys(found[1] for entry in entries if (found := pattern.match(entry))):
        file = Path(own.name.replace(NOBODY, tenant_id))
        draft = draft_of_file(file)
        if f"basic/{tenant_id}" not in known and file.exists():
            namespaces = frozenset({f"basic/{tenant_id}", f"sqlite/{file.resolve()}"})
            path = quote(str(file))
            yield _Seen(f"the file {file}", tenant_id, namespaces, f"see what is in it, and then: rm {path}*")
        if draft.exists() and time.time() - draft.stat().st_mtime > PROVISIONING_LEASE.total_seconds():
            yield _Seen(f"the unfinished file {draft}", tenant_id, frozenset(), f"rm {quote(str(draft))}*")


async def _on_server(deployment: Deployment, own: Place) -> list[_Seen]:
    """Databases, which on MySQL are schemas as well."""
    try:
        async with first_that_answers(urls_of(own), deployment.connect) as server:
            names = list(await server.scalars(_DATABASES[server.dialect.name]))
            quote_identifier = server.dialect.identifier_preparer.quote_identifier
    except FAILURES as failure:
        raise UnknownError(said(failure)) from failure
    named_by_settings = re.compile(re.escape(own.name).replace(NOBODY, _ID))
    return [
        _Seen(
            f"the database {name}",
            found[1],
            frozenset() if name.endswith(_DRAFT) else _namespaces(own, name, found[1]),
            f"DROP DATABASE {quote_identifier(name)}, unless it is of another deployment on this server",
        )
        for name in names
        if (found := named_by_settings.fullmatch(name) or _NAMED_BY_US.fullmatch(name))
    ]


def _namespaces(own: Place, name: str, tenant_id: str) -> frozenset[str]:
    if own.url.get_backend_name() == "postgresql":
        return frozenset({f"basic/{tenant_id}", f"postgresql/{server_of(own.url)}/{name}"})
    return frozenset({f"basic/{tenant_id}", f"schema/{tenant_id}", f"mysql/{server_of(own.url)}/{name}"})


async def _in_database(deployment: Deployment) -> list[_Seen]:
    """Schemas of PostgreSQL, which cannot be another deployment's."""
    if deployment.url.get_backend_name() != "postgresql":
        return []
    async with deployment.reach(deployment.url) as connection:
        names = await connection.scalars(_SCHEMAS)
    return [
        _Seen(
            f"the schema {name}",
            found[1],
            frozenset({f"schema/{found[1]}"}),
            f'see what is in it, and then: DROP SCHEMA "{name}" CASCADE',
        )
        for name in names
        if (found := re.fullmatch(f"t_{_ID}", name))
    ]
