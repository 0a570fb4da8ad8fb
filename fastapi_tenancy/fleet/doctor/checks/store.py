"""The store: whether it answers, whether its tables are those of this version, and what time it is there."""

import time
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping
from datetime import UTC, datetime
from shlex import quote
from typing import Any

from sqlalchemy import URL, Connection, Table, inspect, text
from sqlalchemy.ext.asyncio import AsyncConnection
from sqlalchemy.schema import CreateColumn, CreateIndex, CreateTable

from ....lifecycle import PROVISIONING_LEASE
from ....migrations import HEAD
from ....store.models import store_metadata
from ....urls import DEFAULT_PORTS, is_sqlite, server_of, sqlite_file
from ..deployment import Deployment, UnknownError
from ..failures import FAILURES, said
from ..finding import Found, error, warning

_SLOW = 0.1  # seconds: what a request waits more, whose tenant no cache knows
_TRIES = 3

_SKEW = 2.0  # seconds by which two clocks may differ
_LEASE = PROVISIONING_LEASE.total_seconds()

_UTC_NOW: Mapping[str, str] = {
    "postgresql": "SELECT clock_timestamp() AT TIME ZONE 'UTC'",
    "mysql": "SELECT UTC_TIMESTAMP(6)",
    "mariadb": "SELECT UTC_TIMESTAMP(6)",
}

# Whatever opens the tenancy brings the tables to where they should be.
_OPEN = "fastapi-tenancy tenants list"


async def store(deployment: Deployment) -> AsyncIterator[Found]:
    url = deployment.store_url
    if url is not None:
        try:
            async with deployment.connect(url) as connection:
                seconds = [await _round_trip(connection) for _ in range(_TRIES)]
        except FAILURES as failure:
            yield error(f"the store does not answer: {said(failure)}", how_to_look(url, "TENANCY_DATABASE_URL"))
            return
        if min(seconds) > _SLOW:
            yield warning(
                f"the store takes {min(seconds) * 1000:.0f} ms to answer, which each request waits whose tenant is not "
                "remembered",
                "move the store nearer, or set TENANCY_CACHE_TTL and TENANCY_CACHE_SIZE higher",
            )
    try:
        await deployment.records()
    except UnknownError as failure:
        if url is not None:
            yield error(f"the tenants cannot be read: {failure}", f"{_OPEN}, which says more")
        else:
            yield warning(
                f"the tenants are in a store that cannot be read from here: {failure}",
                "where it is open: await tenancy.doctor()",
            )


async def store_tables(deployment: Deployment) -> AsyncIterator[Found]:
    if deployment.store_url is None:
        return
    async with deployment.reach(deployment.store_url) as connection:
        for found in await connection.run_sync(lambda sync: list(_table_faults(sync))):
            yield found


async def clock(deployment: Deployment) -> AsyncIterator[Found]:
    url = deployment.store_url
    if url is None or is_sqlite(url):
        return
    async with deployment.reach(url) as connection:
        before = deployment.now()
        there: datetime = (await connection.execute(text(_UTC_NOW[connection.dialect.name]))).scalar_one()
        here = before + (deployment.now() - before) / 2
    for found in skew(f"the database server {server_of(url)}", there.replace(tzinfo=UTC), here):
        yield found


def skew(whose: str, there: datetime, here: datetime) -> Iterator[Found]:
    """What is to be said of a clock that shows `there` while ours shows `here`."""
    seconds = (there - here).total_seconds()
    if abs(seconds) <= _SKEW:
        return
    grave = abs(seconds) > _LEASE
    yield (error if grave else warning)(
        f"the clock of {whose} is {abs(seconds):.1f} s {'ahead of' if seconds > 0 else 'behind'} this machine's"
        + (f", which is more than a lease lasts ({_LEASE:g} s): live work could be taken for dead" if grave else ""),
        "on both machines: timedatectl set-ntp true",
    )


def how_to_look(url: URL, setting: str) -> str:
    """A command that shows whether there is anything at `url`."""
    file, host = sqlite_file(url), quote(url.host or "localhost")
    if file is not None:
        return f"ls -l {quote(str(file))}; if nothing was ever stored there, {_OPEN} creates it; else correct {setting}"
    port = url.port or DEFAULT_PORTS[url.get_backend_name()]
    ping = (
        f"pg_isready -h {host} -p {port}"
        if url.get_backend_name() == "postgresql"
        else f"mariadb-admin ping -h {host} -P {port}"
    )
    return f"{ping}; if it answers, correct {setting}"


async def _round_trip(connection: AsyncConnection) -> float:
    begun = time.perf_counter()
    await connection.execute(text("SELECT 1"))
    return time.perf_counter() - begun


def _table_faults(connection: Connection) -> Iterator[Found]:
    there = set(inspect(connection).get_table_names())
    expected = store_metadata.sorted_tables
    if not there.intersection(table.name for table in expected):
        yield error("the store has no tables yet: the application has never been started on it", _OPEN)
        return
    revision = (
        connection.scalar(text("SELECT max(revision) FROM tenancy_revisions")) if "tenancy_revisions" in there else 0
    )
    revision = revision or 0
    if revision > HEAD:
        yield error(
            f"the store's tables are at revision {revision}, and this version of the library knows {HEAD}: it does not "
            "start",
            "deploy the version of the library that wrote them",
        )
    elif revision < HEAD:
        yield warning(
            f"the store's tables are at revision {revision}, and this version of the library wants {HEAD}: the next "
            "start brings them there",
            _OPEN,
        )
    else:
        yield from _differences(connection, expected, there)


def _differences(connection: Connection, expected: Iterable[Table], there: set[str]) -> Iterator[Found]:
    looking = inspect(connection)
    for table in expected:
        if table.name not in there:
            yield error(f"the store's table {table.name} is missing", _sql(connection, CreateTable(table)))
            continue
        columns = {column["name"] for column in looking.get_columns(table.name)}
        for column in table.columns:
            if column.name not in columns:
                definition = _sql(connection, CreateColumn(column))
                remedy = f"ALTER TABLE {table.name} ADD COLUMN {definition}"
                yield error(f"the store's table {table.name} has no column {column.name}", remedy)
        yield from _index_faults(connection, table)


def _index_faults(connection: Connection, table: Table) -> Iterator[Found]:
    looking = inspect(connection)
    unique: list[Any] = [key["column_names"] for key in looking.get_unique_constraints(table.name)]
    found = looking.get_indexes(table.name)
    unique += [index["column_names"] for index in found if index["unique"]]
    for column in table.columns:
        if column.unique and [column.name] not in unique:
            yield error(
                f"the store's table {table.name} lets several rows have the same {column.name}",
                f"CREATE UNIQUE INDEX {table.name}_{column.name}_key ON {table.name} ({column.name})",
            )
    for index in table.indexes:
        names = [column.name for column in index.columns]
        if not any(each["column_names"][: len(names)] == names for each in found):
            what = f"the store's table {table.name} has no index on {', '.join(names)}"
            yield warning(what, _sql(connection, CreateIndex(index)))


def _sql(connection: Connection, element: Any) -> str:
    return " ".join(str(element.compile(dialect=connection.dialect)).split())
