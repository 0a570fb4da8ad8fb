"""What the application writes into every new tenant, before anybody can ask for it."""

import asyncio
import inspect
from collections.abc import Awaitable, Callable
from typing import Any, TypeAlias, TypeVar

from ..context import tenant_scope
from ..tenant import Tenant
from .profile import Profile

# Called with a session of the new tenant, and the tenant.
Seed: TypeAlias = Callable[[Any, Tenant], Awaitable[None] | None]
SeedFunction = TypeVar("SeedFunction", bound=Callable[[Any, Tenant], Any])


class Seeds:
    """Runs the seeds in the order of their registration, each in a transaction of its own."""

    def __init__(self) -> None:
        self._seeds: list[Seed] = []

    def __bool__(self) -> bool:
        return bool(self._seeds)

    def add(self, seed: Seed) -> None:
        self._seeds.append(seed)

    async def plant(self, profile: Profile) -> None:
        """Run them; what one raises ends it, with its transaction rolled back."""
        with tenant_scope(profile.tenant):
            for seed in self._seeds:
                if inspect.iscoroutinefunction(seed):
                    async with profile.transaction() as session:
                        await seed(session, profile.tenant)
                else:
                    async with profile.turn():
                        await asyncio.to_thread(_in_this_thread, seed, profile)


def _in_this_thread(seed: Seed, profile: Profile) -> None:
    with profile.sync_transaction() as session:
        seed(session, profile.tenant)
