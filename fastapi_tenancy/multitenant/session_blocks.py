"""The `async with` and `with` blocks in which a tenant's session is used, and closed whatever happens."""

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import TracebackType

from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.ext.asyncio import AsyncSession, AsyncSessionTransaction
from sqlalchemy.orm import Session

from ..errors import TenantUnavailableError
from ..sqlite import BEGIN_IMMEDIATE


class SessionBlock:
    """A session that never commits by itself. A class and not a generator, because it runs per request."""

    __slots__ = ("_new_session", "_session")

    def __init__(self, new_session: Callable[[], AsyncSession]) -> None:
        self._new_session = new_session

    async def __aenter__(self) -> AsyncSession:
        self._session = self._new_session()
        return self._session

    async def __aexit__(
        self, _kind: type[BaseException] | None, error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        session = self._session
        if session.in_transaction():
            await asyncio.shield(asyncio.create_task(session.close()))  # also when the caller is cancelled
        else:
            session.sync_session.close()  # it holds no connection, so there is nothing to wait for
        raise_if_unavailable(error)


class TransactionBlock(SessionBlock):
    """A session that commits at the end of the block, and rolls back where the block raises."""

    __slots__ = ("_transaction",)
    _transaction: AsyncSessionTransaction

    async def __aenter__(self) -> AsyncSession:
        session = await super().__aenter__()
        self._transaction = session.begin()
        try:
            await self._transaction.__aenter__()
            if session.get_bind().dialect.name == "sqlite":
                # It would otherwise read before it locks, and a decision made on what was read might be outdated.
                await session.connection(execution_options=BEGIN_IMMEDIATE)
        except BaseException as error:
            await super().__aexit__(None, error, None)
            raise
        return session

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            await self._transaction.__aexit__(kind, error, trace)
        except BaseException as late:
            error = late
            raise
        finally:
            await super().__aexit__(None, error, None)


@contextmanager
def session_in_a_thread(new_session: Callable[[], Session]) -> Iterator[Session]:
    """As `SessionBlock`, for a thread."""
    try:
        with new_session() as session:
            yield session
    except (PoolTimeoutError, DBAPIError) as error:
        raise_if_unavailable(error)
        raise


@contextmanager
def transaction_in_a_thread(new_session: Callable[[], Session]) -> Iterator[Session]:
    """As `TransactionBlock`, for a thread."""
    with session_in_a_thread(new_session) as session, session.begin():
        if session.get_bind().dialect.name == "sqlite":
            session.connection(execution_options=BEGIN_IMMEDIATE)
        yield session


def raise_if_unavailable(error: BaseException | None) -> None:
    """What is wrong with the server for the moment is a 503; what is wrong with a statement stays as it is."""
    if isinstance(error, PoolTimeoutError):
        raise TenantUnavailableError(
            "all of the tenant's connections are in use; raise pool_size or max_overflow"
        ) from error
    if isinstance(error, DBAPIError) and error.connection_invalidated:
        raise TenantUnavailableError("the connection to the tenant's database was lost; try again") from error
