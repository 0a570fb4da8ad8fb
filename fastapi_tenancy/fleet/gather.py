"""Ask many tenants at once, and keep what each of them answers apart from what others fail with."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from inspect import isawaitable, iscoroutinefunction
from typing import Generic, TypeVar, cast

from ..multitenant import Profile

T = TypeVar("T")

Use = Callable[[str], AbstractAsyncContextManager[Profile]]


@dataclass(frozen=True, slots=True)
class Outcome(Generic[T]):
    """What became of one tenant's question.

    Attributes:
        tenant: its identifier.
        value: what the function returned; None where it failed.
        error: what it raised, or why the tenant could not be asked; None where it did not fail.
    """

    tenant: str
    value: T | None = None
    error: Exception | None = None

    def result(self) -> T:
        """The value; raises the error where there is one."""
        if self.error is not None:
            raise self.error
        return cast("T", self.value)


async def gather(
    use: Use,
    identifiers: AsyncIterator[str],
    function: Callable[[Profile], Awaitable[T] | T],
    *,
    limit: int,
    seconds: float | None,
) -> list[Outcome[T]]:
    """The outcomes in the order of `identifiers`, from which only as many are taken as can be asked at once."""
    outcomes: dict[str, Outcome[T] | None] = {}
    turn = asyncio.Lock()

    async def work() -> None:
        while True:
            async with turn:  # an iterator can wait for one at a time
                identifier = await anext(identifiers, None)
                if identifier is None:
                    return
                if identifier in outcomes:
                    continue
                outcomes[identifier] = None
            outcomes[identifier] = await _ask(use, identifier, function, seconds)

    workers = [asyncio.create_task(work()) for _ in range(limit)]
    try:
        await asyncio.gather(*workers)
    finally:
        for worker in workers:
            worker.cancel()
        await asyncio.wait(workers)
    return [outcome for outcome in outcomes.values() if outcome is not None]


async def _ask(
    use: Use, identifier: str, function: Callable[[Profile], Awaitable[T] | T], seconds: float | None
) -> Outcome[T]:
    try:
        async with asyncio.timeout(seconds), use(identifier) as profile:
            value = function(profile) if iscoroutinefunction(function) else await asyncio.to_thread(function, profile)
            return Outcome(identifier, await value if isawaitable(value) else value)
    except Exception as error:  # noqa: BLE001 - whatever the application's function raises is this tenant's outcome
        return Outcome(identifier, error=error)
