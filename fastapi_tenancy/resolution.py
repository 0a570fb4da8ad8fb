"""Tell of requests whose tenant takes long to find, and of what takes the time."""

import asyncio
import logging
from collections.abc import Callable
from contextvars import ContextVar, Token
from typing import Literal, Self

logger = logging.getLogger(__name__)

Step = Literal["naming", "waiting", "shared_cache", "store", "migration"]
"""What takes the time: the resolvers; a load that another request has begun; Redis; the store; a migration on demand,
beside what it asks the store itself."""

_CURRENT: ContextVar["Resolution | None"] = ContextVar("fastapi_tenancy.resolution", default=None)


class Resolution:
    """One request's way to its tenant, for the length of a `with` block; logged where it is longer than `limit`.

    Args:
        limit: seconds.
        clock: seconds that only go forward.

    Attributes:
        name: of the tenant, once the request has named it.
    """

    __slots__ = ("_clock", "_limit", "_since", "_steps", "_task", "_token", "_took", "name")

    def __init__(self, limit: float, clock: Callable[[], float]) -> None:
        self.name: str | None = None
        self._limit = limit
        self._clock = clock
        self._steps: list[Step] = ["naming"]
        self._took: dict[Step, float] = {}

    def __enter__(self) -> Self:
        self._task = asyncio.current_task()
        self._token: Token[Resolution | None] = _CURRENT.set(self)
        self._since = self._clock()
        return self

    def __exit__(self, *_: object) -> None:
        _CURRENT.reset(self._token)
        self._put_down()
        seconds = sum(self._took.values())
        if seconds > self._limit:
            name = None if self.name is None else self.name[:80]
            logger.warning("slow resolution", extra={"tenant": name, "seconds": seconds, "took": self._took})

    def is_here(self) -> bool:
        """Whether this is the request's own task: others that it starts inherit its context."""
        return asyncio.current_task() is self._task

    def begin(self, step: Step) -> None:
        self._put_down()
        self._steps.append(step)

    def end(self) -> None:
        self._put_down()
        self._steps.pop()

    def _put_down(self) -> None:
        now, step = self._clock(), self._steps[-1]
        self._took[step] = self._took.get(step, 0.0) + now - self._since
        self._since = now


class taking:  # noqa: N801 - used as a function, like contextlib.suppress
    """Put the time of a `with` block down to a step, but for what is put down to others inside it."""

    __slots__ = ("_resolution", "_step")

    def __init__(self, step: Step) -> None:
        self._step = step

    def __enter__(self) -> None:
        resolution = _CURRENT.get()
        self._resolution = None if resolution is None or not resolution.is_here() else resolution
        if self._resolution is not None:
            self._resolution.begin(self._step)

    def __exit__(self, *_: object) -> None:
        if self._resolution is not None:
            self._resolution.end()
