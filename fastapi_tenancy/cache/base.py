"""What every cache can do, and the lock that lets one task load a missing value while the others wait for it."""

import asyncio
import functools
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Generator, Iterable
from types import TracebackType
from typing import Any, Self, cast

from ..errors import TenancyError
from .loads import ABSENT as ABSENT
from .loads import Load, Loads


class CacheError(TenancyError):
    """A lock of a cache was used in a way that it does not allow."""


class BaseCache(ABC):
    """A cache of one event loop; a subclass writes `get`, `set`, `clear` and `flush`, and nothing else.

    A `set`, `clear` or `flush`, whoever wrote it, overtakes the loads of its keys that are in flight: what they load
    goes to those who wait already and is not kept, and whoever comes later loads anew. What a `set` itself calls while
    it keeps a load's value overtakes nothing, so a subclass may make room in it.
    """

    _loads_in_flight: Loads

    def __new__(cls, *_: Any, **__: Any) -> Self:
        self = super().__new__(cls)
        self._loads_in_flight = Loads()  # here, so that no subclass has to call super().__init__()
        return self

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        for name, overtaking in _OVERTAKING.items():
            owner = next(base for base in cls.__mro__ if name in vars(base))
            if owner is cls or not issubclass(owner, BaseCache):  # else it was wrapped with its owner
                setattr(cls, name, overtaking(getattr(cls, name)))

    @abstractmethod
    async def get(self, key: str, default: Any = None) -> Any:
        """The value of a key, or `default`; `get(key, ABSENT)` tells a cached None from a miss."""

    @abstractmethod
    async def set(self, keys: str | Iterable[str], value: Any, ttl: float | None = None) -> None:
        """Keep a value under one key or several for `ttl` seconds, or without an end."""

    @abstractmethod
    async def clear(self, key: str) -> None:
        """Drop a key, if it is there."""

    @abstractmethod
    async def flush(self) -> None:
        """Drop all keys."""

    def acquire(self, key: str) -> "CacheKeyLock":
        """A lock on a key, to be entered; until then it holds up nobody."""
        return CacheKeyLock(self, key, self._loads_in_flight)

    def release(self, key: str) -> None:
        """End the load of a key that is in flight, if any, as one without a result."""
        self._loads_in_flight.release(key)


