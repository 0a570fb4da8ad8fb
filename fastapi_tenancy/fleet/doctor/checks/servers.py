"""The servers that tenants' data are on: whether they answer, and let the library do what it has to."""

import asyncio
import re
from collections import defaultdict
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping, Sequence
from shlex import quote

from sqlalchemy import URL, text
from sqlalchemy.ext.asyncio import AsyncConnection

from ..deployment import Deployment
from ..failures import FAILURES, said
from ..finding import Found, error, warning
from ..looking import first_that_answers
from ..places import NOBODY, Place
from ..sights import Sight
from .store import how_to_look

_ON_POSTGRESQL = text("""
    SELECT quote_ident(rolname) AS role, rolsuper, rolcreatedb, rolcreaterole,
        quote_ident(current_database()) AS database, has_database_privilege(current_database(), 'CREATE') AS may_create,
        current_setting('max_connections')::integer - current_setting('superuser_reserved_connections')::integer AS most
    FROM pg_catalog.pg_roles WHERE rolname = current_user
""")

_HAS_DATABASE = text("SELECT count(*) FROM pg_catalog.pg_database WHERE datname = :name")

# As MySQL shows what a user may do; a role that is granted may do it, too, and is not looked into.
_GRANT = re.compile(r"GRANT (?:ALL PRIVILEGES|(?:.*, )?CREATE(?:,.*)?) ON (?:`?(?P<names>.*?)`?)\.\* TO ")
_ROLE = re.compile(r"GRANT `")


async def servers(deployment: Deployment) -> AsyncIterator[Found]:
    places = _by_server(list((await deployment.places()).all()))
    silent = await asyncio.gather(*(_silence_of(deployment, theirs[0]) for theirs in places.values()))
    for (server, theirs), why in zip(places.items(), silent, strict=True):
        if why is not None:
            names = [place.tenant.identifier for place in theirs if place.tenant.id != NOBODY]
            whose = f"{len(names)} tenants such as {names[0]}" if names else "new tenants"
            yield error(
                f"the database server {server} does not answer, on which are {whose}: {why}",
                how_to_look(theirs[0].url, "the tenants' database URLs"),
            )
    sights = await deployment.sights()
    for server, why in sights.dark.items():
        if silent[list(places).index(server)] is None:
            yield error(
                f"what the tenants have on the database server {server} cannot be looked at: {why}",
                "give the user of the URL back what is the tenants': it owned all of it",
            )
    for sight in sights.found:
        if sight.problem is not None:
            yield _unreadable(sight)


async def rights(deployment: Deployment) -> AsyncIterator[Found]:
    place = (await deployment.places()).of_new
    if place is None or place.server is None:
        return
    urls = urls_of(place)
    try:
        async with first_that_answers(urls, deployment.connect) as server:
            found = await _RIGHTS[server.dialect.name](deployment, place, server)
    except FAILURES:
        return  # `servers` says so
    for each in found:
        yield each


def urls_of(place: Place) -> Sequence[URL]:
    """What on its server to connect to, the best first."""
    return place.maintenance or (place.url,)


def _by_server(places: Sequence[Place]) -> Mapping[str, list[Place]]:
    found = defaultdict[str, list[Place]](list)
    for place in places:
        if place.server is not None:
            found[place.server].append(place)
    return found


async def _silence_of(deployment: Deployment, place: Place) -> str | None:
    """Why the place's server does not answer; None where it does."""
    try:
        async with first_that_answers(urls_of(place), deployment.connect):
            return None
    except FAILURES as failure:
        return said(failure)


def _unreadable(sight: Sight) -> Found:
    place = sight.place
    return error(
        f"the {place.kind} {place.name} cannot be read: {sight.problem}",
        f"ls -l {quote(place.name)}" if place.kind == "file" else how_to_look(place.url, "its URL"),
        place.tenant.identifier,
    )


async def _on_postgresql(deployment: Deployment, place: Place, server: AsyncConnection) -> list[Found]:
    role = (await server.execute(_ON_POSTGRESQL)).one()
    settings, wanted = deployment.settings, list[Found]()
    if place.kind == "database" and not (role.rolsuper or role.rolcreatedb):
        wanted.append(
            error(f"the role {role.role} may not create databases for new tenants", f"ALTER ROLE {role.role} CREATEDB")
        )
    if place.kind == "database" and settings.tenant_role and not (role.rolsuper or role.rolcreaterole):
        wanted.append(
            error(
                f"tenant_role is set, and the role {role.role} may not create roles",
                f"ALTER ROLE {role.role} CREATEROLE",
            )
        )
    if place.kind == "schema" and not role.may_create:
        wanted.append(
            error(
                f"the role {role.role} may not create schemas for new tenants",
                f"GRANT CREATE ON DATABASE {role.database} TO {role.role}",
            )
        )
    template = settings.tenant_template
    if place.kind == "database" and template and not await server.scalar(_HAS_DATABASE, {"name": template}):
        wanted.append(
            error(
                f"tenant_template names the database {template!r}, which is not there", f'CREATE DATABASE "{template}"'
            )
        )
    return [*wanted, *_budget(deployment, role.most)]


async def _on_mysql(deployment: Deployment, place: Place, server: AsyncConnection) -> list[Found]:
    grants = [str(row[0]) for row in await server.execute(text("SHOW GRANTS"))]
    user, most = (await server.execute(text("SELECT CURRENT_USER(), @@max_connections"))).one()
    wanted = []
    if place.kind == "database" and not may_create(place.name, grants):
        names, (name, _, host) = place.name.replace("_", r"\_").replace(NOBODY, "%"), user.rpartition("@")
        what = f"the user {user} may not create databases for new tenants"
        wanted.append(error(what, f"GRANT ALL ON `{names}`.* TO '{name}'@'{host}'"))
    return [*wanted, *_budget(deployment, most)]


def may_create(database: str, grants: Iterable[str]) -> bool:
    """Whether what MySQL's SHOW GRANTS lists lets a user create the database; True where roles may let him."""
    for grant in grants:
        found = _GRANT.match(grant)
        if _ROLE.match(grant) or (found is not None and _like(found["names"]).fullmatch(database)):
            return True
    return False


def _like(names: str) -> re.Pattern[str]:
    """A pattern of LIKE, in which * stands for all."""
    parts = re.findall(r"\\.|.", "%" if names == "*" else names)
    return re.compile("".join({"%": ".*", "_": "."}.get(part) or re.escape(part[-1]) for part in parts))


_RIGHTS = {"postgresql": _on_postgresql, "mysql": _on_mysql, "mariadb": _on_mysql}


def _budget(deployment: Deployment, most: int) -> Iterator[Found]:
    budget = deployment.settings.connection_budget
    if budget > most:
        yield warning(
            f"connection_budget is {budget}, and the server has {most} connections for all its clients",
            f"set TENANCY_CONNECTION_BUDGET to {most} divided by the number of workers",
        )
