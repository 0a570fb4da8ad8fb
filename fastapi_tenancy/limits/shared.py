"""Count requests in Redis, so that a rate holds over all workers; imports `redis`."""

import logging
from collections.abc import Callable
from contextlib import suppress

from ..deadlines import answer_within
from ..errors import ConfigurationError
from .rate import Rate, RateCounter, take

try:
    from limits.aio.storage import RedisStorage
    from redis.asyncio import BlockingConnectionPool
    from redis.asyncio.retry import Retry
    from redis.backoff import NoBackoff
    from redis.exceptions import RedisError
except ModuleNotFoundError:
    _INSTALLED = False
else:
    _INSTALLED = True

PATIENCE = 0.25  # seconds that Redis is given to answer; it takes less than a millisecond
PAUSE = 5.0  # seconds after a failure in which it is not asked
_CONNECTIONS = 16  # per worker

logger = logging.getLogger(__name__)


class SharedRateCounter:
    """Counts in Redis; while Redis fails or hangs, in this process.

    After a failure Redis is asked again every `PAUSE` seconds, by one request; the others do not wait for it.

    Args:
        url: of Redis.
        here: what counts instead.
        clock: seconds that only go forward.

    Raises:
        ConfigurationError: `url` is no URL of Redis, or a package is missing.
    """

    def __init__(self, url: str, here: RateCounter, clock: Callable[[], float]) -> None:
        if not _INSTALLED:
            raise ConfigurationError(
                "redis_url needs the extras 'limits' and 'redis': run pip install '.[limits,redis]' in the checkout"
            )
        self._url = url
        self._here = here
        self._clock = clock
        self._pool = self._new_pool()
        self._ask_again: float | None = None  # None while Redis answers

    async def take(self, tenant_id: str, rate: Rate) -> int:
        """As `RateCounter.take`; it takes no longer than `PATIENCE`, and does not fail."""
        if self._ask_again is not None:
            now = self._clock()
            if now < self._ask_again:
                return await self._here.take(tenant_id, rate)
            self._ask_again = now + PAUSE
        try:
            wait = await answer_within(PATIENCE, take(self._storage, tenant_id, rate))
        except (RedisError, OSError) as error:  # a TimeoutError is an OSError
            self._lost(error)
            return await self._here.take(tenant_id, rate)
        self._found()
        return wait

    async def close(self) -> None:
        """Close the connections; later ones are of whichever loop runs then."""
        pool, self._pool = self._pool, self._new_pool()
        with suppress(RedisError, OSError):  # it may hang; what matters is that our end is closed
            await pool.aclose()

    def _new_pool(self) -> "BlockingConnectionPool":
        try:
            pool = BlockingConnectionPool.from_url(
                self._url,
                max_connections=_CONNECTIONS,
                timeout=None,  # for a free connection: `answer_within` has one for all
                socket_timeout=PATIENCE,
                socket_connect_timeout=PATIENCE,
                retry=Retry(NoBackoff(), 0),
            )
            # Opens nothing, but finds what it does not understand in the URL.
            pool.make_connection()  # type: ignore[no-untyped-call]  # redis has no annotation there
        except (ValueError, TypeError):
            # Neither cause nor URL are shown: they may hold a password.
            raise ConfigurationError("redis_url is no URL of Redis; give one like 'redis://localhost:6379/0'") from None
        self._storage = RedisStorage(
            "async+redis://",
            implementation="redispy",
            key_prefix="tenancy:rate",
            connection_pool=pool,  # type: ignore[arg-type]  # documented, but not in the annotation
        )
        return pool

    def _lost(self, error: Exception) -> None:
        if self._ask_again is None:
            self._ask_again = self._clock() + PAUSE
            logger.warning("rate limits counted in this process", extra={"error": type(error).__name__})

    def _found(self) -> None:
        if self._ask_again is not None:
            self._ask_again = None
            logger.warning("rate limits counted in redis again")
