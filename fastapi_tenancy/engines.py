"""Open database engines, the same way for the library's own tables and for the tenants'."""

import asyncio
import re
from collections.abc import Callable, Mapping
from contextlib import AbstractAsyncContextManager, nullcontext
from types import MappingProxyType
from typing import Any, NamedTuple
from uuid import uuid4

from sqlalchemy import URL, AsyncAdaptedQueuePool, Engine, QueuePool, create_engine
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine
from sqlalchemy.pool import Pool

from .connections import BlockingBudgetedPool, BudgetedPool, ConnectionBudget
from .settings import TenancySettings
from .sqlite import BUSY_TIMEOUT, prepared
from .urls import is_sqlite, server_of, sqlite_file, synchronous
from .usage import TenantUsage

_NOTHING: Mapping[str, str] = MappingProxyType({})

# PostgreSQL, "options" of libpq: a backslash before spaces and backslashes.
_OPTION_SPECIAL = re.compile(r"([\\\s])")
_ESCAPED = r"\\\1"


class Drivers(NamedTuple):
    """What stands in for the modules of a URL's driver: as SQLAlchemy adapts an asynchronous one, and for threads."""

    asynchronous: Any
    blocking: Any


class Engines:
    """Opens the engines of one deployment: its pools, within its budget of connections to each server.

    Attributes:
        usage: what counts the tenants' statements and connections; None where nothing does.
    """

    def __init__(self, settings: TenancySettings, usage: TenantUsage | None = None) -> None:
        self._settings = settings
        self.usage = usage
        self._budgets: dict[str, ConnectionBudget] = {}
        self._server_turns: dict[str, asyncio.Semaphore] = {}
        self.pool_timeout = settings.pool_timeout

    def open(
        self,
        url: URL,
        *,
        starts_with: Mapping[str, str] = _NOTHING,
        hide_parameters: bool = False,
        drivers: Drivers | None = None,
    ) -> AsyncEngine:
        """An engine for `url`; nothing is connected yet.

        Args:
            url: with an asynchronous driver.
            starts_with: the server's settings that its connections start with; PostgreSQL only.
            hide_parameters: keep the statements' values out of logs and errors.
            drivers: in the place of the URL's own.
        """
        module = {} if drivers is None else {"module": drivers.asynchronous}
        options = self._options(url, starts_with, BudgetedPool)
        return open_engine(url, hide_parameters=hide_parameters, **module, **options)

    def open_sync(
        self, url: URL, *, starts_with: Mapping[str, str] = _NOTHING, drivers: Drivers | None = None
    ) -> Engine:
        """The same for `def` endpoints, whose threads cannot use an asynchronous driver.

        Raises:
            ConfigurationError: the driver's synchronous counterpart is not installed.
        """
        url = synchronous(url)
        module = {} if drivers is None else {"module": drivers.blocking}
        return open_sync_engine(url, **module, **self._options(url, starts_with, BlockingBudgetedPool))

    def turns(self) -> asyncio.Semaphore:
        """As many turns as an engine has connections."""
        return asyncio.Semaphore(self._settings.pool_size + self._settings.max_overflow)

    def server_turns(self, url: URL) -> AbstractAsyncContextManager[None]:
        """As many turns as there may be connections to the server, for all engines together."""
        if is_sqlite(url):
            return nullcontext()
        return self._server_turns.setdefault(server_of(url), asyncio.Semaphore(self._settings.connection_budget))

    def stats(self) -> dict[str, dict[str, int]]:
        """For each server its budget, and how much of it is taken."""
        return {
            server: {"limit": budget.limit, "open": budget.open, "waiting": budget.waiting}
            for server, budget in self._budgets.items()
        }

    def _options(self, url: URL, starts_with: Mapping[str, str], pool_class: type[Pool]) -> dict[str, Any]:
        settings = self._settings
        pool = {
            "pool_size": settings.pool_size,
            "max_overflow": settings.max_overflow,
            "pool_timeout": settings.pool_timeout,
        }
        if is_sqlite(url):
            return pool
        budget = self._budgets.setdefault(server_of(url), ConnectionBudget(settings.connection_budget))
        connect_args = _CONNECT_ARGS.get(url.get_driver_name(), _others)
        # A pooler knows no start-up settings, and gives each transaction another connection, without what we prepared.
        pooled = settings.pooler == "transaction"
        return {
            **pool,
            "poolclass": pool_class,
            "budget": budget,
            "connect_args": connect_args(url, pooled or settings.tenant_search_path, {} if pooled else starts_with),
        }


def open_engine(url: URL, **options: Any) -> AsyncEngine:
    """An engine for `url`; nothing is connected yet. `options` are SQLAlchemy's."""
    if not is_sqlite(url):
        return create_async_engine(url, pool_pre_ping=True, **options)
    if sqlite_file(url) is None:
        # A database in memory is its connection: there is one, and whoever needs it waits for it.
        options = {**options, "poolclass": AsyncAdaptedQueuePool, "pool_size": 1, "max_overflow": 0}
    engine = create_async_engine(url, connect_args={"timeout": BUSY_TIMEOUT}, **options)
    prepared(engine.sync_engine)
    return engine


def open_sync_engine(url: URL, **options: Any) -> Engine:
    """As `open_engine`, for a URL with a synchronous driver."""
    if not is_sqlite(url):
        return create_engine(url, pool_pre_ping=True, **options)
    return prepared(create_engine(url, connect_args={"timeout": BUSY_TIMEOUT}, **options))


def connections_of(engine: AsyncEngine | Engine) -> int:
    """How many connections the engine has open, in use or not."""
    pool = engine.pool
    if isinstance(pool, BudgetedPool | BlockingBudgetedPool):
        return pool.opened
    return pool.checkedin() + pool.checkedout() if isinstance(pool, QueuePool) else 0


def _psycopg(url: URL, unprepared: bool, starts_with: Mapping[str, str]) -> dict[str, Any]:
    ours = (f"-c {name}={_OPTION_SPECIAL.sub(_ESCAPED, value)}" for name, value in starts_with.items())
    given = url.query.get("options", ())
    options = " ".join((*((given,) if isinstance(given, str) else given), *ours))
    return {**({"options": options} if options else {}), **({"prepare_threshold": None} if unprepared else {})}


def _asyncpg(_url: URL, unprepared: bool, starts_with: Mapping[str, str]) -> dict[str, Any]:
    if not unprepared:
        return {"server_settings": dict(starts_with)}
    return {
        "server_settings": dict(starts_with),
        "statement_cache_size": 0,
        "prepared_statement_cache_size": 0,
        # Behind a pooler, a name may be there already, from another client.
        "prepared_statement_name_func": lambda: f"tenancy_{uuid4().hex}",
    }


def _others(_url: URL, _unprepared: bool, _starts_with: Mapping[str, str]) -> dict[str, Any]:
    return {}


_CONNECT_ARGS: Mapping[str, Callable[[URL, bool, Mapping[str, str]], dict[str, Any]]] = {
    "psycopg": _psycopg,
    "asyncpg": _asyncpg,
}
