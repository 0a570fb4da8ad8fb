"""A deployment of several workers, those who use and administer it, and what befalls it."""

import asyncio
import hashlib
import json
import logging
import math
import random
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

from sqlalchemy import MetaData

from fastapi_tenancy import (
    HeaderResolver,
    InvalidTokenError,
    StoreUnavailableError,
    Tenancy,
    TenancyError,
    TenancySettings,
    Tenant,
    TenantNotFoundError,
    TenantStatus,
    TenantSuspendedError,
    TenantUnavailableError,
    current_tenant,
)
from fastapi_tenancy.errors import NamespaceMissingError

from .acts import ACTS, NAMES, Act
from .buses import POLL, Broker, bus_of
from .clock import StuckError, VirtualLoop
from .database import Database, WorkerStore
from .mishaps import FORGIVEN, MISHAPS
from .model import LOAD, Model, Spell
from .process import OWNER, Process, owning_tasks
from .profiles import BEGUN, WATCHER, SimulatedManager, SimulatedProfile, Watcher
from .weather import Weather

_ACTIVE = 7.0  # seconds of work and faults
_CALM = 12.0  # seconds without faults; a bus is lost for 11 at the most: 6 until that is seen, and two attempts
_AT_MOST = 200.0  # seconds, after all of which it has come to its end
_STORE_TIMEOUT = 2.0
_EPOCH = datetime(2026, 1, 1, tzinfo=UTC)


class ViolationError(AssertionError):
    """Something was that must not be."""


@dataclass(frozen=True)
class Outcome:
    """What became of a run: the digest of all that happened, the fault that was found, and the last lines."""

    seed: int
    digest: str
    fault: str | None
    trace: tuple[str, ...]
    counts: dict[str, int]


@dataclass(eq=False)
class Worker:
    """A process with its application."""

    process: Process
    tenancy: Tenancy
    bus: Any
    stop: asyncio.Event = field(default_factory=asyncio.Event)
    life: asyncio.Task[None] | None = None
    is_open: bool = False
    acts: int = 0  # under way


class Asked(NamedTuple):
    """When a worker was asked, and whether its bus said that it heard others."""

    at: float
    connected: bool


