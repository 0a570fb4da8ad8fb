"""What the asynchronous and the blocking pool have in common."""

import asyncio
import socket
import weakref
from abc import abstractmethod
from collections.abc import Callable
from concurrent.futures import Future
from functools import partial
from time import monotonic
from typing import Any, Generic, Self, TypeVar, cast

from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.pool import ConnectionPoolEntry, Pool
from sqlalchemy.pool.base import _ConnectionRecord

from ..errors import TenantUnavailableError
from .budget import ConnectionBudget, Permit, Share, Waiter
from .driver import is_refusal, second_handle, unavailable

# Seconds for which a connection that was returned in good order counts as alive.
_FRESH = 1.0

AttemptT = TypeVar("AttemptT", asyncio.Future[Any], Future[Any])


class DrawingPool(Pool, Generic[AttemptT]):
    """A pool that draws on a budget. `AttemptT` is the future of what it runs in the background.

    A checkout takes the idle connection that was used last; else it opens one, if the pool and the budget have room;
    else the budget has another pool give up an idle one; else it waits its turn.

    Args:
        creator: opens a connection; see SQLAlchemy's `Pool`, which also takes the other keywords.
        budget: shared by all pools of one server.
        pool_size: idle connections that are kept.
        max_overflow: connections that may be open beyond those while they are needed.
        timeout: seconds for a checkout, to wait and to connect.

    Raises:
        TenantUnavailableError: at a checkout; none became free in time, or the server refuses or does not answer.
        NamespaceMissingError: at a checkout; the server has no such database.
    """

    # Not keyword-only: create_engine() passes a pool only what could be given by position.
    def __init__(
        self,
        creator: Callable[..., DBAPIConnection],
        budget: ConnectionBudget,
        pool_size: int = 5,
        max_overflow: int = 5,
        timeout: float = 5.0,
        **pool: Any,
    ) -> None:
        super().__init__(creator, **pool)
        self._budget = budget
        self._size = pool_size
        self._timeout = timeout
        self._share = Share(pool_size, pool_size + max_overflow, self._give_up)
        self._permits: dict[ConnectionPoolEntry, Permit] = {}
        # By id(), since a connection that everybody else has forgotten must not be kept alive from here.
        self._ends: dict[int, Callable[[], object]] = {}

    @property
    def opened(self) -> int:
        """Connections of this pool, idle and in use."""
        return self._share.opened

    def status(self) -> str:
        share, budget = self._share, self._budget
        return (
            f"{share.opened} of the pool's {share.most} connections are open, {len(share.idle)} of them idle; "
            f"{budget.open} of the budget's {budget.limit}, {budget.waiting} waiting"
        )

    def recreate(self) -> Self:
        self.logger.info("Pool recreating")
        return type(self)(
            self._creator,
            budget=self._budget,
            pool_size=self._size,
            max_overflow=self._share.most - self._size,
            timeout=self._timeout,
            recycle=self._recycle,
            echo=self.echo,
            logging_name=self._orig_logging_name,
            reset_on_return=self._reset_on_return,
            pre_ping=self._pre_ping,
            _dispatch=self.dispatch,
            dialect=self._dialect,
        )

    def dispose(self) -> None:
        """Close what is idle now, and what is in use once it is returned."""
        self._share.keep = 0
        while permit := self._budget.take_idle(self._share):
            self._discard(self._entry(permit))
        self.logger.info("Pool disposed. %s", self.status())

    def _do_get(self) -> ConnectionPoolEntry:
        permit = self._budget.take_idle(self._share)
        if permit is None or permit.entry is None:
            return self._queue_up()
        # SQLAlchemy's pre-ping, a round trip, passes over what is fresh.
        cast("_ConnectionRecord", permit.entry).fresh = monotonic() - permit.returned_at < _FRESH
        return permit.entry

    def _do_return_conn(self, record: ConnectionPoolEntry) -> None:
        # A record without a connection was invalidated or detached, or could not connect.
        if record.dbapi_connection is None or not self._budget.put_back(self._permits[record]):
            self._discard(record)

    def _queue_up(self) -> ConnectionPoolEntry:
        deadline = monotonic() + self._timeout
        wake, wait = self._signal()
        waiter = Waiter(self._share, wake)
        try:
            if not self._budget.enter(waiter):
                wait(self._timeout)
        except BaseException:
            # It may have been served at the very moment at which it was cancelled.
            if permit := self._budget.leave(waiter):
                self._do_return_conn(self._entry(permit))
            raise
        permit = self._budget.leave(waiter)
        if permit is None:
            raise TenantUnavailableError(
                f"no database connection became free within {self._timeout:g} s ({self.status()}); "
                "raise connection_budget, pool_size or pool_timeout"
            )
        return self._entry(permit, deadline)

    def _entry(self, permit: Permit, deadline: float | None = None) -> ConnectionPoolEntry:
        if permit.entry is None:
            # SQLAlchemy connects it next, and returns it if that fails.
            permit.entry = _ConnectionRecord(self, connect=False)
            permit.deadline = deadline
            self._permits[permit.entry] = permit
        return permit.entry

    def _discard(self, record: ConnectionPoolEntry) -> None:
        try:
            record.close()
        finally:
            self._drop(record)

    def _drop(self, record: ConnectionPoolEntry) -> None:
        permit = self._permits.pop(record)
        permit.entry = None  # or it would keep alive what waits for the end of the connection
        self._budget.retire(permit)

    def _give_up(self, permit: Permit) -> None:
        record = self._entry(permit)
        try:
            self._later(self._discard, record)
        except RuntimeError:
            self._drop(record)  # its event loop is closed, or no thread can be had: nobody can close it

    def _should_wrap_creator(self, creator: Any) -> Any:
        return partial(self._connect, super()._should_wrap_creator(creator))

    def _connect(self, connect: Callable[..., DBAPIConnection], record: ConnectionPoolEntry) -> DBAPIConnection:
        permit = self._permits[record]
        seconds = self._timeout if permit.deadline is None else permit.deadline - monotonic()
        permit.deadline = None  # it was for this checkout; a later one may have to connect again
        attempt = self._run(connect, record)
        self._budget.hold(permit)
        done = False
        try:
            done = self._wait(attempt, seconds)
        finally:
            if not done:
                attempt.add_done_callback(partial(self._close_late, permit))
                attempt.cancel()
        if not done:
            raise TenantUnavailableError(f"the database server did not answer within {self._timeout:g} s")
        return self._connected(attempt, permit)

    def _connected(self, attempt: AttemptT, permit: Permit) -> DBAPIConnection:
        try:
            connection: DBAPIConnection = attempt.result()
        except BaseException as error:
            self._budget.let_go(permit)
            if is_refusal(error, self._dialect):
                raise unavailable(error) from error
            raise
        self._track(connection, permit)
        return connection

    def _close_late(self, permit: Permit, attempt: AttemptT) -> None:
        """Clear up after an attempt that nobody waits for any more; only now does its permit go back."""
        if attempt.cancelled() or attempt.exception():
            self._budget.let_go(permit)
        else:
            self._track(attempt.result(), permit)
            self._later(partial(self._close_connection, attempt.result(), terminate=True))

    def _track(self, connection: DBAPIConnection, permit: Permit) -> None:
        end: Callable[[], object]
        try:
            # What is left to the garbage collector SQLAlchemy cannot always close; then the driver does as it goes.
            end = weakref.finalize(self._dialect.get_driver_connection(connection), self._budget.let_go, permit)
            end.atexit = False
        except TypeError:  # not every driver's connection takes a weak reference
            end = partial(self._budget.let_go, permit)
        self._ends[id(connection)] = end

    def _close_connection(self, connection: DBAPIConnection, *, terminate: bool = False) -> None:
        end = self._ends.pop(id(connection), None)
        line = second_handle(self._dialect.get_driver_connection(connection)) if end else None
        try:
            super()._close_connection(connection, terminate=terminate)
        finally:
            if end and line:
                self._once_hung_up(line, end)
            elif end:
                end()

    @abstractmethod
    def _signal(self) -> tuple[Callable[[], object], Callable[[float], object]]:
        """What wakes a waiter, from any thread, and how it waits: for so many seconds at most."""

    @abstractmethod
    def _run(self, function: Callable[..., object], *arguments: object) -> AttemptT:
        """Start it in the background."""

    @abstractmethod
    def _wait(self, attempt: AttemptT, seconds: float) -> bool:
        """Whether it came to its end within that time."""

    @abstractmethod
    def _later(self, function: Callable[..., object], *arguments: object) -> object:
        """Have it run in the background, from any thread."""

    @abstractmethod
    def _once_hung_up(self, line: socket.socket, end: Callable[[], object]) -> None:
        """Call `end` when the server has hung up too."""
