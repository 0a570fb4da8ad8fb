"""What an isolation does: it keeps tenants apart who share one opened database."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar, NamedTuple

from sqlalchemy import URL, Connection, Engine, MetaData
from sqlalchemy.ext.asyncio import AsyncSession

from ...settings import TenancySettings
from ...tenant import Tenant
from ..tables import TenantTables
from .sessions import AnyEngine


class Made(NamedTuple):
    """Statements that make a tenant's tables in the place that bare names lead to, and the revision these are at."""

    revision: str
    statements: Sequence[str]


class Isolation(ABC):
    """Base of `schema`, `rls` and `row`; one instance serves all tenants of a `shared-profile` manager.

    What takes a `Connection` runs in a transaction of the deployment's own user, never of a tenant.

    Attributes:
        name: as `shared_isolation` has it.
        separates: whether each tenant has a place of its own, which `create` makes and `check` looks for.

    Raises:
        ConfigurationError: the database or the tables do not allow it; all the tables are named.
    """

    name: ClassVar[str]
    separates: ClassVar[bool] = False

    @abstractmethod
    def __init__(self, metadata: MetaData, url: URL, settings: TenancySettings) -> None: ...

    def place(self, tenant: Tenant) -> str:
        """The name of the tenant's place, unique and the same for ever."""
        return f"{self.name}/{tenant.id}"

    def tenants_url(self, url: URL) -> URL:
        """What the tenants' connections connect to, where `url` is the deployment's database."""
        return url

    @property
    def starts_with(self) -> Mapping[str, str]:
        """Settings of the server that the tenants' connections start with."""
        return {}

    @abstractmethod
    def prepare(self, connection: Connection, *, create: bool = True) -> None:
        """Create and check what all tenants share; called when the application starts.

        Args:
            connection: to it.
            create: the tenants' tables, where they share them; else migrations make those.

        Raises:
            ConfigurationError: tenants could not be kept apart; the message says what to do.
        """

    def create(  # noqa: B027 - rows need no place of their own
        self, connection: Connection, tenant: Tenant, made: Made | None = None
    ) -> None:
        """Create what is the tenant's own, or do nothing if that was done before.

        Args:
            connection: to what all share.
            tenant: whose.
            made: makes its tables; None for those of `metadata`.

        Raises:
            NamespaceExistsError: something is there that is not the tenant's; it was not touched.
        """

    def create_by(  # noqa: B027 - as above
        self, url: URL, tenant: Tenant, make_tables: Callable[[Connection], object]
    ) -> None:
        """As `create`, in a thread, by what asks the database questions and ends transactions as it likes.

        Args:
            url: of what all share, with a driver for threads.
            tenant: whose.
            make_tables: is called with a connection that finds the empty place by bare names.
        """

    @abstractmethod
    def drop(self, connection: Connection, tenant: Tenant) -> None:
        """Destroy what is the tenant's, or do nothing if it is gone.

        Raises:
            NamespaceExistsError: what is there is not the tenant's; it was not touched.
        """

    def tables(self, url: URL, tenant: Tenant) -> TenantTables:
        """The tenant's tables in the deployment's database, which `url` reaches from a thread."""
        return TenantTables(url, rows_of=tenant.id)

    def check(self, connection: Connection, tenant: Tenant) -> None:  # noqa: B027 - as above
        """Look whether the tenant's place is there, before its profile is opened.

        Raises:
            NamespaceMissingError: it is not, or it is another tenant's.
        """

    @abstractmethod
    def guard(self, engine: Engine) -> None:
        """Make `engine`, which from now on serves tenants only, isolate or refuse whatever it is given."""

    @abstractmethod
    def sessionmaker(self, engine: AnyEngine, session_class: type[AsyncSession], tenant_id: str) -> Any:
        """What opens the sessions of one tenant on a guarded engine, asynchronous or not as the engine is."""
