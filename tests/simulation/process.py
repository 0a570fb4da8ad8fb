"""What a worker's process owns, so that all of it can be killed at once."""

import asyncio
from collections.abc import Callable
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any, NoReturn

OWNER: ContextVar["Process | None"] = ContextVar("simulation.owner", default=None)


@dataclass(eq=False)
class Process:
    """One life of a worker.

    Attributes:
        name: for the trace.
        now: the true time, which it does not know.
        started_at: when; it knew nothing then.
        clock_rate: seconds that its clock counts in a second.
        clock_start: what its clock showed then.
        skew: seconds by which its time of day is wrong.
        is_alive: False from the moment it is killed: what it still does reaches nobody.
        is_stopping: from the moment it is asked to end.
        subscribed_at: when the bus began to tell it of changes, the last time.
        on_subscribed: is told of that.
        on_heard: is told of a message that the bus has handed over: its text, and when it was sent.
        tasks: in the order in which they began.
    """

    name: str
    now: Callable[[], float]
    started_at: float
    clock_rate: float = 1.0
    clock_start: float = 0.0
    skew: float = 0.0
    is_alive: bool = True
    is_stopping: bool = False
    subscribed_at: float = -1.0
    on_subscribed: Callable[[], None] = lambda: None
    on_heard: Callable[[str, float], None] = lambda _text, _sent: None
    tasks: dict[asyncio.Task[Any], None] = field(default_factory=dict)

    def subscribed(self) -> None:
        if self.is_alive:
            self.subscribed_at = self.now()
            self.on_subscribed()

    def kill(self) -> None:
        """Cut its tasks short; what they do in their `finally` blocks reaches nobody any more."""
        self.is_alive = False
        for task in tuple(self.tasks):
            task.cancel()

    async def reach(self) -> None:
        """Go out of the process; a dead one never gets there."""
        if not self.is_alive:
            await never()


async def never() -> NoReturn:
    await asyncio.get_running_loop().create_future()
    raise AssertionError("unreachable")


def owning_tasks(loop: asyncio.AbstractEventLoop, coro: Any, **kwargs: Any) -> asyncio.Task[Any]:
    """Makes a task that belongs to the process in which it is made, also where it is made in an empty context."""
    task: asyncio.Task[Any] = asyncio.Task(coro, loop=loop, **kwargs)
    maker = asyncio.current_task(loop)
    owner = OWNER.get() or _owners.get(maker)
    if owner is not None:
        _owners[task] = owner
        owner.tasks[task] = None
        task.add_done_callback(_forget)
    return task


_owners: dict[asyncio.Task[Any] | None, Process] = {}


def _forget(task: asyncio.Task[Any]) -> None:
    owner = _owners.pop(task)
    owner.tasks.pop(task, None)
