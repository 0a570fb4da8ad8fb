"""ProfileCache under any order of events: openings, closings, leases and cancellations interleave step by step."""

import asyncio
from typing import ClassVar

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from fastapi_tenancy.errors import TenantUnavailableError
from fastapi_tenancy.multitenant.cache import ProfileCache

KEYS = st.sampled_from("abcd")
STEPS = st.integers(0, 4)  # how far the event loop goes on before the next event
PICK = st.integers(0, 1000)


class Profile:
    def __init__(self, machine: "LeaseMachine") -> None:
        self.machine = machine
        self.users = 0
        self.closings = 0
        machine.exist += 1

    async def close(self) -> None:
        self.closings += 1
        if self.users or self.closings > 1:
            self.machine.faults.append(f"closed {self.closings} times, used by {self.users}")
        try:
            await self.machine.gate(self.machine.closings)
        finally:
            self.machine.exist -= 1


class LeaseMachine(RuleBasedStateMachine):
    """Leases only, none of them cancelled: what is open, opening or closing is owed to the capacity or to a lease."""

    bounded: ClassVar[bool] = True

    @initialize(capacity=st.integers(1, 3))
    def start(self, capacity: int) -> None:
        self.now = 0.0
        self.faults: list[object] = []
        self.exist = 0
        self.openings: list[asyncio.Future[None]] = []
        self.closings: list[asyncio.Future[None]] = []
        self.leases: dict[asyncio.Task[None], asyncio.Event] = {}
        self.others: list[asyncio.Task[bool]] = []
        self.profiles: list[Profile] = []
        self.cache = ProfileCache[Profile](capacity, idle_timeout=10, clock=lambda: self.now)
        self.runner = asyncio.Runner()
        self.loop = self.runner.get_loop()
        self.loop.set_exception_handler(lambda _, context: self.faults.append(context))

    @rule(key=KEYS, steps=STEPS)
    def lease(self, key: str, steps: int) -> None:
        until = asyncio.Event()
        self.leases[self.loop.create_task(self.hold(key, until))] = until
        self.go_on(steps)

    @precondition(lambda self: self.running())
    @rule(pick=PICK, steps=STEPS)
    def end_lease(self, pick: int, steps: int) -> None:
        running = self.running()
        self.leases[running[pick % len(running)]].set()
        self.go_on(steps)

    @precondition(lambda self: self.openings)
    @rule(pick=PICK, steps=STEPS, fails=st.booleans())
    def end_opening(self, pick: int, steps: int, *, fails: bool) -> None:
        self.end(self.openings, pick, fails=fails)
        self.go_on(steps)

    @precondition(lambda self: self.closings)
    @rule(pick=PICK, steps=STEPS, fails=st.booleans())
    def end_closing(self, pick: int, steps: int, *, fails: bool) -> None:
        self.end(self.closings, pick, fails=fails)
        self.go_on(steps)

    @invariant()
    def nothing_went_wrong(self) -> None:
        assert not self.faults
        if self.bounded:
            assert self.exist <= self.cache.capacity + len(self.running())
        stats = self.cache.stats()
        assert stats["open"] - stats["leased"] <= stats["capacity"]
        assert stats["opened"] == stats["open"] + stats["closing"] + stats["closed"] + stats["close_failures"]

    def teardown(self) -> None:
        self.runner.run(asyncio.wait_for(self.finish(), 5))
        assert not self.faults
        assert self.exist == 0
        assert all(profile.closings == 1 for profile in self.profiles)
        stats = self.cache.stats()
        assert stats["open"] == stats["opening"] == stats["closing"] == 0
        self.runner.close()

    async def finish(self) -> None:
        for until in self.leases.values():
            until.set()
        tasks = {*self.leases, *self.others, asyncio.create_task(self.cache.aclose())}
        while tasks:
            for gates in (self.openings, self.closings):
                while gates:
                    self.end(gates, 0, fails=False)
            _, tasks = await asyncio.wait(tasks, timeout=0)

    async def hold(self, key: str, until: asyncio.Event) -> None:
        try:
            async with self.cache.lease(key, self.open) as profile:
                if profile.closings:
                    self.faults.append("leased after it was closed")
                profile.users += 1
                try:
                    await until.wait()
                finally:
                    profile.users -= 1
        except (ConnectionError, TenantUnavailableError):  # it failed to open, or `aclose` came first
            return

    async def open(self) -> Profile:
        self.exist += 1
        try:
            await self.gate(self.openings)
        finally:
            self.exist -= 1
        self.profiles.append(Profile(self))
        return self.profiles[-1]

    async def gate(self, gates: list[asyncio.Future[None]]) -> None:
        gates.append(self.loop.create_future())
        await gates[-1]

    def end(self, gates: list[asyncio.Future[None]], pick: int, *, fails: bool) -> None:
        gate = gates.pop(pick % len(gates))
        if not gate.done():
            gate.set_exception(ConnectionError()) if fails else gate.set_result(None)

    def go_on(self, steps: int) -> None:
        async def run() -> None:
            for _ in range(steps):
                await asyncio.sleep(0)

        self.runner.run(run())

    def running(self) -> list[asyncio.Task[None]]:
        return [task for task in self.leases if not task.done()]


class EverythingMachine(LeaseMachine):
    """All the rest too: what a cancelled or synchronous call leaves to be closed is closed later, so no exact bound."""

    bounded = False

    @precondition(lambda self: self.running())
    @rule(pick=PICK, steps=STEPS)
    def cancel(self, pick: int, steps: int) -> None:
        running = self.running()
        running[pick % len(running)].cancel()
        self.go_on(steps)

    @rule(key=KEYS, steps=STEPS)
    def put(self, key: str, steps: int) -> None:
        self.profiles.append(Profile(self))
        self.cache.put(key, self.profiles[-1])
        assert self.cache.get(key) is self.profiles[-1]
        self.go_on(steps)

    @rule(key=KEYS, steps=STEPS)
    def remove(self, key: str, steps: int) -> None:
        known = self.cache.get(key)
        assert self.cache.remove(key) is known
        assert not self.cache.has(key)
        self.go_on(steps)

    @rule(key=KEYS, steps=STEPS)
    def retire(self, key: str, steps: int) -> None:
        self.others.append(self.loop.create_task(self.cache.retire(key, 60)))
        self.go_on(steps)

    @rule(seconds=st.integers(0, 10), steps=STEPS)
    def close_idle(self, seconds: int, steps: int) -> None:
        self.now += seconds
        self.others.append(self.loop.create_task(self.cache.close_idle()))
        self.go_on(steps)


limits = settings(max_examples=80, stateful_step_count=40, deadline=None)
TestLeases = LeaseMachine.TestCase
TestLeases.settings = limits
TestEverything = EverythingMachine.TestCase
TestEverything.settings = limits
