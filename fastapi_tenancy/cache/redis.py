"""A cache that the workers share, in Redis; imports `redis`."""

import asyncio
import hashlib
import hmac
import json
import logging
import random
import struct
import time
from collections.abc import Callable, Coroutine, Iterable, Sequence
from contextlib import suppress
from functools import partial
from typing import Any, TypeVar
from uuid import uuid4

from ..deadlines import answer_within
from ..errors import ConfigurationError
from .base import BaseCache, CacheKeyLock
from .loads import ABSENT, Loads

try:
    from redis.asyncio import BlockingConnectionPool, Redis
    from redis.asyncio.retry import Retry
    from redis.backoff import NoBackoff
    from redis.exceptions import RedisError
except ModuleNotFoundError:
    _INSTALLED = False
else:
    _INSTALLED = True

logger = logging.getLogger(__name__)

T = TypeVar("T")

_SIGNATURE = 32  # bytes of HMAC-SHA256
_MIN_SECRET = 32  # bytes, as long as what it signs with
_END = struct.Struct("!d")
_PAUSES = (0.25, 5.0)  # seconds that Redis is left alone after a failure, doubled up to the second
_POLL = 0.01  # seconds between two looks for what another worker loads
_VERSIONS_LAST = 3600  # seconds that a change is remembered; no load takes as long
_CONNECTIONS = 16

# KEYS: the generation, and of each cache key its version, its entry and its lease. A change counts the version up, and
# a flush the generation, so that a load that began before is not kept, whichever worker it runs in; nor does its lease
# hold up a later load.
_SET = """
local generation = redis.call('GET', KEYS[1]) or '0'
for i = 2, #KEYS, 2 do
  redis.call('INCR', KEYS[i])
  redis.call('EXPIRE', KEYS[i], ARGV[2])
  redis.call('SET', KEYS[i + 1], generation .. ':' .. ARGV[2 + i / 2])
  if ARGV[1] ~= '' then redis.call('PEXPIRE', KEYS[i + 1], ARGV[1]) end
end
"""
_CLEAR = """
redis.call('INCR', KEYS[1])
redis.call('EXPIRE', KEYS[1], ARGV[1])
redis.call('DEL', KEYS[2])
"""
_TAKE = """
local seen = (redis.call('GET', KEYS[1]) or '0') .. ':' .. (redis.call('GET', KEYS[2]) or '0') .. ':'
local held = redis.call('GET', KEYS[3])
if held and string.sub(held, 1, #seen) == seen then return false end
redis.call('SET', KEYS[3], seen .. ARGV[1], 'PX', ARGV[2])
return seen
"""
_KEEP = """
local generation = redis.call('GET', KEYS[1]) or '0'
if generation .. ':' .. (redis.call('GET', KEYS[2]) or '0') .. ':' ~= ARGV[2] then return end
redis.call('SET', KEYS[3], generation .. ':' .. ARGV[4])
if ARGV[3] ~= '' then redis.call('PEXPIRE', KEYS[3], ARGV[3]) end
if redis.call('GET', KEYS[4]) == ARGV[2] .. ARGV[1] then redis.call('DEL', KEYS[4]) end
"""
_FLUSH = "redis.call('INCR', KEYS[1])"
_LET_GO = "if redis.call('GET', KEYS[1]) == ARGV[1] then redis.call('DEL', KEYS[1]) end"


