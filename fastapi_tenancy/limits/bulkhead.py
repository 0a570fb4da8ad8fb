"""At most so many requests of one tenant at once, and a short queue for the next ones."""

import asyncio
from collections import deque
from math import ceil

from ..errors import TenantBusyError
from .plans import Limit

Turn = asyncio.Future[None]
"""Done when the request that waits for it has its place."""


class _Room:
    """The requests of one tenant: `running` ones on `places`, and those in the queue."""

    __slots__ = ("places", "queue", "running")

    def __init__(self, places: int) -> None:
        self.places = places
        self.running = 0
        self.queue: deque[Turn] = deque()

    def fill(self) -> None:
        while self.queue and self.running < self.places:
            self.queue.popleft().set_result(None)
            self.running += 1


class Bulkhead:
    """Places for the requests of each tenant; a tenant without requests takes no memory.

    Nothing in here awaits. Whoever has got a place gives it back with `leave`; whoever has a turn ends it with `end`,
    whether it came or not.
    """

    __slots__ = ("_rooms",)

    def __init__(self) -> None:
        self._rooms: dict[str, _Room] = {}

    def enter(self, tenant_id: str, places: int) -> bool:
        """Take a place if one is free and nobody waits for it."""
        room = self._rooms.get(tenant_id)
        if room is None:
            room = self._rooms[tenant_id] = _Room(places)
        elif room.places != places:  # the tenant's plan has changed
            room.places = places
            room.fill()
        if room.running < room.places:
            room.running += 1
            return True
        return False

    def leave(self, tenant_id: str) -> None:
        """Give a place back; who waits longest gets it."""
        room = self._rooms[tenant_id]
        room.running -= 1
        room.fill()
        if not room.running:
            del self._rooms[tenant_id]

    def queue(self, tenant_id: str, limit: Limit) -> Turn:
        """Wait in line, right after `enter` gave no place.

        Raises:
            TenantBusyError: the queue is full.
        """
        queue = self._rooms[tenant_id].queue
        if len(queue) >= limit.queue:
            raise busy(limit, f"{len(queue)} requests of the tenant wait already")
        turn: Turn = asyncio.get_running_loop().create_future()
        queue.append(turn)
        return turn

    def end(self, tenant_id: str, turn: Turn) -> None:
        """Give back the place that the turn brought, or no longer wait for it."""
        if turn.done():
            self.leave(tenant_id)
        else:
            self._rooms[tenant_id].queue.remove(turn)

    def stats(self) -> dict[str, int]:
        rooms = self._rooms.values()
        return {"running": sum(room.running for room in rooms), "queued": sum(len(room.queue) for room in rooms)}


def busy(limit: Limit, why: str) -> TenantBusyError:
    # By then everybody who waits now is served, or has given up.
    return TenantBusyError(f"{why}; {limit.concurrency} are served at once", retry_after=ceil(limit.queue_timeout))
