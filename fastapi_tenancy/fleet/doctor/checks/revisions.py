"""Whether the tenants' tables are those that the code expects, and what is recorded of them is true."""

from collections.abc import AsyncIterator, Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

from sqlalchemy import MetaData, inspect

from ....errors import ConfigurationError
from ....migrations import MigrationScripts, revision_of
from ....multitenant.isolation.scoped import is_shared
from ....tenant import Tenant
from ..deployment import Deployment
from ..finding import Found, error, warning
from ..records import Records


class _Tables(NamedTuple):
    """What was seen of some tables.

    Attributes:
        tenants: whose.
        names: of the tables.
        revision: that they are at.
        is_shared: whether they are all tenants', who have rows in them.
    """

    tenants: Sequence[Tenant]
    names: frozenset[str]
    revision: str | None
    is_shared: bool = False


async def revisions(deployment: Deployment) -> AsyncIterator[Found]:
    records, scripts = await deployment.records(), deployment.root.scripts
    if scripts is None:
        for found in _without_migrations(records):
            yield found
        return
    if scripts.head is None:
        return
    seen = await _seen(deployment)
    true = {tenant.id: each.revision for each in seen for tenant in each.tenants}
    for tenant in records.tenants:
        if tenant.is_settled:
            for found in _of_tenant(tenant, scripts, true, records.errors):
                yield found


async def tenant_tables(deployment: Deployment) -> AsyncIterator[Found]:
    scripts, metadata = deployment.root.scripts, deployment.root.metadata
    lacking = [(each, missing) for each in await _seen(deployment) if (missing := _missing(each, metadata))]
    if scripts is None or scripts.head is None:
        for each, missing in lacking:
            yield _lacking(each, missing)
        return
    # What is behind will get its tables; what the head itself lacks, no migration makes.
    at_head = {name for each, missing in lacking if each.revision == scripts.head for name in missing}
    if at_head:
        yield error(
            f"the models have tables that no migration makes, so no tenant has them: {', '.join(sorted(at_head))}",
            'alembic revision --autogenerate -m "…", and then: fastapi-tenancy migrate',
        )


def _lacking(seen: _Tables, missing: Iterable[str]) -> Found:
    names = ", ".join(missing)
    if seen.is_shared:
        return warning(f"the tables {names} are not there: the next start makes them", "fastapi-tenancy tenants list")
    return error(
        f"it was created before the models had all their tables, and lacks {names}",
        "keep migrations: fastapi-tenancy migrations init migrations; and set TENANCY_MIGRATIONS=migrations",
        seen.tenants[0].identifier,
    )


def _without_migrations(records: Records) -> Iterator[Found]:
    migrated = [tenant.identifier for tenant in records.tenants if tenant.revision is not None]
    if migrated:
        yield warning(
            f"{len(migrated)} tenants such as {migrated[0]} were made by migrations, and the settings name none: "
            "nobody notices when they fall behind",
            "set TENANCY_MIGRATIONS to the application's Alembic folder",
        )


def _of_tenant(
    tenant: Tenant, scripts: MigrationScripts, true: Mapping[str, str | None], failed: Mapping[str, str]
) -> Iterator[Found]:
    name, revision = tenant.identifier, true.get(tenant.id, tenant.revision)
    if revision != tenant.revision:
        yield warning(
            f"its tables are at revision {revision}, and {tenant.revision} is recorded",
            f"fastapi-tenancy migrate --tenant {name}",
            name,
        )
    if scripts.is_behind(revision):
        why = f"; the last attempt failed: {failed[tenant.id].splitlines()[0]}" if tenant.id in failed else ""
        adopt = "" if revision is not None else "; where they are at the head already, add --stamp"
        yield error(
            f"its tables are at revision {revision}, behind {scripts.head}, so it is not served{why}",
            f"fastapi-tenancy migrate --tenant {name}{adopt}",
            name,
        )
    elif revision is not None and not _is_known(revision, scripts):
        yield warning(
            f"its tables are at revision {revision}, which {scripts.folder} does not have: they belong to newer code",
            "deploy the newer code, or bring its migrations back",
            name,
        )


def _is_known(revision: str, scripts: MigrationScripts) -> bool:
    try:
        return scripts.resolve(revision) == revision
    except ConfigurationError:
        return False


def _missing(seen: _Tables, metadata: MetaData) -> list[str]:
    # Shared tables are elsewhere where a tenant has its own schema, and their own schema may be another one.
    expected = (table for table in metadata.tables.values() if table.schema is None and not is_shared(table))
    return sorted(table.name for table in expected if table.name not in seen.names)


async def _seen(deployment: Deployment) -> list[_Tables]:
    found = [
        _Tables([sight.place.tenant], sight.tables, sight.revision)
        for sight in (await deployment.sights()).found
        if sight.is_read and sight.owner == sight.place.tenant.id and sight.place.tenant.is_settled
    ]
    return [*found, *await _shared(deployment)]


async def _shared(deployment: Deployment) -> list[_Tables]:
    """The tables in which several tenants have their rows."""
    tenants = [place.tenant for place in (await deployment.places()).found if place.kind == "rows"]
    if not tenants:
        return []
    async with deployment.reach(deployment.url) as connection:
        names = await connection.run_sync(lambda sync: frozenset(inspect(sync).get_table_names()))
        return [_Tables(tenants, names, await connection.run_sync(revision_of), is_shared=True)]
