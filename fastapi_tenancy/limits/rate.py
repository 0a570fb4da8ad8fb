"""Count each tenant's requests over a window that slides, in this process or for all workers.

The window slides as in the "sliding window counter" of `limits`: what the previous window counted weighs less and less
while the present one passes. So a tenant costs two numbers, whatever its rate, and in Redis one clock is read.
"""

from collections.abc import Callable
from typing import NamedTuple, Protocol

from ..errors import ConfigurationError

try:
    from limits import parse_many
    from limits.aio.storage import SlidingWindowCounterSupport

    from .memory import Windows
except ModuleNotFoundError:
    _INSTALLED = False
else:
    _INSTALLED = True

_LONGEST = 366 * 24 * 3600  # seconds; Redis refuses to keep a counter for ages


class Rate(NamedTuple):
    """So many requests in so many seconds."""

    amount: int
    seconds: int


class RateCounter(Protocol):
    """Where requests are counted."""

    async def take(self, tenant_id: str, rate: Rate) -> int:
        """Count a request if there is room for it.

        Returns:
            0, or where there is none the whole seconds after which there is, if none other comes.
        """

    async def close(self) -> None: ...


def parsed(rate: str) -> Rate:
    """The rate that is written as `limits` has it: "60/minute", "1000 per 2 hours".

    Raises:
        ConfigurationError: it is none, or the package `limits` is not installed.
    """
    if not _INSTALLED:
        raise ConfigurationError("a rate needs the extra 'limits': run pip install '.[limits]' in the checkout")
    try:
        (item,) = parse_many(rate)
    except ValueError as error:
        raise ConfigurationError(f"{rate!r} is no rate; give one like '60/minute' or '1000 per 2 hours'") from error
    if item.amount < 1 or item.get_expiry() > _LONGEST:
        raise ConfigurationError(f"{rate!r} is no rate; give at least 1 request, in at most 366 days")
    return Rate(item.amount, item.get_expiry())


async def take(storage: "SlidingWindowCounterSupport", tenant_id: str, rate: Rate) -> int:
    """As `RateCounter.take`. The key has no amount, so that what was counted stays when the tenant's plan changes."""
    key = f"{tenant_id}/{rate.seconds}"
    if await storage.acquire_sliding_window_entry(key, rate.amount, rate.seconds):
        return 0
    return seconds_until_room(rate, *await storage.get_sliding_window(key, rate.seconds))


def seconds_until_room(rate: Rate, before: int, before_ttl: float, count: int, count_ttl: float) -> int:
    """The whole seconds after which one more fits.

    Args:
        rate: what is allowed.
        before: what was counted in the previous window, which weighs `before_ttl / rate.seconds` of that.
        before_ttl: seconds until it weighs nothing.
        count: what was counted in this one.
        count_ttl: seconds until this one weighs nothing as the previous one.
    """
    room = rate.amount - count
    if room <= 0:  # not in this window: in the next one, when this one weighs less than the rate
        wait = count_ttl - rate.seconds * rate.amount / count
    else:
        wait = before_ttl - rate.seconds * room / before if before else 0.0
    return max(0, int(wait)) + 1


class ProcessRateCounter:
    """Counts in this process's memory."""

    def __init__(self, clock: Callable[[], float]) -> None:
        if _INSTALLED:  # else there is no `Rate`, and so nothing to count
            self._windows = Windows(clock)

    async def take(self, tenant_id: str, rate: Rate) -> int:
        return await take(self._windows, tenant_id, rate)

    async def close(self) -> None:
        """Nothing is open."""
