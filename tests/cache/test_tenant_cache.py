"""What `TenantCache` promises, step by step."""

import itertools
import sys
import threading
from datetime import UTC, datetime

import pytest

from fastapi_tenancy.cache import TenantCache
from fastapi_tenancy.tenant import Tenant, TenantStatus

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def tenant(tenant_id: str, identifier: str | None = None) -> Tenant:
    identifier = identifier or f"slug-{tenant_id}"
    return Tenant(
        id=tenant_id,
        identifier=identifier,
        name=identifier,
        status=TenantStatus.ACTIVE,
        created_at=NOW,
        updated_at=NOW,
    )


def test_a_tenant_is_found_by_id_and_by_identifier(clock):
    cache = TenantCache(clock=clock)
    acme = tenant("1", "acme")
    cache.set(acme)
    assert cache.get("1") is acme
    assert cache.get_by_identifier("acme") is acme


async def test_aset_keeps_a_tenant_as_set_does(clock):
    cache = TenantCache(clock=clock)
    await cache.aset(tenant("1"))
    assert cache.get("1") == tenant("1")


def test_an_unknown_id_and_an_unknown_identifier_are_misses(clock):
    cache = TenantCache(clock=clock)
    assert cache.get("1") is None
    assert cache.get_by_identifier("acme") is None
    assert cache.stats()["misses"] == 2


@pytest.mark.parametrize(("age", "found"), [(59.999, True), (60, False), (61, False)])
def test_an_entry_expires_when_its_age_equals_the_ttl(clock, age, found):
    cache = TenantCache(ttl=60, clock=clock)
    cache.set(tenant("1", "acme"))
    clock.advance(age)
    assert (cache.get_by_identifier("acme") is not None) is found
    assert (cache.get("1") is not None) is found
    assert cache.size() == found


def test_a_set_begins_a_new_life(clock):
    cache = TenantCache(ttl=60, clock=clock)
    cache.set(tenant("1"))
    clock.advance(59)
    cache.set(tenant("1"))
    clock.advance(59)
    assert cache.get("1") is not None


def test_jitter_shortens_a_life_by_its_part_at_most(clock):
    cache = TenantCache(ttl=100, clock=clock, jitter=0.5)
    for number in range(200):
        cache.set(tenant(str(number)))
    clock.advance(49)
    assert cache.purge_expired() == 0
    clock.advance(26)
    assert 0 < cache.purge_expired() < 200
    clock.advance(25)
    assert cache.purge_expired() > 0
    assert cache.size() == 0


def test_a_rename_drops_the_old_identifier(clock):
    cache = TenantCache(clock=clock)
    cache.set(tenant("1", "acme"))
    cache.set(tenant("1", "acme-inc"))
    assert cache.get_by_identifier("acme") is None
    assert cache.get_by_identifier("acme-inc") is cache.get("1")


def test_an_identifier_that_moves_to_another_id_drops_the_entry_that_had_it(clock):
    cache = TenantCache(clock=clock)
    cache.set(tenant("1", "acme"))
    cache.set(tenant("2", "acme"))
    assert cache.get("1") is None
    assert cache.get_by_identifier("acme") is cache.get("2")
    assert cache.size() == 1


def test_the_least_recently_used_tenant_leaves_first(clock):
    cache = TenantCache(max_size=3, clock=clock)
    for tenant_id in "123":
        cache.set(tenant(tenant_id))
    cache.get("1")
    cache.get_by_identifier("slug-2")
    cache.set(tenant("4"))
    cache.set(tenant("5"))
    assert [tenant_id for tenant_id in "12345" if cache.get(tenant_id)] == ["2", "4", "5"]


def test_a_peek_neither_counts_nor_keeps(clock):
    cache = TenantCache(max_size=2, ttl=10, clock=clock)
    cache.set(tenant("1"))
    cache.set(tenant("2"))
    assert cache.peek("1").id == "1"
    assert cache.peek("3") is None
    assert (cache.stats()["hits"], cache.stats()["misses"]) == (0, 0)
    cache.set(tenant("3"))
    assert cache.peek("1") is None
    clock.now += 10
    assert cache.peek("2") is None


def test_a_rename_in_a_full_cache_evicts_nobody(clock):
    cache = TenantCache(max_size=2, clock=clock)
    cache.set(tenant("1"))
    cache.set(tenant("2"))
    cache.set(tenant("2", "renamed"))
    assert cache.get("1") is not None
    assert cache.size() == 2


def test_invalidate_says_whether_there_was_something(clock):
    cache = TenantCache(clock=clock)
    cache.set(tenant("1", "acme"))
    assert cache.invalidate("1") is True
    assert cache.invalidate("1") is False
    assert cache.get_by_identifier("acme") is None


def test_invalidate_by_identifier_says_whether_there_was_something(clock):
    cache = TenantCache(clock=clock)
    cache.set(tenant("1", "acme"))
    assert cache.invalidate_by_identifier("acme") is True
    assert cache.invalidate_by_identifier("acme") is False
    assert cache.get("1") is None


def test_clear_says_how_many_there_were(clock):
    cache = TenantCache(clock=clock)
    cache.set(tenant("1"))
    cache.set(tenant("2"))
    assert cache.clear() == 2
    assert cache.size() == 0
    assert cache.get_by_identifier("slug-1") is None


def test_a_cleared_cache_fills_and_evicts_as_a_new_one(clock):
    cache = TenantCache(max_size=2, clock=clock)
    for tenant_id in "123":
        cache.set(tenant(tenant_id))
    cache.clear()
    for tenant_id in "321":
        cache.set(tenant(tenant_id))
    assert [tenant_id for tenant_id in "123" if cache.get(tenant_id)] == ["1", "2"]


