"""What each kind of database has in common: create, open and drop the tenants' own."""

import asyncio
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Collection, Coroutine, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from typing import Any, ClassVar, TypeVar

from sqlalchemy import URL, ColumnClause, Connection, NullPool, select
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection

from ...connections import codes_of
from ...engines import open_sync_engine
from ...errors import ConfigurationError, NamespaceExistsError, NamespaceMissingError, TenantUnavailableError
from ...tenant import Tenant
from ...urls import synchronous
from ..engine_pair import EnginePair
from ..owner import owner_at_once
from ..profile import RootProfile
from .addresses import Address

T = TypeVar("T")

# By PostgreSQL's SQLSTATE or MySQL's error number: what the server refuses until somebody changes its set-up.
_REMEDIES: dict[object, str] = {
    "42501": "give the user of the URL the rights: ALTER ROLE … CREATEDB, with tenant_role also CREATEROLE",
    1044: "give the user of the URL the rights: GRANT ALL ON `t\\_%`.* TO …, and on the tenant's database",
}

# What passes by itself: SQLSTATE's classes of lost connections, lack of resources, objects in use, operators and I/O
# <https://www.postgresql.org/docs/current/errcodes-appendix.html>, and MySQL's numbers for the same.
_PASSING = ("08", "53", "55", "57", "58", "1040", "1053", "1203", "1205", "1213", "2006", "2013")


class Databases(ABC):
    """One kind of database; an instance serves all tenants whose databases are of that kind."""

    def __init__(self, root_profile: RootProfile) -> None:
        self._root_profile = root_profile
        self._metadata = root_profile.metadata
        self._engines = root_profile.engines

    @abstractmethod
    async def create(self, address: Address, tenant: Tenant) -> None:
        """Create the tenant's database with its tables, whole or not at all; nothing if that was done before.

        Raises:
            NamespaceExistsError: another database is there; it was not touched.
            ConfigurationError: the server or the folder does not let us; the message says what to do.
            TenantUnavailableError: the server cannot be reached.
        """

    @abstractmethod
    async def open(self, address: Address, tenant: Tenant) -> EnginePair:
        """Engines for the tenant's database.

        Raises:
            NamespaceMissingError: it is not there, or it is another tenant's.
            TenantUnavailableError: the server cannot be reached.
        """

    @abstractmethod
    async def drop(self, address: Address, tenant: Tenant) -> None:
        """Destroy the tenant's database and what is left of an interrupted creation; nothing if it is gone.

        Raises:
            NamespaceExistsError: the database is not the tenant's; it was not touched.
            TenantUnavailableError: the server cannot be reached.
        """


class ServerDatabases(Databases):
    """What servers have in common. One creation has one connection at a time, so that many cannot starve each other.

    Attributes:
        names: the column in the server's catalogue that lists the databases.
    """

    names: ClassVar[ColumnClause[str]]

    async def open(self, address: Address, tenant: Tenant) -> EnginePair:
        async with AsyncExitStack() as stack:
            engines = EnginePair(self._engines, address.url)
            stack.push_async_callback(engines.dispose)
            with _answered():
                async with engines.engine.connect() as connection:
                    owner = await connection.run_sync(owner_at_once)
            if owner != tenant.id:
                raise NamespaceMissingError(
                    f"the database {address.name!r} belongs to {owner or 'nobody'} and not to {tenant.id}; restore it"
                )
            stack.pop_all()
        return engines

    @asynccontextmanager
    async def _autocommit(self, *urls: URL) -> AsyncIterator[AsyncConnection]:
        """A connection to the first of `urls` that lets us in, without transactions, as `CREATE DATABASE` wants it."""
        with _answered():
            async with AsyncExitStack() as stack:
                for url in urls:
                    engine = self._engines.open(url).execution_options(isolation_level="AUTOCOMMIT")
                    stack.push_async_callback(engine.dispose)
                    try:
                        connection = await stack.enter_async_context(engine.connect())
                    except TenantUnavailableError:
                        if url is urls[-1]:
                            raise
                    else:
                        break
                yield connection

    @asynccontextmanager
    async def _transaction(self, url: URL) -> AsyncIterator[AsyncConnection]:
        with _answered():
            async with AsyncExitStack() as stack:
                engine = self._engines.open(url)
                stack.push_async_callback(engine.dispose)
                yield await stack.enter_async_context(engine.begin())

    async def _existing(self, connection: AsyncConnection, *names: str) -> Collection[str]:
        """Those of the databases that are there."""
        return set(await connection.scalars(select(self.names).where(self.names.in_(names))))


def make_tables(root_profile: RootProfile, connection: Connection) -> None:
    """Make the tables of a new tenant in an empty place, which nobody else knows of."""
    if root_profile.scripts is None or root_profile.head is None:
        root_profile.metadata.create_all(connection, checkfirst=False)
    else:
        root_profile.scripts.upgrade(connection)


@contextmanager
def connected(url: URL, **options: Any) -> Iterator[Connection]:
    """A connection for a thread, beside the budget: migrations are run there, one at a time."""
    with _answered():
        engine = open_sync_engine(synchronous(url), hide_parameters=True, poolclass=NullPool, **options)
        try:
            with engine.connect() as connection:
                yield connection
        finally:
            engine.dispose()


def draft_of(tenant: Tenant) -> str:
    """The name of a database that is there only while the tenant's own is created or dropped."""
    return f"t_{tenant.id}_provisioning"


def taken(what: object, tenant: Tenant) -> NamespaceExistsError:
    return NamespaceExistsError(f"{what} is there already and is not of {tenant.identifier!r}; move it away")


def error_code(error: DBAPIError) -> object:
    """PostgreSQL's SQLSTATE or MySQL's error number."""
    return next(iter(codes_of(error.orig)), None)


def quoted(connection: AsyncConnection, statement: str, **names: str) -> str:
    """The statement with the names of databases and roles in their places."""
    quote = connection.dialect.identifier_preparer.quote_identifier
    return statement.format(**{key: quote(name) for key, name in names.items()})


async def uninterrupted(work: Coroutine[Any, Any, T]) -> T:
    """Await `work`; a cancellation counts when it has ended, so that a server does nothing behind our back."""
    task = asyncio.ensure_future(work)
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        await asyncio.gather(task, return_exceptions=True)
        raise


@contextmanager
def _answered() -> Iterator[None]:
    """What is wrong with the server is said as ours; what is wrong with the application's tables stays as it is."""
    try:
        yield
    except DBAPIError as error:
        remedy = _REMEDIES.get(error_code(error))
        if remedy is not None:
            raise ConfigurationError(f"the database server refuses ({error.orig}); {remedy}") from error
        if error.connection_invalidated or str(error_code(error)).startswith(_PASSING):
            raise TenantUnavailableError(f"the database server failed: {error.orig}") from error
        raise