class RedisCache(BaseCache):
    """One load per key over all workers: who loads holds a short lease, and the others wait for what it stores.

    A value is believed only with a signature, over its key and its end as well, so whoever can write to Redis can at
    most bring back what was there before, until that ends. While Redis fails or hangs, every look-up is a miss after
    `timeout`, and what could not be cleared is dropped, with all the rest, before anything is read again.

    Args:
        url: of Redis.
        secret: what values are signed with, at least 32 bytes, the same in all workers.
        prefix: of the keys in Redis; one deployment has one.
        timeout: seconds that Redis is given to answer; over loopback it takes a tenth of a millisecond.
        lease: seconds after which another worker loads what a worker that died was loading.
        dumps: writes a value as text.
        loads: reads it back.
        now: seconds since 1970, the same in all workers.

    Raises:
        ConfigurationError: the secret is too short, `url` is no URL of Redis, or redis is not installed.
    """

    def __init__(
        self,
        url: str,
        *,
        secret: bytes,
        prefix: str = "tenancy:cache",
        timeout: float = 0.25,
        lease: float = 5.0,
        dumps: Callable[[Any], str] = json.dumps,
        loads: Callable[[str], Any] = json.loads,
        now: Callable[[], float] = time.time,
    ) -> None:
        if not _INSTALLED:
            raise ConfigurationError("a RedisCache needs the extra 'redis': run pip install '.[redis]' in the checkout")
        if len(secret) < _MIN_SECRET:
            raise ConfigurationError(f"the secret of a RedisCache has at least {_MIN_SECRET} bytes, not {len(secret)}")
        self._secret = secret
        self._prefix = prefix
        self._timeout = timeout
        self._lease = lease
        self._dumps = dumps
        self._loads = loads
        self._now = now
        self._redis: Any = _client(url)  # its annotations tell text from bytes no better
        self._scripts = {
            text: self._redis.register_script(text) for text in (_SET, _CLEAR, _FLUSH, _TAKE, _KEEP, _LET_GO)
        }
        self._pause = _PAUSES[0]
        self._ask_again = 0.0  # by the clock of the event loop
        self._has_missed_a_change = False
        self._tasks: set[asyncio.Task[None]] = set()
        self._counts = {"hits": 0, "misses": 0, "failures": 0, "rejected": 0}

    async def get(self, key: str, default: Any = None) -> Any:
        value: Any = await self._ask(partial(self._read, key), ABSENT)
        self._counts["misses" if value is ABSENT else "hits"] += 1
        return default if value is ABSENT else value

    async def set(self, keys: str | Iterable[str], value: Any, ttl: float | None = None) -> None:
        """As `BaseCache.set`.

        Raises:
            ValueError: `ttl` is not above 0.
        """
        names = (keys,) if isinstance(keys, str) else tuple(keys)
        fields = [_milliseconds(ttl), _VERSIONS_LAST, *(self._signed(name, value, ttl) for name in names)]
        await self._change(_SET, ["g", *(each for name in names for each in (f"v:{name}", f"e:{name}"))], fields)

    async def clear(self, key: str) -> None:
        await self._change(_CLEAR, [f"v:{key}", f"e:{key}"], [_VERSIONS_LAST])

    async def flush(self) -> None:
        await self._change(_FLUSH, ["g"], [])

    def acquire(self, key: str) -> "SharedKeyLock":
        return SharedKeyLock(self, key, self._loads_in_flight)

    async def close(self) -> None:
        """Close the connections; they are opened again where need be."""
        if self._tasks:
            await asyncio.wait(tuple(self._tasks))
        with suppress(RedisError, OSError):
            await self._redis.connection_pool.aclose()

    def stats(self) -> dict[str, int]:
        """Look-ups, what Redis failed at, and values that nobody of ours had signed."""
        return dict(self._counts)

    async def take_lease(self, key: str) -> "Lease | None":
        """The right to load a key that is not there; None if another worker has it."""
        lease = Lease(key, uuid4().hex)
        return await self._ask(partial(self._take, lease), lease)  # without Redis everybody loads

    async def keep(self, lease: "Lease", value: Any, ttl: float | None) -> None:
        """Store what was loaded, unless it was overtaken, and let others look."""
        if lease.seen is None:
            return  # Redis failed as it was to be loaded, so nobody knows what has changed since
        names = ["g", *(f"{kind}:{lease.key}" for kind in ("v", "e", "l"))]
        fields = [lease.holder, lease.seen, _milliseconds(ttl), self._signed(lease.key, value, ttl)]
        await self._ask(partial(self._run, _KEEP, names, fields), None)

    def let_go_soon(self, lease: "Lease") -> None:
        """Let another worker load."""
        if lease.seen is not None:
            fields = [lease.seen + lease.holder.encode()]
            task = asyncio.create_task(self._ask(partial(self._run, _LET_GO, [f"l:{lease.key}"], fields), None))
            self._tasks.add(task)  # a loop keeps only weak references to its tasks
            task.add_done_callback(self._tasks.discard)

    async def _read(self, key: str) -> Any:
        generation, entry = await self._redis.mget(self._name("g"), self._name(f"e:{key}"))
        if entry is None:
            return ABSENT
        of, _, signed = entry.partition(b":")
        return self._believed(key, signed) if of == (generation or b"0") else ABSENT

    async def _take(self, lease: "Lease") -> "Lease | None":
        names = ["g", f"v:{lease.key}", f"l:{lease.key}"]
        lease.seen = await self._run(_TAKE, names, [lease.holder, int(self._lease * 1000)])
        return None if lease.seen is None else lease

    async def _change(self, script: str, names: Sequence[str], fields: Sequence[Any]) -> None:
        failed = object()
        outcome = await self._ask(partial(self._run, script, names, fields), failed)
        self._has_missed_a_change = self._has_missed_a_change or outcome is failed

    async def _run(self, script: str, names: Sequence[str], fields: Sequence[Any]) -> Any:
        return await self._scripts[script](keys=[self._name(name) for name in names], args=list(fields))

    async def _ask(self, question: Callable[[], Coroutine[Any, Any, T]], otherwise: T) -> T:
        """The answer of Redis; `otherwise` where it fails, hangs, or has just done so."""
        if asyncio.get_running_loop().time() < self._ask_again:
            return otherwise
        try:
            answer = await answer_within(self._timeout, self._caught_up(question))
        except (RedisError, OSError) as error:  # a TimeoutError is an OSError
            self._lost(error)
            return otherwise
        self._pause = _PAUSES[0]
        return answer

    async def _caught_up(self, question: Callable[[], Coroutine[Any, Any, T]]) -> T:
        if self._has_missed_a_change:
            await self._run(_FLUSH, ["g"], [])
            self._has_missed_a_change = False
        return await question()

    def _lost(self, error: Exception) -> None:
        self._counts["failures"] += 1
        logger.warning("redis cache failed", extra={"error": type(error).__name__})
        # At random, so that not all workers come back in the same moment.
        self._ask_again = asyncio.get_running_loop().time() + self._pause * random.uniform(0.5, 1)  # noqa: S311 - no secret
        self._pause = min(2 * self._pause, _PAUSES[1])

    def _signed(self, key: str, value: Any, ttl: float | None) -> bytes:
        body = _END.pack(0.0 if ttl is None else self._now() + ttl) + self._dumps(value).encode()
        return self._signature(key, body) + body

    def _believed(self, key: str, signed: bytes) -> Any:
        signature, body = signed[:_SIGNATURE], signed[_SIGNATURE:]
        if not hmac.compare_digest(signature, self._signature(key, body)):
            self._counts["rejected"] += 1
            logger.warning("redis cache holds what nobody has signed", extra={"key": key})
            return ABSENT
        (end,) = _END.unpack(body[: _END.size])
        return self._loads(body[_END.size :].decode()) if end == 0 or self._now() < end else ABSENT

    def _signature(self, key: str, body: bytes) -> bytes:
        return hmac.digest(self._secret, f"{len(key)}:{key}".encode() + body, hashlib.sha256)

    def _name(self, name: str) -> str:
        # In braces, so that a cluster keeps all of them in one place.
        return f"{{{self._prefix}}}:{name}"


