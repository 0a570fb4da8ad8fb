"""Ask the tenant store: within a deadline, and not for a while where it fails."""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, TypeVar

from sqlalchemy.exc import DataError, IntegrityError, NotSupportedError, ProgrammingError, SQLAlchemyError

from ..cache import BaseCache
from ..deadlines import drop_outcome
from ..errors import ConfigurationError, SealError, StoreUnavailableError, TenancyError, TenantUnavailableError
from ..resolution import taking
from .breaker import Breaker, Refused

logger = logging.getLogger(__name__)

T = TypeVar("T")

_CANCEL_AGAIN = 0.05  # seconds
_CANCELS = 20

# The database refuses a statement, so it is there: what one request asks for must not keep others from asking.
_ANSWERS = (DataError, IntegrityError, NotSupportedError, ProgrammingError)


class StoreCalls:
    """Puts questions to the store.

    Args:
        seconds: that it may take to answer.
        failures: in a row, after which one question at a time is let through, after pauses of up to 2 s.
        clock: seconds that only go forward.
    """

    def __init__(self, seconds: float, failures: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._seconds = seconds
        self._breaker = Breaker(failures, clock)
        self._failures = 0
        self._refusal: str | None = None

    async def ask(self, question: Coroutine[Any, Any, T], *, patiently: bool = False, within: float | None = None) -> T:
        """Await an answer.

        Args:
            question: what is awaited.
            patiently: for as long as it takes, and also while the store fails.
            within: seconds, in the place of those that were given for all.

        Raises:
            StoreUnavailableError: the store failed, did not answer in time, or has failed so often just now that it was
                not asked. What was to be written may be written all the same, unless it was not asked.
        """
        if self._refusal is not None:
            question.close()
            raise ConfigurationError(self._refusal)
        try:
            is_probe = not patiently and self._breaker.enter()
        except Refused:
            question.close()
            raise StoreUnavailableError(
                "the tenant store has failed, so it was not asked; try again in a moment"
            ) from None
        seconds = None if patiently else self._seconds if within is None else within
        task = asyncio.ensure_future(question)
        try:
            # Not asyncio.timeout: it waits for the cancellation, which a driver with a hung server never ends.
            with taking("store"):
                await asyncio.wait((task,), timeout=seconds)
            return self._outcome(task, is_probe, seconds)
        finally:
            self._breaker.left(is_probe)
            if not task.done():
                task.add_done_callback(drop_outcome)
                _end(task)

    def refuse(self, reason: str) -> None:
        """Ask nothing from now on: every question is a `ConfigurationError`."""
        self._refusal = reason

    def stats(self) -> dict[str, int]:
        """Calls that failed, and those that were refused since others had; whether calls are refused now."""
        return {
            "store_failures": self._failures,
            "store_refusals": self._breaker.refused,
            "store_is_spared": int(self._breaker.is_open),
        }

    def _outcome(self, task: asyncio.Task[T], is_probe: bool, seconds: float | None) -> T:
        if not task.done():
            logger.warning("tenant store timed out", extra={"seconds": seconds})
            self._failed(is_probe)
            raise StoreUnavailableError(f"the tenant store did not answer within {seconds:g} s")
        try:
            answer = task.result()
        except _ANSWERS as error:
            self._breaker.answered()
            raise self._told(error) from error
        except (SQLAlchemyError, OSError) as error:
            self._failed(is_probe)
            raise self._told(error) from error
        except TenancyError as error:
            if isinstance(error, TenantUnavailableError) and not isinstance(error, SealError):
                self._failed(is_probe)  # no connection to it was to be had
                raise StoreUnavailableError(error.message) from error
            self._breaker.answered()
            raise
        self._breaker.answered()
        return answer

    def _failed(self, is_probe: bool) -> None:
        self._failures += 1
        self._breaker.failed(is_probe)

    def _told(self, error: Exception) -> StoreUnavailableError:
        logger.warning("tenant store failed", exc_info=error)
        return StoreUnavailableError("the tenant store failed; see the log for its error")


async def one_load(cache: BaseCache, key: str, load: Callable[[], Awaitable[tuple[Any, float | None]]]) -> Any:
    """What the cache has, or what is loaded and kept, once however many ask.

    A store that fails does so for all who wait, since each would else find that out in turn.

    Args:
        cache: where it is kept.
        key: what is asked for.
        load: gives the value, and the seconds for which it is kept; None for the cache's own.

    Raises:
        StoreUnavailableError: the load raised it.
    """
    with taking("waiting"):
        async with cache.acquire(key) as lookup:
            if not lookup.done:
                try:
                    value, ttl = await load()
                except StoreUnavailableError as error:
                    lookup.give(error)
                else:
                    await lookup.set_result(value, ttl)
    if isinstance(lookup.result, StoreUnavailableError):
        raise StoreUnavailableError(lookup.result.message) from lookup.result
    return lookup.result


def _end(task: asyncio.Task[Any], times: int = _CANCELS) -> None:
    """Cancel it until it has ended, or its connection would be lost to the pool until the server hangs up.

    psycopg, when it is cancelled, asks the server to give up and waits for that.
    """
    if times and not task.done():
        task.cancel()
        task.get_loop().call_later(_CANCEL_AGAIN, _end, task, times - 1)
