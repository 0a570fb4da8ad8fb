"""A place of tables to compare the models with: a tenant's, or one that is made for it and gone afterwards."""

import asyncio
from collections.abc import Callable, Coroutine, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, TypeVar
from uuid import uuid4

from sqlalchemy import URL, Connection, NullPool
from sqlalchemy.exc import DBAPIError, OperationalError

from ..engines import open_sync_engine
from ..errors import ConfigurationError, TenantNotFoundError
from ..multitenant import MultitenantManagerProvider
from ..multitenant.tables import TenantTables
from ..settings import TenancySettings
from ..store import TenantStore
from ..tenant import Tenant, TenantStatus
from ..urls import is_sqlite, parse_url, server_of

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Reference:
    """A place of tables to compare the models with.

    Attributes:
        connection: finds the tables by their bare names.
        is_scratch: it is empty, and gone afterwards.
        holds_shared: the tables that all tenants share are in it.
    """

    connection: Connection
    is_scratch: bool
    holds_shared: bool


@contextmanager
def reference_to(
    identifier: str | None, store: TenantStore, provider: MultitenantManagerProvider
) -> Iterator[Reference]:
    """The tables of the tenant `identifier`; None for an empty place of the kind that new tenants get."""
    tenant = _nobody() if identifier is None else _in_a_loop(lambda: _find(store, identifier))
    manager = provider.for_tenant(tenant)
    tenant = replace(tenant, namespace=tenant.namespace or manager.namespace(tenant))
    tables = _in_a_loop(lambda: manager.tables(tenant))
    place = _scratch(tables, provider.root_profile.settings) if identifier is None else nullcontext(tables)
    with place as there, there.connect() as connection:
        yield Reference(connection, identifier is None, not str(tenant.namespace).startswith("schema/"))


def _scratch(tables: TenantTables, settings: TenancySettings) -> AbstractContextManager[TenantTables]:
    """An empty place of the kind where `tables` would be, if their tenant was there."""
    url = tables.url
    if is_sqlite(url):
        return _scratch_file()
    if tables.schema is not None:
        return _made(tables, (url,), "SCHEMA {}", tables.schema, "CASCADE")
    template = settings.tenant_template
    if tables.rows_of is not None:  # a database of its own: what is shared is told apart by nothing but the database
        tables, template = TenantTables(url.set(database=f"t_{tables.rows_of}")), None
    definition = "DATABASE {}" + (" TEMPLATE {}" if template else "")
    forced = "WITH (FORCE)" if url.get_backend_name() == "postgresql" else ""
    return _made(tables, _servers(url, settings), definition, str(tables.url.database), forced, template)


@contextmanager
def _scratch_file() -> Iterator[TenantTables]:
    with TemporaryDirectory() as folder:
        yield TenantTables(URL.create("sqlite+pysqlite", database=str(Path(folder, "reference.db"))))


@contextmanager
def _made(
    tables: TenantTables, servers: Sequence[URL], definition: str, name: str, drop: str, template: str | None = None
) -> Iterator[TenantTables]:
    kind = definition.partition(" ")[0]
    try:
        _run(servers, f"CREATE {definition}", name, *([template] if template else []))
    except DBAPIError as error:
        raise ConfigurationError(
            f"no scratch {kind.lower()} to compare with could be made ({error.orig}); let the deployment's user make "
            "one, or compare with a tenant: alembic -x tenant=acme …"
        ) from error
    try:
        yield tables
    finally:
        _run(servers, f"DROP {kind} {{}} {drop}", name)


def _servers(url: URL, settings: TenancySettings) -> Sequence[URL]:
    """What one can connect to while the database of `url` is not there; the first that lets us in will do."""
    if url.get_backend_name() != "postgresql":
        return (url._replace(database=None),)
    ours = parse_url(settings.database_url, "database_url")
    here = not is_sqlite(ours) and server_of(ours) == server_of(url)
    return tuple(url.set(database=name) for name in ([ours.database] if here else []) + ["postgres", "template1"])


def _run(servers: Sequence[URL], statement: str, *names: str) -> None:
    for url in servers:
        engine = open_sync_engine(url, poolclass=NullPool, isolation_level="AUTOCOMMIT")
        try:
            with engine.connect() as connection:
                quote = connection.dialect.identifier_preparer.quote_identifier
                connection.exec_driver_sql(statement.format(*map(quote, names)))
                return
        except OperationalError:
            if url is servers[-1]:
                raise


async def _find(store: TenantStore, identifier: str) -> Tenant:
    try:
        await store.open()
        tenant = await store.get_by_identifier(identifier)
    finally:
        await store.close()
    if tenant is None:
        raise TenantNotFoundError(f"no tenant {identifier!r} to compare with")
    return tenant


def _nobody() -> Tenant:
    now = datetime.now(UTC)
    return Tenant(
        id=uuid4().hex,
        identifier="reference",
        name="reference",
        status=TenantStatus.PROVISIONING,
        created_at=now,
        updated_at=now,
    )


def _in_a_loop(work: Callable[[], Coroutine[Any, Any, T]]) -> T:
    """Await it also where this thread has a loop that waits for us."""
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(lambda: asyncio.run(work())).result()
