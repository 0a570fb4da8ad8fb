"""What doctor examines: a deployment as it is, without changing anything in it."""

import asyncio
import errno
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, TypeVar

from sqlalchemy import URL
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from ...multitenant import MultitenantManagerProvider, RootProfile
from ...sealing import Sealer
from ...settings import TenancySettings
from ...store import SQLAlchemyTenantStore, TenantStore
from ...store.sealed import SealedRows
from ...urls import existing_sqlite, is_sqlite, parse_url, sqlite_file
from .failures import FAILURES, said
from .looking import look
from .places import Places, places_of
from .records import Records, read_store, read_tables
from .sights import Sights

T = TypeVar("T")

# Where a database can be held to it.
_READ_ONLY = {"postgresql": {"postgresql_readonly": True}}


class UnknownError(Exception):
    """What a check needs cannot be learnt, and another check says why."""


@dataclass(slots=True)
class Deployment:
    """A deployment, and what is learnt about it once for all checks.

    Attributes:
        is_limited: whether the application limits its tenants.
        now: the time of day in UTC.
    """

    settings: TenancySettings
    provider: MultitenantManagerProvider
    store: TenantStore
    sealer: Sealer | None
    is_limited: bool
    now: Callable[[], datetime]
    _learnt: dict[str, asyncio.Future[Any]] = field(default_factory=dict)
    _engines: dict[URL, AsyncEngine] = field(default_factory=dict)

    @property
    def root(self) -> RootProfile:
        return self.provider.root_profile

    @property
    def url(self) -> URL:
        return parse_url(self.settings.database_url, "database_url")

    @property
    def store_url(self) -> URL | None:
        """Where the store's tables are; None where it is in memory, or is no SQL database."""
        url = self.store.url if isinstance(self.store, SQLAlchemyTenantStore) else None
        return None if url is None or (is_sqlite(url) and sqlite_file(url) is None) else url

    @property
    def sealed(self) -> SealedRows:
        return SealedRows(self.sealer, self.settings.secret_settings if self.sealer else ())

    async def records(self) -> Records:
        """What the store has recorded.

        Raises:
            UnknownError: it does not answer.
        """
        return await self._once("records", self.fresh_records)

    async def fresh_records(self) -> Records:
        """As `records`, as it is at this moment."""
        try:
            if self.store_url is None:
                return await read_store(self.store)
            async with self.connect(self.store_url) as connection:
                return await read_tables(connection, self.sealed)
        except (*FAILURES, ValueError) as error:  # ValueError: a status or settings that this version cannot read
            raise UnknownError(said(error)) from error

    async def places(self) -> Places:
        """Where the tenants' data should be."""
        return await self._once("places", self._places)

    async def sights(self) -> Sights:
        """What is there."""
        return await self._once("sights", self._look)

    @asynccontextmanager
    async def connect(self, url: URL) -> AsyncIterator[AsyncConnection]:
        """A connection within the budget of connections, for reading; one to a file makes none."""
        file = sqlite_file(url)
        if file is not None:
            if not file.exists():
                raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(file))
            url = existing_sqlite(file)
        if url not in self._engines:
            engine = self.root.engines.open(url, hide_parameters=True)
            self._engines[url] = engine.execution_options(**_READ_ONLY.get(url.get_backend_name(), {}))
        async with self._engines[url].connect() as connection:
            if file is not None:
                await connection.exec_driver_sql("PRAGMA query_only=ON")
            yield connection

    @asynccontextmanager
    async def reach(self, url: URL) -> AsyncIterator[AsyncConnection]:
        """As `connect`, for checks that are not the one that says why nobody answers.

        Raises:
            UnknownError: nobody does.
        """
        async with AsyncExitStack() as stack:
            try:
                connection = await stack.enter_async_context(self.connect(url))
            except FAILURES as error:
                raise UnknownError(said(error)) from error
            yield connection

    async def aclose(self) -> None:
        """Give up all connections, and what is still being learnt."""
        learning = list(self._learnt.values())
        for each in learning:
            each.cancel()
        if learning:
            # What hangs is not waited for any longer: a driver may not hear that it is cancelled.
            ended, _ = await asyncio.wait(learning, timeout=1)
            for each in ended:
                each.cancelled() or each.exception()
        for engine in self._engines.values():
            await engine.dispose()

    async def _places(self) -> Places:
        return places_of((await self.records()).tenants, self.provider)

    async def _look(self) -> Sights:
        return await look((await self.places()).found, self.connect)

    async def _once(self, name: str, learn: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """What `learn` returns or raises, for however many checks ask; one that gives up does not end it."""
        if name not in self._learnt:
            self._learnt[name] = asyncio.ensure_future(learn())
        answer: Awaitable[T] = asyncio.shield(self._learnt[name])
        return await answer
