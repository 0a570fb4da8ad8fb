"""Wait for an answer until a deadline, also of a driver that does not end when it is cancelled."""

import asyncio
from collections.abc import Awaitable
from typing import Any, TypeVar

T = TypeVar("T")


async def answer_within(seconds: float, question: Awaitable[T]) -> T:
    """The answer.

    Raises:
        TimeoutError: it takes longer.
    """
    task = asyncio.ensure_future(question)
    try:
        # Not asyncio.timeout: it waits for the cancellation, which redis now and then swallows when the server hangs.
        await asyncio.wait((task,), timeout=seconds)
    finally:
        if not task.done():
            task.cancel()
            task.add_done_callback(drop_outcome)
    if not task.done():
        raise TimeoutError(f"there was no answer within {seconds:g} s")
    return task.result()


def drop_outcome(task: asyncio.Future[Any]) -> None:
    """For `add_done_callback`: nobody waits any more for what becomes of it."""
    if not task.cancelled():
        task.exception()