class Lease:
    """The right to load a key.

    Attributes:
        key: which.
        holder: tells it from others.
        seen: the generation and the version that the load is to be kept with; None where Redis did not tell.
    """

    __slots__ = ("holder", "key", "seen")

    def __init__(self, key: str, holder: str) -> None:
        self.key = key
        self.holder = holder
        self.seen: bytes | None = None


class SharedKeyLock(CacheKeyLock):
    """A lock that also waits for loads of other workers."""

    cache: RedisCache

    def __init__(self, cache: RedisCache, key: str, loads: Loads) -> None:
        super().__init__(cache, key, loads)
        self._lease: Lease | None = None

    def release(self) -> None:
        super().release()
        if self._lease is not None:
            lease, self._lease = self._lease, None
            self.cache.let_go_soon(lease)

    async def _find(self) -> Any:
        while (value := await self.cache.get(self.key, ABSENT)) is ABSENT:
            self._lease = await self.cache.take_lease(self.key)
            if self._lease is not None:
                return await self.cache.get(self.key, ABSENT)  # it may have been stored in between
            await asyncio.sleep(_POLL)
        return value

    async def _keep(self, value: Any, ttl: float | None) -> None:
        if self._lease is not None:
            lease, self._lease = self._lease, None
            await self.cache.keep(lease, value, ttl)


async def answers(url: str, seconds: float) -> bool:
    """Whether Redis answers within that time."""
    if not _INSTALLED:
        return False
    redis = _client(url)
    try:
        return await answer_within(seconds, redis.ping())
    except (RedisError, OSError):
        return False
    finally:
        with suppress(RedisError, OSError):
            await answer_within(seconds, redis.connection_pool.aclose())


def _client(url: str) -> "Redis":
    try:
        pool = BlockingConnectionPool.from_url(
            url, max_connections=_CONNECTIONS, timeout=None, retry=Retry(NoBackoff(), 0)
        )
        pool.make_connection()  # type: ignore[no-untyped-call]  # redis has no annotation there; opens nothing
    except (ValueError, TypeError):
        # Neither cause nor URL are shown: they may hold a password.
        raise ConfigurationError("the url of a RedisCache is not one of Redis, like redis://localhost:6379/0") from None
    return Redis(connection_pool=pool)


def _milliseconds(ttl: float | None) -> str:
    if ttl is not None and not ttl > 0:
        raise ValueError(f"ttl is {ttl}; give more than 0 seconds, or None to keep the entry without an end")
    return "" if ttl is None else str(max(1, int(ttl * 1000)))
