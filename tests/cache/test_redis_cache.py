"""A cache in Redis, alone and shared by two workers."""

import asyncio
import socket
from collections import Counter
from uuid import uuid4

import pytest
from redis.asyncio import Redis

from fastapi_tenancy import ConfigurationError
from fastapi_tenancy.cache import ABSENT
from fastapi_tenancy.cache.redis import RedisCache
from fastapi_tenancy.testing import CacheContract

SECRET = bytes(range(32))


@pytest.fixture
async def worker(redis_url):
    """Makes the caches of one deployment's workers."""
    prefix, made = f"test-{uuid4().hex}", []

    def make(url=redis_url, **options):
        made.append(RedisCache(url, **{"secret": SECRET, "prefix": prefix, "timeout": 5, **options}))
        return made[-1]

    yield make
    for cache in made:
        await cache.close()
        assert len(cache._loads_in_flight) == 0


class TestRedisCache(CacheContract):
    ttl = 0.05

    @pytest.fixture
    def cache(self, worker):
        return worker()


async def test_what_one_worker_keeps_another_finds(worker):
    await worker().set("acme", {"plan": "pro"}, ttl=60)
    assert await worker().get("acme") == {"plan": "pro"}


async def test_many_readers_of_several_workers_cause_one_load(worker):
    loads = Counter()

    async def read(cache):
        async with cache.acquire("acme") as lock:
            if not lock.done:
                loads["acme"] += 1
                await asyncio.sleep(0.02)
                await lock.set_result("value", ttl=60)
        return lock.result

    assert set(await asyncio.gather(*(read(cache) for cache in [worker() for _ in range(4)] * 5))) == {"value"}
    assert loads["acme"] == 1


async def test_a_worker_loads_where_another_had_no_result(worker):
    first, second = worker(), worker()
    with pytest.raises(ZeroDivisionError):
        async with first.acquire("acme"):
            raise ZeroDivisionError
    async with second.acquire("acme") as lock:
        assert not lock.done


async def test_a_worker_loads_once_the_lease_of_a_dead_one_has_ended(worker):
    dead, living = worker(lease=0.05), worker()
    await dead.take_lease("acme")
    async with living.acquire("acme") as lock:
        assert not lock.done


@pytest.mark.parametrize("change", [lambda cache: cache.clear("acme"), lambda cache: cache.flush()])
async def test_a_load_that_another_worker_overtook_is_not_kept(worker, change):
    loading, changing = worker(), worker()
    async with loading.acquire("acme") as lock:
        await change(changing)
        await lock.set_result("old")
    assert await changing.get("acme", ABSENT) is ABSENT


async def test_what_another_worker_set_during_a_load_stays(worker):
    loading, changing = worker(), worker()
    async with loading.acquire("acme") as lock:
        await changing.set("acme", "new")
        await lock.set_result("old")
    assert await loading.get("acme") == "new"


@pytest.mark.parametrize("poison", [b"0:nonsense", b"", b"0:" + bytes(60), b"nonsense", b"0"])
async def test_what_nobody_signed_is_not_believed(worker, redis_url, poison):
    cache = worker()
    async with Redis.from_url(redis_url) as redis:
        await redis.set(cache._name("e:acme"), poison)
    assert await cache.get("acme", ABSENT) is ABSENT


async def test_a_value_of_another_key_is_not_believed(worker, redis_url):
    cache = worker()
    await cache.set("beta", "of beta")
    async with Redis.from_url(redis_url) as redis:
        await redis.copy(cache._name("e:beta"), cache._name("e:acme"))
    assert await cache.get("acme", ABSENT) is ABSENT
    assert cache.stats()["rejected"] == 1


async def test_a_value_that_has_ended_is_not_believed_when_it_comes_back(worker, redis_url):
    now = 1000.0
    cache = worker(now=lambda: now)
    await cache.set("acme", "old", ttl=60)
    now += 61
    assert await cache.get("acme", ABSENT) is ABSENT


async def test_a_worker_with_another_secret_believes_nothing(worker):
    await worker().set("acme", 1)
    assert await worker(secret=bytes(32)).get("acme", ABSENT) is ABSENT


async def test_a_short_secret_is_refused(worker):
    with pytest.raises(ConfigurationError, match="32 bytes"):
        worker(secret=b"short")


async def test_a_url_that_is_not_one_of_redis_is_refused():
    with pytest.raises(ConfigurationError, match="redis://"):
        RedisCache("http://user:hidden@localhost", secret=SECRET)


async def test_a_ttl_of_nothing_is_refused(worker):
    with pytest.raises(ValueError, match="ttl"):
        await worker().set("acme", 1, ttl=0)


@pytest.fixture
def silent_port():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener.getsockname()[1]


@pytest.mark.parametrize("kind", ["refused", "silent"])
async def test_without_redis_everything_is_a_miss_and_everybody_loads(worker, silent_port, kind):
    with socket.create_server(("127.0.0.1", 0)) as listener:
        closed_port = listener.getsockname()[1]
    port = silent_port if kind == "silent" else closed_port
    cache = worker(f"redis://127.0.0.1:{port}", timeout=0.05)
    await cache.set("acme", 1)
    assert await cache.get("acme", ABSENT) is ABSENT
    async with cache.acquire("acme") as lock:
        assert not lock.done
        await lock.set_result("loaded")
    await cache.clear("acme")
    assert cache.stats()["failures"] == 1  # it was left alone after that


async def test_what_could_not_be_cleared_is_not_read_afterwards(worker):
    cache, other = worker(), worker()
    await cache.set("acme", "old")
    real, cache._timeout = cache._timeout, 0
    await cache.clear("acme")
    cache._timeout, cache._ask_again = real, 0.0
    assert await cache.get("acme", ABSENT) is ABSENT
    assert await other.get("acme", ABSENT) is ABSENT
