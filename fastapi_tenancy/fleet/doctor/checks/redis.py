"""Redis: whether it answers, what time it is there, and whether it has room; imports `redis`."""

import time
from collections.abc import AsyncIterator, Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

from ....errors import ConfigurationError
from ..deployment import Deployment
from ..failures import said
from ..finding import Found, error, info, warning
from .store import skew

try:
    from redis.asyncio import Redis
    from redis.exceptions import RedisError
except ModuleNotFoundError:
    _INSTALLED = False
else:
    _INSTALLED = True

_PATIENCE = 2.0  # seconds for each answer
_SLOW = 0.05  # seconds: a request waits for it, and gives up after 0.25
_FULL = 0.9  # of what it may keep


async def redis(deployment: Deployment) -> AsyncIterator[Found]:
    url = deployment.settings.redis_url
    if url is None:
        return
    if not _INSTALLED:
        yield error(
            "redis_url is set, and the package redis is not installed", "in the checkout: pip install '.[redis]'"
        )
        return
    try:
        found = await _ask(deployment, url)
    except (RedisError, OSError, ValueError, ConfigurationError) as failure:
        yield error(
            f"Redis does not answer, so the workers neither count together nor hear of each other: {said(failure)}",
            'redis-cli -u "$TENANCY_REDIS_URL" ping; if it answers, correct TENANCY_REDIS_URL',
        )
        return
    for each in found:
        yield each


async def _ask(deployment: Deployment, url: str) -> list[Found]:
    client = Redis.from_url(url, socket_timeout=_PATIENCE, socket_connect_timeout=_PATIENCE)
    try:
        await client.ping()  # connects
        begun, before = time.perf_counter(), deployment.now()
        seconds, microseconds = await client.time()
        here, took = before + (deployment.now() - before) / 2, time.perf_counter() - begun
        there = datetime.fromtimestamp(seconds + microseconds / 1e6, UTC)
        memory: Mapping[str, Any] = await client.info("memory")
    finally:
        await client.aclose()
    return [*_slowness(took), *skew("Redis", there, here), *_room(memory)]


def _slowness(seconds: float) -> Iterator[Found]:
    if seconds > _SLOW:
        yield warning(
            f"Redis takes {seconds * 1000:.0f} ms to answer, which each request of a limited tenant waits",
            'redis-cli -u "$TENANCY_REDIS_URL" --latency; and move it nearer',
        )


def _room(memory: Mapping[str, Any]) -> Iterator[Found]:
    """Of `INFO memory`; 0 stands for no end."""
    most, policy = int(memory.get("maxmemory", 0)), str(memory.get("maxmemory_policy", "noeviction"))
    if not most:
        return
    used = int(memory.get("used_memory", 0)) / most
    if policy == "noeviction" and used > _FULL:
        yield warning(
            f"Redis is {used:.0%} full, and then refuses to count", "redis-cli CONFIG SET maxmemory … to twice as much"
        )
    elif policy.startswith("allkeys"):
        yield info(
            f"Redis drops any keys when it is full (maxmemory-policy {policy}), and with them what tenants have used",
            "redis-cli CONFIG SET maxmemory-policy volatile-ttl",
        )
