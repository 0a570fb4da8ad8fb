"""The library's own buses, over a server that hangs, is lost, delivers late, twice, in another order, or not."""

import asyncio
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from typing import Any

from fastapi_tenancy.bus import Bus, NoBus, PollingBus, PostgreSQLBus, RedisBus
from fastapi_tenancy.bus.base import HEARTBEAT

from .database import WorkerStore
from .process import Process, never
from .weather import Weather

POLL = 0.5  # seconds


class Broker:
    """The server: Redis, or PostgreSQL as far as it notifies.

    Attributes:
        back_at: when it can be reached again.
        cut_off: until when a process reaches nothing, and is reached by nothing.
        laggard: until when messages to a process take seconds.
        lossy: until when messages to a process get lost.
        doubles: how often a message comes twice.
    """

    def __init__(self, weather: Weather, now: Callable[[], float]) -> None:
        self.weather = weather
        self.now = now
        self.back_at = 0.0
        self.cut_off: dict[Process, float] = {}
        self.laggard: dict[Process, float] = {}
        self.lossy: dict[Process, float] = {}
        self.doubles = 0.0
        self._connections: list[Connection] = []

    async def connect(self, process: Process) -> "Connection":
        await self.reach(process)
        connection = Connection(self, process)
        self._connections.append(connection)
        process.subscribed()
        await asyncio.sleep(self.weather.pause(0.0005, 0.02))
        return connection

    async def reach(self, process: Process) -> None:
        """Get to the server.

        Raises:
            ConnectionError: it is down.
        """
        await process.reach()
        await asyncio.sleep(self.weather.pause(0.0005, 0.02))
        if self.now() < self.cut_off.get(process, 0.0):
            await never()
        if self.now() < self.back_at:
            raise ConnectionError("refused")

    def send(self, text: str) -> None:
        for connection in tuple(self._connections):
            connection.carry(text)

    def cut(self, process: Process, seconds: float) -> None:
        """Neither side hears of the other any more, and neither is told so."""
        self.cut_off[process] = self.now() + seconds
        for connection in self._of(process):
            connection.is_silent = True

    def break_connections(self, process: Process | None = None) -> None:
        for connection in self._of(process):
            connection.break_off()

    def drop(self, connection: "Connection") -> None:
        if connection in self._connections:
            self._connections.remove(connection)

    def _of(self, process: Process | None) -> list["Connection"]:
        return [each for each in self._connections if process is None or each.process is process]


class Connection:
    """A process that listens."""

    def __init__(self, broker: Broker, process: Process) -> None:
        self.process = process
        self.is_silent = False
        self._broker = broker
        self._came: asyncio.Queue[tuple[str, Any, float]] = asyncio.Queue()
        self._is_broken = False

    def carry(self, text: str) -> None:
        broker, now = self._broker, self._broker.now()
        if self.is_silent or now < broker.lossy.get(self.process, 0.0):
            return
        longest = 2.5 if now < broker.laggard.get(self.process, 0.0) else 0.15
        for _ in range(2 if broker.weather.rng.random() < broker.doubles else 1):
            delay = broker.weather.pause(0.0005, longest)
            asyncio.get_running_loop().call_later(delay, self.arrive, "message", text, now)

    def break_off(self) -> None:
        self._is_broken = True
        self.arrive("error")
        self._broker.drop(self)

    def close(self) -> None:
        self._broker.drop(self)

    async def ping(self) -> None:
        await self._broker.reach(self.process)
        if self._is_broken or self.is_silent:
            raise ConnectionError("the connection is gone")  # a silent one is found to be gone once the way is free

    async def receive(self, seconds: float) -> tuple[str, Any] | None:
        """What came, or None after so many seconds.

        Raises:
            ConnectionError: the connection is lost.
        """
        try:
            async with asyncio.timeout(seconds):
                kind, text, sent = await self._came.get()
        except TimeoutError:
            return None
        await self.process.reach()
        if kind == "error":
            raise ConnectionError("the connection was lost")
        if kind == "message":
            self.process.on_heard(text, sent)
        return kind, text

    def arrive(self, kind: str, text: Any = None, sent: float = 0.0) -> None:
        if not self.is_silent or kind == "error":
            self._came.put_nowait((kind, text, sent))


class _Client:
    """As much of redis-py as `RedisBus` uses."""

    def __init__(self, broker: Broker, process: Process) -> None:
        self._broker = broker
        self._process = process
        self._connection: Connection | None = None

    def pubsub(self) -> "_Client":
        return _Client(self._broker, self._process)

    async def subscribe(self, _channel: str) -> None:
        self._connection = await self._broker.connect(self._process)
        self._connection.arrive("subscribe")

    async def get_message(self, timeout: float) -> dict[str, Any] | None:  # noqa: ASYNC109 - as redis has it
        assert self._connection is not None
        came = await self._connection.receive(timeout)
        return None if came is None else {"type": came[0], "data": (came[1] or "").encode()}

    async def ping(self) -> None:
        assert self._connection is not None
        await self._connection.ping()
        self._connection.arrive("pong")

    async def publish(self, _channel: str, text: str) -> None:
        await self._broker.reach(self._process)
        self._broker.send(text)
        await asyncio.sleep(self._broker.weather.pause(0.0005, 0.02))
        await self._broker.reach(self._process)  # the answer, too, may get lost: then it is told again

    async def aclose(self) -> None:
        if self._connection is not None:
            self._connection.close()


class SimulatedRedisBus(RedisBus):
    """`RedisBus` with another client."""

    def __init__(self, broker: Broker, process: Process) -> None:
        self._of = broker, process
        super().__init__("redis://simulated", lambda: "simulation")

    def _client(self) -> Any:
        return _Client(*self._of)


class SimulatedPostgreSQLBus(PostgreSQLBus):
    """`PostgreSQLBus` with another driver."""

    def __init__(self, broker: Broker, process: Process, store: WorkerStore) -> None:
        super().__init__(store)  # type: ignore[arg-type]  # it has no URL
        self._of = broker, process

    async def _connect(self, closing: AsyncExitStack) -> None:
        connection = await self._of[0].connect(self._of[1])
        closing.callback(connection.close)

        async def wait() -> Sequence[str]:
            came = await connection.receive(HEARTBEAT)
            return () if came is None or came[0] != "message" else (came[1],)

        self._driver = _Driver(connection)
        self._wait = wait


class _Driver:
    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    async def execute(self, _statement: str) -> None:
        await self._connection.ping()


def bus_of(kind: str, broker: Broker, process: Process, store: WorkerStore, store_timeout: float) -> Bus:
    return {
        "redis": lambda: SimulatedRedisBus(broker, process),
        "postgresql": lambda: SimulatedPostgreSQLBus(broker, process, store),
        "poll": lambda: PollingBus(store, POLL, store_timeout),
        "none": NoBus,
    }[kind]()