def test_purge_drops_only_what_has_expired(clock):
    cache = TenantCache(ttl=60, clock=clock)
    cache.set(tenant("1"))
    clock.advance(30)
    cache.set(tenant("2"))
    clock.advance(30)
    assert cache.purge_expired() == 1
    assert cache.size() == 1
    assert cache.get("2") is not None


def test_what_has_expired_can_still_be_had_for_a_while_by_who_asks_for_it(clock):
    cache = TenantCache(ttl=60, stale_for=30, clock=clock)
    acme = tenant("1", "acme")
    cache.set(acme)
    clock.advance(60)
    assert (cache.get("1"), cache.get_by_identifier("acme")) == (None, None)
    assert (cache.stale("1"), cache.stale_by_identifier("acme")) == (acme, acme)
    clock.advance(30)
    assert (cache.stale("1"), cache.stale_by_identifier("acme")) == (None, None)


@pytest.mark.parametrize("drop", ["invalidate", "invalidate_by_identifier", "clear"])
def test_what_was_dropped_cannot_be_had_stale(clock, drop):
    cache = TenantCache(ttl=60, stale_for=30, clock=clock)
    cache.set(tenant("1", "1"))
    clock.advance(61)
    getattr(cache, drop)(*([] if drop == "clear" else ["1"]))
    assert (cache.stale("1"), cache.stale_by_identifier("1"), cache.size()) == (None, None, 0)


def test_what_can_be_had_stale_takes_room_like_all_else(clock):
    cache = TenantCache(max_size=2, ttl=60, stale_for=600, clock=clock)
    for tenant_id in "123":
        cache.set(tenant(tenant_id))
        clock.advance(60)
        assert cache.get(tenant_id) is None
    assert cache.size() == 2
    assert [tenant_id for tenant_id in "123" if cache.stale(tenant_id)] == ["2", "3"]
    assert cache.purge_expired() == 0
    clock.advance(600)
    assert cache.purge_expired() == 2


def test_a_tenant_may_be_set_to_expire_earlier(clock):
    cache = TenantCache(ttl=60, clock=clock)
    cache.set(tenant("1"), ttl=5)
    clock.advance(5)
    assert cache.get("1") is None


def test_stats_are_plain_numbers(clock):
    cache = TenantCache(max_size=10, ttl=30, clock=clock)
    cache.set(tenant("1", "acme"))
    cache.get("1")
    cache.get_by_identifier("acme")
    cache.get("2")
    assert cache.stats() == {"size": 1, "max_size": 10, "ttl": 30, "hits": 2, "misses": 1, "hit_rate_pct": 66}


def test_stats_of_a_new_cache_are_zero():
    assert TenantCache().stats() == {
        "size": 0, "max_size": 1000, "ttl": 60, "hits": 0, "misses": 0, "hit_rate_pct": 0
    }  # fmt: skip


def test_the_limits_can_be_read():
    cache = TenantCache(5, 7.5)
    assert (cache.max_size, cache.ttl, cache.size()) == (5, 7.5, 0)


@pytest.mark.parametrize(
    "arguments",
    [
        {"max_size": 0},
        {"ttl": 0.5},
        {"ttl": 0},
        {"ttl": float("nan")},
        {"jitter": -0.1},
        {"jitter": 1},
        {"stale_for": -1},
    ],
    ids=str,
)
def test_limits_out_of_range_are_refused(arguments):
    with pytest.raises(ValueError, match="give"):
        TenantCache(**arguments)


def run_in_threads(*works):
    """Run all at once, switching as often as the interpreter can, and raise what any of them raised."""
    barrier, errors = threading.Barrier(len(works)), []

    def run(work):
        barrier.wait()
        try:
            work()
        except Exception as error:  # noqa: BLE001 - the edge of the thread
            errors.append(error)

    threads = [threading.Thread(target=run, args=(work,)) for work in works]
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        sys.setswitchinterval(interval)
    if errors:
        raise errors[0]


def test_threads_that_read_and_write_never_see_a_tenant_under_another_key(clock):
    cache = TenantCache(max_size=4, clock=clock)
    versions = [tenant(str(number), f"slug-{identifier}") for number in range(6) for identifier in range(6)]

    def write(step):
        for index in range(0, 40_000, step):
            cache.set(versions[(index * step) % 36])
            assert cache.size() <= 4
            if index % 7 == 0:
                cache.invalidate(str(index % 6))
            if index % 11 == 0:
                cache.invalidate_by_identifier(f"slug-{index % 6}")
            if index % 101 == 0:
                clock.advance(61)
                cache.purge_expired()

    def read():
        for index in range(40_000):
            by_id = cache.get(str(index % 6))
            by_identifier = cache.get_by_identifier(f"slug-{index % 6}")
            assert by_id is None or by_id.id == str(index % 6)
            assert by_identifier is None or by_identifier.identifier == f"slug-{index % 6}"

    run_in_threads(read, read, lambda: write(1), lambda: write(5))
    for number, identifier in itertools.product(range(6), range(6)):
        by_id, by_identifier = cache.get(str(number)), cache.get_by_identifier(f"slug-{identifier}")
        bears = by_id is not None and by_id.identifier == f"slug-{identifier}"
        assert bears is (by_identifier is not None and by_identifier.id == str(number))


@pytest.mark.skipif(not getattr(sys, "_is_gil_enabled", lambda: True)(), reason="counts are exact under the GIL only")
def test_no_count_is_lost_when_threads_read_at_once():
    cache = TenantCache()
    cache.set(tenant("1"))

    def read():
        for _ in range(20_000):
            cache.get("1")
            cache.get("2")

    run_in_threads(read, read, read)
    assert (cache.stats()["hits"], cache.stats()["misses"]) == (60_000, 60_000)