class CacheKeyLock:
    """One load per key, however many ask.

    ```python
    async with cache.acquire("acme") as lock:
        if not lock.done:
            await lock.set_result(await load("acme"), ttl=60)
    return lock.result
    ```

    Entering gives the cached value, if there is one. Otherwise one lock at a time is entered without a result, and is
    to load; the others wait in the order they came, until `set_result` gives them all the value. If the loader ends
    without one, the first that waits loads in its place. A task that enters a second lock on the key it is loading
    waits for itself.

    Attributes:
        cache: where the value is kept.
        key: what is loaded.
        exception: what ended this lock's load, or its wait, before there was a result.
    """

    def __init__(self, cache: BaseCache, key: str, loads: Loads) -> None:
        self.cache = cache
        self.key = key
        self.exception: BaseException | None = None
        self._loads = loads
        self._load: Load | None = None
        self._entered = False
        self._value: Any = ABSENT
        self._future: asyncio.Future[Any] | None = None

    @property
    def done(self) -> bool:
        """Whether there is a result, or will be none since the load ended without one."""
        return self._value is not ABSENT

    @property
    def result(self) -> Any:
        """The value; None while there is none, and after a load without a result."""
        return self._value if self.done else None

    @property
    def future(self) -> asyncio.Future[Any]:
        """The result to come; cancelling it cancels nothing else."""
        if self._future is None:
            self._future = asyncio.get_running_loop().create_future()
            if self.done:
                self._future.set_result(self._value)
        return asyncio.shield(self._future)

    @property
    def parent(self) -> "CacheKeyLock | None":
        """The lock that loads, or has loaded, for this one; None if this one loads itself."""
        load = self._load
        return None if load is None or load.loader is self else cast("CacheKeyLock", load.loader)

    def __await__(self) -> Generator[Any, None, Any]:
        return self.future.__await__()

    async def __aenter__(self) -> Self:
        if self._entered:
            raise CacheError(f"this lock on {self.key!r} was entered before; acquire another one")
        self._entered = True
        try:
            await self._take_turn()
        except BaseException as error:
            self._end(error)  # cancelled, or the cache failed, perhaps just as its turn to load had come
            raise
        return self

    async def __aexit__(
        self, _: type[BaseException] | None, error: BaseException | None, __: TracebackType | None
    ) -> None:
        self._end(error)

    async def set_result(self, value: Any, ttl: float | None = None) -> None:
        """Give the value to all who wait, then keep it in the cache for `ttl` seconds, or without an end.

        Raises:
            CacheError: there is a result already, the load has ended, or this lock is not the one that loads.
        """
        load = self._loading()
        self._finish(value)
        await self._loads.store(load, value, functools.partial(self._keep, value, ttl))

    def give(self, value: Any) -> None:
        """As `set_result`, without keeping it: for a failure that those who wait need not meet each for himself."""
        load = self._loading()
        self._finish(value)
        self._loads.finish(load, value)

    def release(self) -> None:
        """End this lock's load; without a result, the first that waits loads in its place."""
        load = self._load
        if load is None or load.loader is not self:
            return
        self._load = None
        if not self.done:
            self._finish(None)
            self._loads.hand_on(load)

    async def _take_turn(self) -> None:
        """Wait for a value or for the turn to load, and then look into the cache: one look-up for all who wait."""
        while True:
            self._load = load = self._loads.join(self.key, self)
            if load.loader is not self and load.value is ABSENT:
                await load.wait(self)
            if load.value is not ABSENT:
                self._finish(load.value)
                return
            if load.loader is self:
                await self._look_up(load)
                if self.done or self._loads.is_current(load):
                    return
                self._loads.hand_on(load)  # a change came as we looked: load together with those who come after it

    async def _look_up(self, load: Load) -> None:
        value = await self._find()
        if value is not ABSENT and not self.done:
            self._finish(value)
            self._loads.finish(load, value)

    def _loading(self) -> Load:
        if self.done:
            raise CacheError(f"the load of {self.key!r} has ended; acquire another lock to load it again")
        if self._load is None or self._load.loader is not self:
            raise CacheError(f"this lock does not load {self.key!r}; enter it with: async with cache.acquire(key)")
        return self._load

    def _find(self) -> Awaitable[Any]:
        """What the cache has, or `ABSENT` once this lock may load it."""
        return self.cache.get(self.key, ABSENT)

    def _keep(self, value: Any, ttl: float | None) -> Awaitable[None]:
        """Put into the cache what this lock has loaded."""
        return self.cache.set(self.key, value, ttl)

    def _end(self, error: BaseException | None) -> None:
        if not self.done:
            self.exception = error
        self.release()

    def _finish(self, value: Any) -> None:
        self._value = value
        if self._future is not None and not self._future.done():
            self._future.set_result(value)


def _overtaking_set(method: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
    @functools.wraps(method)
    async def set(self: BaseCache, keys: str | Iterable[str], value: Any, ttl: float | None = None) -> Any:  # noqa: A001 - the method's own name
        keys = keys if isinstance(keys, str) else tuple(keys)
        async with self._loads_in_flight.changing((keys,) if isinstance(keys, str) else keys):
            return await method(self, keys, value, ttl)

    return set


def _overtaking_clear(method: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
    @functools.wraps(method)
    async def clear(self: BaseCache, key: str) -> Any:
        async with self._loads_in_flight.changing((key,)):
            return await method(self, key)

    return clear


def _overtaking_flush(method: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
    @functools.wraps(method)
    async def flush(self: BaseCache) -> Any:
        async with self._loads_in_flight.changing(None):
            return await method(self)

    return flush


_OVERTAKING = {"set": _overtaking_set, "clear": _overtaking_clear, "flush": _overtaking_flush}
