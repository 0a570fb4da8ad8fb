"""Look at the places of all tenants: at all files in a thread, and at each server in as few questions as can be."""

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from typing import NamedTuple

from sqlalchemy import URL
from sqlalchemy.ext.asyncio import AsyncConnection

from .at_files import look_at_files
from .at_servers import Content, contents, databases_there
from .failures import FAILURES, said
from .places import Place
from .sights import Sight, Sights

# From a URL to a connection of its own.
Connect = Callable[[URL], AbstractAsyncContextManager[AsyncConnection]]

# PostgreSQL's databases take a connection each to look into; of more than so many, some are drawn evenly.
SAMPLE = 20


async def look(places: Iterable[Place], connect: Connect) -> Sights:
    files: list[Place] = []
    servers = defaultdict[tuple[object, ...], list[Place]](list)
    for place in places:
        if place.kind == "file":
            files.append(place)
        elif place.kind != "rows":
            database = place.url.database if place.kind == "schema" else None
            servers[place.kind, place.server, place.url.username, database].append(place)
    answers = asyncio.gather(*(_look_at(theirs, connect) for theirs in servers.values()))
    found = await asyncio.to_thread(look_at_files, files)
    dark = {}
    for answer in await answers:
        if isinstance(answer, _Dark):
            dark[answer.server] = answer.why
        else:
            found += answer
    return Sights(found, dark)


@asynccontextmanager
async def first_that_answers(urls: Sequence[URL], connect: Connect) -> AsyncIterator[AsyncConnection]:
    async with AsyncExitStack() as stack:
        for url in urls:
            try:
                connection = await stack.enter_async_context(connect(url))
            except FAILURES:
                if url is urls[-1]:
                    raise
            else:
                break
        yield connection


class _Dark(NamedTuple):
    """A server that could not be looked at."""

    server: str
    why: str


async def _look_at(places: Sequence[Place], connect: Connect) -> list[Sight] | _Dark:
    try:
        return await _LOOKS[places[0].kind](places, connect)
    except FAILURES as error:
        return _Dark(str(places[0].server), said(error))


async def _look_at_schemas(places: Sequence[Place], connect: Connect) -> list[Sight]:
    async with connect(places[0].url) as connection:
        return await _sights_of(places, connection)


async def _look_at_databases(places: Sequence[Place], connect: Connect) -> list[Sight]:
    async with first_that_answers(places[0].maintenance, connect) as server:
        if server.dialect.name != "postgresql":
            return await _sights_of(places, server)
        names = await databases_there(server)
    there = [place for place in places if place.name in names]
    drawn = there[:: max(1, -(-len(there) // SAMPLE))]
    read = {place.name: await _look_into(place, connect) for place in drawn}
    return [read.get(place.name) or Sight(place, exists=place.name in names) for place in places]


async def _look_into(place: Place, connect: Connect) -> Sight:
    try:
        async with connect(place.url) as connection:
            schema = connection.dialect.default_schema_name or "public"
            return _sight_of(place, (await contents(connection, [schema])).get(schema))
    except FAILURES as error:
        return Sight(place, exists=True, problem=said(error))


async def _sights_of(places: Sequence[Place], connection: AsyncConnection) -> list[Sight]:
    there = await contents(connection, [place.name for place in places])
    return [
        _sight_of(place, there[place.name]) if place.name in there else Sight(place, exists=False) for place in places
    ]


def _sight_of(place: Place, content: Content | None) -> Sight:
    content = content or Content(frozenset(), None, None)
    return Sight(place, exists=True, is_read=True, is_owner_known=True, **content._asdict())


_LOOKS = {"schema": _look_at_schemas, "database": _look_at_databases}
