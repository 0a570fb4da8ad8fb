"""Who loads which key, who waits for it, and which changes have overtaken a load."""

import asyncio
import enum
from collections import Counter, OrderedDict
from collections.abc import AsyncIterator, Awaitable, Callable, Collection
from contextlib import asynccontextmanager
from contextvars import ContextVar
from typing import Any, Final, Protocol


class _Absent(enum.Enum):
    ABSENT = "absent"


ABSENT: Final = _Absent.ABSENT
"""What `get(key, ABSENT)` gives for a key that is not there, since None is a value like any other."""


class Holder(Protocol):
    """A lock that may load."""

    def release(self) -> None: ...


class Load:
    """One load of one key: the holder that loads, and those that wait for it, first come, first served."""

    __slots__ = ("key", "loader", "stored", "value", "waiting")

    stored: asyncio.Future[None]  # there while the value is being stored

    def __init__(self, key: str, loader: Holder) -> None:
        self.key = key
        self.loader = loader
        self.value: Any = ABSENT
        self.waiting: OrderedDict[Holder, asyncio.Future[None]] = OrderedDict()

    async def wait(self, holder: Holder) -> None:
        """Wait for a value, for the holder's turn to load, or for the end of a load that was overtaken."""
        turn = self.waiting[holder] = asyncio.get_running_loop().create_future()
        try:
            await turn
        finally:
            self.waiting.pop(holder, None)

    def publish(self, value: Any) -> None:
        self.value = value
        self.wake_all()

    def promote(self) -> bool:
        """Let the first that still waits load; False if nobody does."""
        while self.waiting:
            holder, turn = self.waiting.popitem(last=False)
            if not turn.done():  # else it was cancelled, and has not run since
                self.loader = holder
                turn.set_result(None)
                return True
        return False

    def wake_all(self) -> None:
        while self.waiting:
            _, turn = self.waiting.popitem(last=False)
            if not turn.done():
                turn.set_result(None)


_storing: ContextVar[Load | None] = ContextVar("fastapi_tenancy.cache.storing", default=None)


class Loads:
    """The loads of one cache, and the changes that overtake them; empty when nothing is under way.

    A load that is no longer the current one of its key was overtaken: its value is good for those who wait already, and
    is not stored. A change overtakes when it begins, so that whoever comes from then on loads anew, and again when it
    ends, since a load that began meanwhile may have read what was there before. While it goes on no load stores, and it
    waits for a store that has begun; so the cache never keeps what is older than its last change.
    """

    def __init__(self) -> None:
        self._current: dict[str, Load] = {}
        self._stores: dict[str, Load] = {}
        self._changes: Counter[str | None] = Counter()  # under None, changes of all keys

    def __len__(self) -> int:
        return len(self._current) + len(self._stores) + len(self._changes)

    def join(self, key: str, holder: Holder) -> Load:
        """The current load of the key; the holder loads if there was none."""
        load = self._current.get(key)
        if load is None:
            load = self._current[key] = Load(key, holder)
        return load

    def is_current(self, load: Load) -> bool:
        return self._current.get(load.key) is load

    def release(self, key: str) -> None:
        load = self._current.get(key)
        if load is not None:
            load.loader.release()

    def hand_on(self, load: Load) -> None:
        """Go on after a loader that has no result."""
        if not self.is_current(load):
            load.wake_all()  # they join the load that began after the change
        elif not load.promote():
            del self._current[load.key]

    def finish(self, load: Load, value: Any) -> None:
        """Give a value that is stored already, or is not to be, to all who wait."""
        load.publish(value)
        self._forget(load)

    async def store(self, load: Load, value: Any, write: Callable[[], Awaitable[None]]) -> None:
        """Give a value to all who wait, then store it unless the load was overtaken."""
        load.publish(value)
        try:
            if self._may_store(load):
                await self._store(load, write)
        finally:
            self._forget(load)

    @asynccontextmanager
    async def changing(self, keys: Collection[str] | None) -> AsyncIterator[None]:
        """Around a change of these keys, or of all: it overtakes their loads."""
        storing = _storing.get()
        if storing is not None and self._stores.get(storing.key) is storing:
            yield  # the change is part of storing a load's own value
            return
        marks: Collection[str | None] = (None,) if keys is None else keys
        self._changes.update(marks)
        self._overtake(keys)
        try:
            if stores := [load.stored for key, load in self._stores.items() if keys is None or key in keys]:
                await asyncio.wait(stores)
            yield
        finally:
            self._overtake(keys)
            self._changes.subtract(marks)
            for mark in marks:
                if not self._changes[mark]:
                    del self._changes[mark]

    def _overtake(self, keys: Collection[str] | None) -> None:
        if keys is None:
            self._current.clear()
        else:
            for key in keys:
                self._current.pop(key, None)

    def _may_store(self, load: Load) -> bool:
        # An older load may still be storing, if the change that overtook it was cancelled while it waited for that.
        is_busy = load.key in self._changes or None in self._changes or load.key in self._stores
        return not is_busy and self.is_current(load)

    async def _store(self, load: Load, write: Callable[[], Awaitable[None]]) -> None:
        load.stored = asyncio.get_running_loop().create_future()
        self._stores[load.key] = load
        token = _storing.set(load)
        try:
            await write()
        finally:
            _storing.reset(token)
            del self._stores[load.key]
            load.stored.set_result(None)

    def _forget(self, load: Load) -> None:
        if self.is_current(load):
            del self._current[load.key]