class World:
    """One run.

    Args:
        seed: decides everything.
        loop: of virtual time.
    """

    def __init__(self, seed: int, loop: VirtualLoop) -> None:
        self._loop = loop
        self.now = loop.time
        self.rng = rng = random.Random(seed)
        self.trace: list[str] = []
        self.fault: str | None = None
        self.counts = dict.fromkeys(("requests", "acts", "acknowledged", "crashes", "faults"), 0)
        self._failed = asyncio.Event()
        self.weather = Weather(rng, self.now)
        self.bus_kind = rng.choice(("redis", "postgresql", "poll", "none"))
        self.settings = _SETTINGS.model_copy(
            update={
                "cache_ttl": rng.choice((2, 4, 30)),
                "unknown_cache_ttl": rng.choice((1.0, 4.0, 30.0)),
                "stale_for": rng.choice((0.0, 0.0, 5.0)),
                "cache_size": rng.choice((2, 100)),
                "unknown_cache_size": rng.choice((1, 100)),
                "profile_cache_size": rng.choice((1, 2, 10)),
                "profile_idle_timeout": rng.choice((None, 1.0, 20.0)),
            }
        )
        within = {"redis": 0.25, "postgresql": 0.25, "poll": 2 * POLL, "none": None}[self.bus_kind]
        known, unknown = self.settings.cache_ttl * 1.02, self.settings.unknown_cache_ttl * 1.02
        self.model = Model(within, known, unknown, _STORE_TIMEOUT + LOAD, 0.0)
        self.database = Database(self.model, self.now, self.note)
        self.broker = Broker(self.weather, self.now)
        if self.bus_kind == "postgresql":
            self.database.notify = self.broker.send
        self.watcher = Watcher(self.database.namespaces, self.weather, self._opens, self.complain)
        WATCHER.set(self.watcher)
        self.workers: list[Worker] = []
        self.managers: list[tuple[Process, SimulatedManager]] = []
        self.tokens: list[tuple[str, str, str]] = []  # the text, its id, and the tenant's id
        self._started = 0
        self._changing = NAMES[0]  # what is most interesting to ask for
        self._faults = [fault for fault in MISHAPS if rng.random() < 0.5]
        self.broker.doubles = rng.choice((0.0, 0.3))

    def note(self, line: str) -> None:
        self.trace.append(f"{self.now():10.6f} {line}")

    def complain(self, fault: str) -> None:
        if self.fault is None:
            self.note(f"FAULT {fault}")
            self.fault = fault
            self._failed.set()

    async def run(self) -> None:
        """Live through it.

        Raises:
            ViolationError: something was that must not be.
        """
        story = asyncio.create_task(self._story())
        failed = asyncio.create_task(self._failed.wait())
        done, _ = await asyncio.wait((story, failed), return_when=asyncio.FIRST_COMPLETED, timeout=_AT_MOST)
        if not done:
            self.complain("somebody waits for ever")
        for task in (story, failed):
            task.cancel()
        await asyncio.wait((story, failed))
        if self.fault is not None:
            raise ViolationError(self.fault)
        if not story.cancelled():
            story.result()

    async def _story(self) -> None:
        self.note(f"bus {self.bus_kind}, ttl {self.settings.cache_ttl}, unknown {self.settings.unknown_cache_ttl}")
        for _ in range(self.rng.choice((2, 3))):
            await self.start()
        actors = [self._keep(self._request, 0.2) for _ in range(5)]
        actors += [self._keep(self._act, 0.3) for _ in range(2)]
        actors.append(self._keep(self._misfortune, 1.5))
        await asyncio.gather(*actors)
        self._clear_up()
        await asyncio.sleep(_CALM)
        await self._check_calm()
        await asyncio.sleep(1.05 * max(self.settings.cache_ttl, self.settings.unknown_cache_ttl))
        await self._check_all()
        await self._end()

    async def _keep(self, step: Callable[[], Awaitable[None]], pause: float) -> None:
        while self.now() < _ACTIVE:
            await asyncio.sleep(self.rng.expovariate(1 / pause))
            await step()

    async def start(self) -> Worker:
        self._started += 1
        rng = self.rng
        process = Process(
            f"w{self._started}",
            self.now,
            self.now(),
            clock_rate=rng.uniform(0.985, 1.015),
            clock_start=rng.uniform(0, 1e6),
            skew=rng.uniform(-2, 2),
        )
        deafness = Spell(self.now(), float("inf"))
        self.model.deaf[process].append(deafness)
        process.on_subscribed = lambda: self._hears_again(process)
        store = WorkerStore(self.database, process, self.weather)
        bus = bus_of(self.bus_kind, self.broker, process, store, _STORE_TIMEOUT)
        process.on_heard = lambda text, sent: self._heard(process, bus, text, sent)
        owner = OWNER.set(process)
        try:
            tenancy = Tenancy(
                self.settings,
                resolvers=_RESOLVERS,
                metadata=_METADATA,
                store=store,
                bus=bus,
                clock=lambda: process.clock_start + process.clock_rate * self.now(),
                now=lambda: _EPOCH + timedelta(seconds=self.now() + process.skew),
                domain_checker=_Proven(),
            )
            worker = Worker(process, tenancy, bus)
            worker.life = asyncio.create_task(self._live(worker))
        finally:
            OWNER.reset(owner)
        manager = tenancy.provider.provide({})
        assert isinstance(manager, SimulatedManager)
        self.managers.append((process, manager))
        self.workers.append(worker)
        self.note(f"{process.name} starts")
        return worker

    async def _live(self, worker: Worker) -> None:
        async with worker.tenancy:
            worker.is_open = True
            await worker.stop.wait()
            worker.process.is_stopping = True
            worker.is_open = False

    def _spawn(self, worker: Worker, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        owner = OWNER.set(worker.process)
        try:
            return asyncio.create_task(work)
        finally:
            OWNER.reset(owner)

    def _any_worker(self) -> Worker | None:
        ready = [worker for worker in self.workers if worker.is_open]
        return self.rng.choice(ready) if ready else None

    async def _in(self, worker: Worker, work: Coroutine[Any, Any, None]) -> None:
        """Do it in the worker, and end with it."""
        task = self._spawn(worker, self._guarded(worker, work))
        try:
            await asyncio.wait((task,))
        except asyncio.CancelledError:
            task.cancel()
            raise

    async def _guarded(self, worker: Worker, work: Coroutine[Any, Any, None]) -> None:
        try:
            await work
        except Exception as error:  # noqa: BLE001 - whatever it is, it is a find
            if worker.process.is_alive:
                self.complain(f"{worker.process.name}: {error!r}")

    async def _request(self) -> None:
        worker = self._any_worker()
        if worker is None:
            return
        self.counts["requests"] += 1
        kind = self.rng.choices((self._use, self._verify, self._visit), (4, 1, 2))[0]
        task = asyncio.ensure_future(self._in(worker, kind(worker)))
        try:
            if self.rng.random() < 0.1:  # the client hangs up
                await asyncio.wait((task,), timeout=self.rng.uniform(0, 0.1))
            else:
                await asyncio.wait((task,))
        finally:
            task.cancel()

    async def _use(self, worker: Worker) -> None:
        await self.use(worker, self._interesting(), self.rng.choice((0.0, 0.05, 0.5)))

    def _interesting(self) -> str:
        return self._changing if self.rng.random() < 0.5 else self.rng.choice(NAMES)

    async def use(self, worker: Worker, name: str, hold: float) -> None:
        asked = self._ask(worker)
        BEGUN.set(asked.at)
        try:
            async with worker.tenancy.use(name) as profile:
                tenant = current_tenant()
                self._answered(worker, f"name:{name}", asked, f"v{tenant.version}", _is(tenant))
                assert isinstance(profile, SimulatedProfile)
                if profile.tenant.id != tenant.id or profile.tenant.version < tenant.version:
                    self.complain(f"{worker.process.name}: {name} v{tenant.version} is served with {profile.tenant!r}")
                profile.users += 1
                try:
                    await asyncio.sleep(hold)
                finally:
                    profile.users -= 1
        except TenantNotFoundError:
            self._answered(worker, f"name:{name}", asked, "none", _is_gone)
        except TenantSuspendedError:
            self._answered(worker, f"name:{name}", asked, "suspended", _is_suspended)
        except StoreUnavailableError:
            self._failed_to_answer(worker, asked)
        except NamespaceMissingError:
            self._answered(worker, f"name:{name}", asked, "dropped", lambda _: True)
        except (TenantUnavailableError, ConnectionError):
            if not worker.process.is_stopping:
                self._unavailable(worker, f"name:{name}", asked)

    async def _verify(self, worker: Worker) -> None:
        if self.tokens:
            await self.verify(worker, *self.rng.choice(self.tokens))

    async def verify(self, worker: Worker, text: str, token_id: str, _tenant_id: str) -> None:
        asked = self._ask(worker)
        try:
            await worker.tenancy.tokens.verify(text)
            self._answered(worker, f"token:{token_id}", asked, "valid", bool)
        except InvalidTokenError:
            self._answered(worker, f"token:{token_id}", asked, "invalid", lambda value: not value)
        except StoreUnavailableError:
            self._failed_to_answer(worker, asked)

    async def _visit(self, worker: Worker) -> None:
        await self.visit(worker, f"{self._interesting()}.example")

    async def visit(self, worker: Worker, host: str) -> None:
        asked = self._ask(worker)
        try:
            tenant = await worker.tenancy.domains.tenant_of(host)
        except StoreUnavailableError:
            return self._failed_to_answer(worker, asked)
        tenant_id = None if tenant is None else tenant.id
        self._answered(
            worker, f"host:{host}", asked, str(tenant_id and self._number(tenant_id)), lambda value: value == tenant_id
        )
        return None

    async def _act(self) -> None:
        worker = self._any_worker()
        if worker is None:
            return
        self.counts["acts"] += 1
        act = self.rng.choice(ACTS)
        self._changing = name = self.rng.choice(NAMES)
        worker.acts += 1
        try:
            await self._in(worker, self._attempt(worker, act, name))
        finally:
            worker.acts -= 1

    async def _attempt(self, worker: Worker, act: Act, name: str) -> None:
        process = worker.process
        title = f"{process.name} {act.__name__} {name}"
        self.note(f"{title} ...")
        try:
            done = await act(self, worker.tenancy, name)
        except (TenancyError, ConnectionError) as error:
            if process.is_alive:
                self.note(f"{title}: {type(error).__name__}")
            return
        if process.is_alive and done is not None:
            self.counts["acknowledged"] += 1
            subject, version = (done.id, done.version) if isinstance(done, Tenant) else (done, math.inf)
            self.model.acknowledge(subject, version, process, self.now())
            self.note(f"{title}: done")

    async def _misfortune(self) -> None:
        if self._faults and self.workers:
            self.counts["faults"] += 1
            await self.rng.choice(self._faults)(self, self.rng.choice(self.workers))

    def deafen(self, process: Process, seconds: float | None) -> None:
        """For so long, or until it has connected again, its bus promises nothing."""
        self.model.deaf[process].append(Spell(self.now(), self.now() + seconds if seconds else float("inf")))

    def silence(self, process: Process, seconds: float) -> None:
        """For so long, and until its next attempt, it may be unable to tell others."""
        if self.bus_kind == "redis":
            self.model.mute[process].append(Spell(self.now() - LOAD, self.now() + seconds + 4.5))

    def _hears_again(self, process: Process) -> None:
        self.note(f"{process.name} listens")
        for spell in self.model.deaf[process]:
            if spell.ends == float("inf"):
                spell.ends = self.now() + 0.1

    def _heard(self, process: Process, bus: Any, text: str, sent: float) -> None:
        message = json.loads(text)
        if message["from"] == bus._messages._sender:
            return
        for topic, *keys in message["changes"]:
            if process.is_alive:
                self.note(f"{process.name} hears {topic} {keys and self.database.number(keys[0])}")
            if topic == "everything":
                self.model.tell_all(process, self.now())
            else:
                subject = keys[1] if topic == "domain" else keys[0]
                self.model.tell(subject, keys[1:], process, sent, self.now())

    def _clear_up(self) -> None:
        self.note("calm")
        self.weather.clear_up()
        self.broker.back_at = 0.0
        self.broker.cut_off.clear()

    def _ask(self, worker: Worker) -> Asked:
        return Asked(self.now(), self.bus_kind != "none" and worker.bus.is_connected)

    def _answered(self, worker: Worker, key: str, asked: Asked, answer: str, accepts: Callable[[Any], bool]) -> None:
        process, begun = worker.process, asked.at
        if not process.is_alive:
            return
        shown = key if not key.startswith("token") else "token"
        self.note(f"{process.name} {shown}: {answer} (asked at {begun:.6f})")
        connected, longer = asked.connected, self._longer(process, begun)
        if not self.model.allows(key, process, begun, self.now(), accepts, connected=connected, longer=longer):
            self.complain(f"{process.name}, asked for {shown!r} at {begun:.6f}, can no longer believe {answer}")

    def _failed_to_answer(self, worker: Worker, asked: Asked) -> None:
        if worker.process.is_alive and not self.weather.is_stormy(worker.process, asked.at - FORGIVEN):
            self.complain(f"{worker.process.name} finds the store unavailable in good weather")

    def _unavailable(self, worker: Worker, key: str, asked: Asked) -> None:
        if not self.weather.is_stormy(worker.process, asked.at - FORGIVEN):
            self._answered(worker, key, asked, "unavailable", _is_unsettled)

    def _opens(self, process: Process, tenant: Tenant) -> None:
        begun = BEGUN.get(None)
        if not process.is_alive or begun is None:
            return
        key, longer = f"name:{tenant.identifier}", self._longer(process, begun)
        if not self.model.allows(key, process, begun, self.now(), _is(tenant), connected=False, longer=longer):
            self.complain(f"{process.name}, asked at {begun:.6f}, opens {tenant.identifier!r} v{tenant.version}")

    def _longer(self, process: Process, begun: float) -> float:
        """Seconds beyond its life for which an active tenant may be served, since the store fails."""
        return self.settings.stale_for * 1.02 if self.weather.is_stormy(process, begun - FORGIVEN) else 0.0

    async def _check_calm(self) -> None:
        """All are connected, and none believes what it may not."""
        for worker in self.workers:
            if not worker.is_open:
                self.complain(f"{worker.process.name} has not started")
            if self.bus_kind != "none" and not worker.bus.is_connected:
                self.complain(f"{worker.process.name} has not found the bus again")
        await self._ask_everything()

    async def _check_all(self) -> None:
        """Nobody believes anything but what is true, and nothing is held."""
        self.note("check")
        await self._ask_everything()
        for worker in self.workers:
            for name in NAMES:
                known = worker.tenancy.directory.remembered(name)
                if known is not None and known is not self.model.now(f"name:{name}"):
                    self.complain(f"{worker.process.name} still remembers {known!r}")
        for process, manager in self.managers:
            if process.is_alive and not process.is_stopping:
                self._check_profiles(process, manager)

    def _check_profiles(self, process: Process, manager: SimulatedManager) -> None:
        stats = manager.stats()
        if stats["leased"] or stats["opening"]:
            self.complain(f"{process.name} still has leases: {stats}")
        for profile in manager.opened:
            is_open = not profile.closings
            if is_open != (profile in tuple(manager.open_profiles)):
                self.complain(f"{process.name}: {profile!r} is lost")

    async def _ask_everything(self) -> None:
        for worker in self.workers:
            for name in NAMES:
                await self._in(worker, self.use(worker, name, 0.0))
                await self._in(worker, self.visit(worker, f"{name}.example"))
            for token in self.tokens[-6:]:
                await self._in(worker, self.verify(worker, *token))

    async def stop(self, worker: Worker) -> None:
        worker.is_open = False
        while worker.acts:
            await asyncio.sleep(0.1)  # a server lets requests end first
        worker.stop.set()
        assert worker.life is not None
        _, late = await asyncio.wait((worker.life,), timeout=60.0)
        if late:
            self.complain(f"{worker.process.name} does not end")
        elif worker.process.is_alive and not worker.life.cancelled():
            worker.life.result()

    async def _end(self) -> None:
        """Everything ends: no task waits, and each profile was closed once."""
        for worker in tuple(self.workers):
            await self.stop(worker)
        await asyncio.sleep(1.0)
        for process, manager in self.managers:
            if not process.is_alive:
                continue
            if process.tasks:
                self.complain(f"{process.name} leaves {len(process.tasks)} tasks: {next(iter(process.tasks))!r}")
            for profile in manager.opened:
                if profile.closings != 1:
                    self.complain(f"{process.name}: {profile!r} was closed {profile.closings} times")

    def _number(self, tenant_id: str) -> str:
        return self.database.number(tenant_id)


def _is(tenant: Tenant) -> Callable[[Any], bool]:
    return lambda value: value is not None and (value.id, value.version) == (tenant.id, tenant.version)


def _is_gone(value: Any) -> bool:
    return value is None or value.status is TenantStatus.DELETING


def _is_suspended(value: Any) -> bool:
    return value is not None and value.status is TenantStatus.SUSPENDED


def _is_unsettled(value: Any) -> bool:
    return value is not None and not value.is_settled


class _Proven:
    async def check(self, _host: str, _token: str) -> bool:
        return True


_SETTINGS = TenancySettings(  # made once, since that takes milliseconds
    database_url="sqlite+aiosqlite:///unused.db",
    manager_type=f"{SimulatedManager.__module__}:{SimulatedManager.__qualname__}",
    bus="none",
    store_timeout=_STORE_TIMEOUT,
    shutdown_timeout=3.0,
)
_RESOLVERS = (HeaderResolver("X-Tenant-ID"),)
_METADATA = MetaData()


def run(seed: int) -> Outcome:
    """Simulate a deployment as the seed has it; the same seed does the same, always and everywhere."""
    state = random.getstate()
    random.seed(seed)  # from which the library draws its pauses
    loop = VirtualLoop()
    loop.set_task_factory(owning_tasks)
    world: World | None = None
    fault = None
    try:
        asyncio.set_event_loop(loop)
        with _quiet():
            world = World(seed, loop)
            try:
                loop.run_until_complete(world.run())
            except (ViolationError, StuckError) as error:
                fault = str(error)
            finally:
                _sweep(loop)
    finally:
        asyncio.set_event_loop(None)
        loop.close()
        random.setstate(state)
    digest = hashlib.sha256("\n".join(world.trace).encode()).hexdigest()
    return Outcome(seed, digest, fault, tuple(world.trace), world.counts)


def _sweep(loop: VirtualLoop) -> None:
    """End what is left of dead workers, or of a run that was given up."""
    for _ in range(30):
        tasks = asyncio.all_tasks(loop)
        if not tasks:
            return
        for task in tasks:
            task.cancel()
        with suppress(StuckError):
            loop.run_until_complete(asyncio.wait(tasks, timeout=60))


@contextmanager
def _quiet() -> Iterator[None]:
    """A thousand faults would be logged, each as it should be."""
    logger = logging.getLogger("fastapi_tenancy")
    level = logger.level
    logger.setLevel(logging.CRITICAL + 1)
    try:
        yield
    finally:
        logger.setLevel(level)
