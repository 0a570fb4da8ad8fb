"""One store, and what a worker sees of it over a network."""

import asyncio
import inspect
from collections.abc import Callable, Coroutine, Iterator, Mapping, Sequence
from typing import Any

from fastapi_tenancy.bus import Change, Write
from fastapi_tenancy.errors import TenancyError
from fastapi_tenancy.store import InMemoryTenantStore

from .model import Model
from .process import Process
from .weather import Fate, Weather


class Database:
    """The server: does one thing after the other, and tells the model what has changed.

    Attributes:
        rows: what it keeps.
        namespaces: the places of tenants' data that exist.
        log: of the changes, for workers that poll.
        notify: hands a message to all who listen.
    """

    def __init__(self, model: Model, now: Callable[[], float], trace: Callable[[str], None]) -> None:
        self.rows = InMemoryTenantStore()
        self.namespaces: set[str] = set()
        self.log: list[tuple[int, str]] = []
        self.notify: Callable[[str], None] = lambda _message: None
        self._model = model
        self._now = now
        self._trace = trace
        self._numbers: dict[str, str] = {}

    def apply(self, method: Callable[..., Coroutine[Any, Any, Any]], args: Any, kwargs: Any, tell: "Tell") -> Any:
        before = dict(self.rows._tenants), dict(self.rows._tokens), dict(self.rows._domains)
        answer = _at_once(method(self.rows, *args, **kwargs))
        if changes := [*self._tenants(before[0]), *self._tokens(before[1]), *self._domains(before[2])]:
            tell(changes)
        return answer

    def number(self, tenant_id: str) -> str:
        """The same in each run of a seed, which the ids are not."""
        return self._numbers.setdefault(tenant_id, f"#{len(self._numbers) + 1}")

    def append(self, messages: Sequence[str]) -> None:
        for message in messages:
            self.log.append((len(self.log) + 1, message))

    def _tenants(self, before: Mapping[str, Any]) -> Iterator[Change]:
        for tenant_id, old, new in _differences(before, self.rows._tenants):
            name = (new or old).identifier
            if old is not None and (new is None or new.identifier != old.identifier):
                self._commit(f"name:{old.identifier}", None, tenant_id)
            if new is not None:
                self._commit(f"name:{new.identifier}", new, tenant_id)
                self._trace(f"store {name} {self.number(tenant_id)} v{new.version} {new.status}")
            else:
                self._trace(f"store {name} {self.number(tenant_id)} gone")
            yield Change.of_tenant(tenant_id, name)

    def _tokens(self, before: Mapping[str, Any]) -> Iterator[Change]:
        for token_id, old, new in _differences(before, self.rows._tokens):
            if old is None:
                self._commit(f"token:{token_id}", True, token_id)
            elif new is None:
                alive = old.tenant_id in self.rows._tenants
                self._commit(f"token:{token_id}", None, token_id if alive else old.tenant_id)
                if alive:
                    yield Change.of_token(token_id)

    def _domains(self, before: Mapping[Any, Any]) -> Iterator[Change]:
        for (tenant_id, host), old, new in _differences(before, self.rows._domains):
            holds = new is not None and new.is_verified
            if holds != (old is not None and old.is_verified):
                alive = tenant_id in self.rows._tenants
                self._commit(f"host:{host}", tenant_id if holds else None, host if alive else tenant_id)
                if alive:
                    yield Change.of_domain(tenant_id, host)

    def _commit(self, key: str, value: Any, subject: str) -> None:
        self._model.commit(key, value, subject, self._now())


Tell = Callable[[Sequence[Change]], None]


def _differences(before: Mapping[Any, Any], after: Mapping[Any, Any]) -> Iterator[tuple[Any, Any, Any]]:
    for key in dict.fromkeys((*before, *after)):
        if before.get(key) is not after.get(key):
            yield key, before.get(key), after.get(key)


def _at_once(coroutine: Coroutine[Any, Any, Any]) -> Any:
    try:
        coroutine.send(None)
    except StopIteration as end:
        return end.value
    raise AssertionError("the store in memory has waited for something")


class WorkerStore(InMemoryTenantStore):
    """A worker's connection to the store: each of the store's methods, by way of a network and its weather."""

    def __init__(self, database: Database, process: Process, weather: Weather) -> None:
        self._database = database
        self._process = process
        self._weather = weather
        self._notify: Write | None = None
        self._log: Write | None = None

    async def open(self) -> None: ...

    async def close(self) -> None: ...

    def notify_changes(self, write: Write | None) -> None:
        self._notify = write

    def log_changes(self, write: Write | None) -> None:
        self._log = write

    async def last_change(self) -> int:
        return await self.ask(self._last_change, ())

    async def changes_from(self, number: int) -> Sequence[tuple[int, str]] | None:
        entries, sent = await self.ask(self._changes_from, (number,))
        for position, message in entries:
            if position > number:
                self._process.on_heard(message, sent)
        return entries

    async def ask(self, method: Callable[..., Any], args: Any, kwargs: Any | None = None) -> Any:
        """What the server answers; whoever stops waiting does not know whether it was done.

        Raises:
            ConnectionError: the connection was lost.
        """
        await self._process.reach()
        loop = asyncio.get_running_loop()
        call = self._weather.call(self._process)
        answer: asyncio.Future[Any] = loop.create_future()
        tell = self._teller()

        def at_server() -> None:
            if call.fate is Fate.LOST or (call.dropped and answer.cancelled()):
                outcome: Any = ConnectionError("the connection was lost")
            else:
                try:
                    outcome = self._database.apply(method, args, kwargs or {}, tell)
                except TenancyError as error:
                    outcome = error
            if call.fate is Fate.UNCERTAIN:
                outcome = ConnectionError("the connection was lost")
            if call.fate is not Fate.HANGS:
                loop.call_later(call.back, _deliver, answer, outcome)

        loop.call_later(call.there, at_server)
        found = await answer
        await self._process.reach()
        return found

    def _teller(self) -> Callable[[Sequence[Change]], None]:
        """What was begun is told as it was begun, whatever becomes of the worker."""
        notify, log = self._notify, self._log

        def tell(changes: Sequence[Change]) -> None:
            if notify is not None:
                for message in notify(changes):
                    self._database.notify(message)
            if log is not None:
                self._database.append([*log(changes)])

        return tell

    async def _last_change(self, _rows: InMemoryTenantStore) -> int:
        self._process.subscribed()
        return len(self._database.log)

    async def _changes_from(self, _rows: InMemoryTenantStore, number: int) -> Any:
        return self._database.log[max(number - 1, 0) :], self._process.now()


def _deliver(answer: asyncio.Future[Any], outcome: Any) -> None:
    if answer.done():
        return
    if isinstance(outcome, Exception):
        answer.set_exception(outcome)
    else:
        answer.set_result(outcome)


def _by_network(method: Callable[..., Any]) -> Callable[..., Any]:
    async def ask(self: WorkerStore, *args: Any, **kwargs: Any) -> Any:
        return await self.ask(method, args, kwargs)

    return ask


for _name, _method in inspect.getmembers(InMemoryTenantStore, inspect.iscoroutinefunction):
    if _name not in ("open", "close"):
        setattr(WorkerStore, _name, _by_network(_method))
