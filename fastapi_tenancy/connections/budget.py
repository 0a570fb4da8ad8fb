"""Share out a server's connections among the pools that draw on them: first come, first served."""

from collections.abc import Callable, Iterator
from heapq import merge
from itertools import count, islice
from operator import attrgetter
from threading import RLock
from time import monotonic

from sqlalchemy.pool import ConnectionPoolEntry


class Share:
    """One pool's part in a budget.

    Attributes:
        keep: idle connections that the pool keeps.
        most: connections that it may have open, idle or in use.
        give_up: closes the idle connection of a permit, soon and elsewhere; it is called under the budget's lock.
        opened: connections that it has open, is opening or is closing.
        idle: the permits of its idle connections, the one used last at the end.
        waiters: its checkouts that wait, the oldest first.
    """

    def __init__(self, keep: int, most: int, give_up: "Callable[[Permit], None]") -> None:
        self.keep = keep
        self.most = most
        self.give_up = give_up
        self.opened = 0
        self.idle: dict[Permit, None] = {}
        self.waiters: dict[Waiter, None] = {}


class Permit:
    """The right to one connection, and the entry of the pool that has it.

    It goes back when its last holder lets go: the entry, or what was opened at the server, which may outlive the entry.

    Attributes:
        deadline: when the checkout that was given it has to be over, by the clock `time.monotonic`.
        returned_at: when the connection last came back in good order, by the same clock.
    """

    __slots__ = ("deadline", "entry", "holders", "returned_at", "share")

    def __init__(self, share: Share) -> None:
        self.share = share
        self.holders = 1
        self.entry: ConnectionPoolEntry | None = None
        self.deadline: float | None = None
        self.returned_at = 0.0


class Waiter:
    """A checkout that waits its turn; `wake` is called once `permit` is there, from any thread."""

    __slots__ = ("number", "permit", "share", "wake")

    def __init__(self, share: Share, wake: Callable[[], object]) -> None:
        self.share = share
        self.wake = wake
        self.number = 0
        self.permit: Permit | None = None


class ConnectionBudget:
    """How many connections this process may have open to one server.

    The pools of one event loop and those of any number of threads draw on it together. It knows a pool only by its idle
    connections and its waiters, so a pool that was disposed of leaves nothing behind.

    Args:
        limit: connections, idle ones and those that are being opened or closed included.

    Raises:
        ValueError: the limit is below 1.
    """

    def __init__(self, limit: int) -> None:
        if limit < 1:
            raise ValueError(f"connection_budget is at least 1, not {limit}: nothing could ever connect")
        self._limit = limit
        self._open = 0
        self._idle: dict[Permit, None] = {}  # of all pools, the least recently used first
        self._waiting: dict[Share, None] = {}  # the pools that have waiters
        self._numbers = count()
        self._leaving: set[Permit] = set()  # idle ones that are being closed for those who wait
        self._serving = self._stale = False
        # Reentrant, since the garbage collector may return a connection while this very thread is in here.
        self._lock = RLock()

    @property
    def limit(self) -> int:
        return self._limit

    @property
    def open(self) -> int:
        """Connections that are open, being opened or being closed."""
        return self._open

    @property
    def waiting(self) -> int:
        """Checkouts that wait for a connection."""
        with self._lock:
            return sum(len(share.waiters) for share in self._waiting)

    def take_idle(self, share: Share) -> Permit | None:
        """The permit of the pool's idle connection that was used last."""
        with self._lock:
            if not share.idle:
                return None
            permit, _ = share.idle.popitem()
            del self._idle[permit]
            return permit

    def enter(self, waiter: Waiter) -> bool:
        """Queue up; whether it was served at once."""
        share = waiter.share
        with self._lock:
            waiter.number = next(self._numbers)
            share.waiters[waiter] = self._waiting[share] = None
            if share.idle or share.opened < share.most:  # else only its own pool can help, later
                self._serve()
            return waiter.permit is not None

    def leave(self, waiter: Waiter) -> Permit | None:
        """Stop waiting; the permit that was given meanwhile, which is now the caller's to use or to return."""
        with self._lock:
            if waiter.permit is None:
                self._forget(waiter)
            return waiter.permit

    def put_back(self, permit: Permit) -> bool:
        """Take back a connection in good order; False where nobody wants it and the caller has to close it."""
        share = permit.share
        permit.returned_at = monotonic()
        with self._lock:
            share.idle[permit] = self._idle[permit] = None
            if self._waiting:
                self._serve()
            if len(share.idle) <= share.keep or permit not in share.idle:
                return True
            del share.idle[permit], self._idle[permit]
            return False

    def retire(self, permit: Permit) -> None:
        """The pool's entry lets go of its permit."""
        with self._lock:
            permit.share.opened -= 1
            self.let_go(permit)

    def hold(self, permit: Permit) -> None:
        """Something is opened at the server under this permit."""
        with self._lock:
            permit.holders += 1

    def let_go(self, permit: Permit) -> None:
        """One holder less; with the last one the permit goes to the next who waits."""
        with self._lock:
            permit.holders -= 1
            if not permit.holders:
                self._open -= 1
                self._leaving.discard(permit)
            self._serve()

    def _serve(self) -> None:
        self._stale = True
        if self._serving or not self._waiting:
            return  # where it is being done already, the garbage collector returned something in between
        self._serving = True
        try:
            while self._stale:
                self._stale = False
                self._give_what_there_is()
        finally:
            self._serving = False

    def _give_what_there_is(self) -> None:
        short = 0
        for waiter in self._in_turn():
            share = waiter.share
            if permit := self.take_idle(share):
                self._grant(waiter, permit)
            elif share.opened >= share.most:
                continue  # its idle connection went to an older waiter
            elif self._open < self._limit:
                self._grant(waiter, self._issue(share))
            else:
                short += 1
                if short > len(self._leaving) and self._idle:
                    self._give_up_oldest()

    def _in_turn(self) -> Iterator[Waiter]:
        """The oldest first, those whom an idle connection of their pool or a free permit helps, while there is one."""
        if not self._has_something():
            return
        helpable = [tuple(islice(s.waiters, len(s.idle) + s.most - s.opened)) for s in self._waiting]
        for waiter in merge(*helpable, key=attrgetter("number")):
            if not self._has_something():
                return
            yield waiter

    def _has_something(self) -> bool:
        return bool(self._idle) or self._open < self._limit

    def _grant(self, waiter: Waiter, permit: Permit) -> None:
        self._forget(waiter)
        waiter.permit = permit
        waiter.wake()

    def _forget(self, waiter: Waiter) -> None:
        waiters = waiter.share.waiters
        del waiters[waiter]
        if not waiters:
            del self._waiting[waiter.share]

    def _issue(self, share: Share) -> Permit:
        self._open += 1
        share.opened += 1
        return Permit(share)

    def _give_up_oldest(self) -> None:
        permit = next(iter(self._idle))
        del self._idle[permit], permit.share.idle[permit]
        self._leaving.add(permit)
        permit.share.give_up(permit)
