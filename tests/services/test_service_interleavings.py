"""Whatever leases, evictions, changes, failures and cancellations do together: a tenant's services are its own."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from services.service_support import DatalessManager
from sqlalchemy import MetaData

from fastapi_tenancy import Profile, TenancySettings, Tenant
from fastapi_tenancy.multitenant import RootProfile
from fastapi_tenancy.testing import tenant_named

NAMES = ("acme", "globex", "initech")
TENANT = st.sampled_from(NAMES)
STEPS = st.integers(0, 6)  # how far the event loop goes on before the next event
PICK = st.integers(0, 1000)


class Made:
    """What any factory of the machine makes."""

    def __init__(self, profile: Profile, *needs: "Made") -> None:
        self.profile = profile
        self.needs = needs
        self.closings = 0


class Crm(Made): ...


class Mail(Made): ...


class ServiceMachine(RuleBasedStateMachine):
    """`Mail` needs `Crm`; each making and each closing waits until the machine lets it go on, or fail."""

    @initialize(capacity=st.integers(1, 2))
    def start(self, capacity: int) -> None:
        self.faults: list[Any] = []
        self.made: list[Made] = []
        self.gates: list[asyncio.Future[None]] = []
        self.users: dict[asyncio.Task[None], asyncio.Event] = {}
        self.tenants: dict[str, Tenant] = {name: tenant_named(name, namespace="x") for name in NAMES}
        for name, tenant in self.tenants.items():
            self.tenants[name] = replace(tenant, namespace=tenant.id)
        root = RootProfile(TenancySettings(database_url="sqlite://", profile_cache_size=capacity), MetaData())
        root.services.add(self.make_crm)
        root.services.add(self.make_mail)
        self.manager = DatalessManager(root)
        self.runner = asyncio.Runner()
        self.loop = self.runner.get_loop()
        self.loop.set_exception_handler(lambda _, context: self.faults.append(context))

    async def make_crm(self, profile: Profile) -> AsyncIterator[Crm]:
        await self.gate()
        crm = Crm(profile)
        self.made.append(crm)
        yield crm
        await self.close(crm)

    async def make_mail(self, profile: Profile) -> AsyncIterator[Mail]:
        mail = Mail(profile, await profile.service(Crm))
        await self.gate()
        self.made.append(mail)
        yield mail
        await self.close(mail)

    async def close(self, made: Made) -> None:
        made.closings += 1
        if any(each.closings for each in made.needs):
            self.faults.append("closed after what it needs")
        await self.gate()

    async def gate(self) -> None:
        gate = self.loop.create_future()
        self.gates.append(gate)
        await gate

    @rule(name=TENANT, kinds=st.lists(st.sampled_from([Crm, Mail]), min_size=1, max_size=3), steps=STEPS)
    def use(self, name: str, kinds: list[type[Made]], steps: int) -> None:
        until = asyncio.Event()
        self.users[self.loop.create_task(self.ask(self.tenants[name], kinds, until))] = until
        self.go_on(steps)

    async def ask(self, tenant: Tenant, kinds: list[type[Made]], until: asyncio.Event) -> None:
        async with self.manager.lease(tenant) as profile:
            for kind in kinds:
                try:
                    made = await profile.service(kind)
                except ZeroDivisionError:
                    continue
                of = made.profile.tenant
                if made.profile is not profile or of.id != tenant.id or of.version < tenant.version:
                    self.faults.append(f"{tenant} got the service of {of}")
                await until.wait()
                if made.closings:
                    self.faults.append("closed while it was in use")

    @precondition(lambda self: self.users)
    @rule(pick=PICK, cancel=st.booleans(), steps=STEPS)
    def end_a_use(self, pick: int, cancel: bool, steps: int) -> None:
        task = list(self.users)[pick % len(self.users)]
        until = self.users.pop(task)
        until.set()
        if cancel:
            task.cancel()
        self.go_on(steps)

    @rule(name=TENANT, tell=st.booleans(), steps=STEPS)
    def change_settings(self, name: str, tell: bool, steps: int) -> None:
        self.tenants[name] = tenant = replace(self.tenants[name], version=self.tenants[name].version + 1)
        if tell:
            self.loop.run_until_complete(self.manager.update_tenant(tenant))
        self.go_on(steps)

    @rule(name=TENANT, steps=STEPS)
    def evict(self, name: str, steps: int) -> None:
        opened = [each for each in self.manager.open_profiles if each.tenant.identifier == name]
        for profile in opened:
            self.loop.run_until_complete(self.manager.remove_tenant_profile(profile))
        self.go_on(steps)

    @precondition(lambda self: self.gates)
    @rule(pick=PICK, fail=st.booleans(), steps=STEPS)
    def let_go_on(self, pick: int, fail: bool, steps: int) -> None:
        gate = self.gates.pop(pick % len(self.gates))
        if not gate.done():
            gate.set_exception(ZeroDivisionError()) if fail else gate.set_result(None)
        self.go_on(steps)

    @invariant()
    def nothing_went_wrong(self) -> None:
        if hasattr(self, "faults"):
            assert self.faults == []
            assert all(made.closings <= 1 for made in self.made)
            alive = Counter((made.profile, type(made)) for made in self.made if not made.closings)
            assert all(count == 1 for count in alive.values())

    def teardown(self) -> None:
        if not hasattr(self, "runner"):
            return
        for task, until in self.users.items():
            until.set()
            task.cancel()
        closing = self.loop.create_task(self.manager.aclose())
        while not closing.done():
            for gate in self.gates:
                if not gate.done():
                    gate.set_result(None)
            self.go_on(1)
        self.nothing_went_wrong()
        assert [made.closings for made in self.made] == [1] * len(self.made)
        self.go_on(5)
        assert asyncio.all_tasks(self.loop) == set()
        self.runner.close()

    def go_on(self, steps: int) -> None:
        async def turns() -> None:
            for _ in range(steps):
                await asyncio.sleep(0)

        self.loop.run_until_complete(turns())


TestServices = ServiceMachine.TestCase
TestServices.settings = settings(max_examples=60, stateful_step_count=25, deadline=None)
