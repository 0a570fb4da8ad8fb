"""ProfileCache: what is open, what is in use, and when it is closed."""

import asyncio
import random
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import ClassVar

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from fastapi_tenancy.context import current_tenant, tenant_scope
from fastapi_tenancy.errors import TenantNotSpecifiedError, TenantUnavailableError
from fastapi_tenancy.multitenant.cache import ProfileCache
from fastapi_tenancy.tenant import Tenant, TenantStatus

OPEN = asyncio.Event()
OPEN.set()
NOW = datetime(2026, 1, 1, tzinfo=UTC)
TENANT = Tenant(id="1", identifier="b", name="B", status=TenantStatus.ACTIVE, created_at=NOW, updated_at=NOW)


def tenant_here():
    try:
        return current_tenant()
    except TenantNotSpecifiedError:
        return None


class FakeProfile:
    """Knows whether somebody uses it, and notes when it is closed then, or twice."""

    faults: ClassVar[list[str]] = []

    def __init__(self, key: str = "", gate: asyncio.Event = OPEN, fault: Exception | None = None) -> None:
        self.key = key
        self.gate = gate
        self.fault = fault
        self.users = 0
        self.closings = 0
        self.closed = False
        self.closed_for: object = None

    async def close(self) -> None:
        self.closings += 1
        if self.users or self.closings > 1:
            self.faults.append(f"{self.key}: closed {self.closings} times, used by {self.users}")
        self.closed_for = tenant_here()
        await self.gate.wait()
        self.closed = True
        if self.fault:
            raise self.fault


class Opener:
    """Opens fake profiles: counts them, waits at a gate, fails if told to."""

    def __init__(self, key: str = "a", gate: asyncio.Event = OPEN, fault: Exception | None = None) -> None:
        self.key = key
        self.gate = gate
        self.fault = fault
        self.opened: list[FakeProfile] = []
        self.calls = 0

    async def __call__(self) -> FakeProfile:
        self.calls += 1
        await self.gate.wait()
        if self.fault:
            raise self.fault
        self.opened.append(FakeProfile(self.key))
        return self.opened[-1]


async def settle() -> None:
    for _ in range(20):
        await asyncio.sleep(0)


async def hold(cache: ProfileCache[FakeProfile], opener: Opener, until: asyncio.Event = OPEN) -> FakeProfile:
    async with cache.lease(opener.key, opener) as profile:
        profile.users += 1
        try:
            assert not profile.closings
            await until.wait()
            return profile
        finally:
            profile.users -= 1


@pytest.fixture(autouse=True)
def _no_profile_is_closed_while_leased_or_twice():
    FakeProfile.faults.clear()
    yield
    assert not FakeProfile.faults


@pytest.fixture
def cache():
    return ProfileCache[FakeProfile](2)


@pytest.mark.parametrize("capacity", [0, -1])
def test_a_capacity_below_one_is_refused(capacity):
    with pytest.raises(ValueError, match="capacity"):
        ProfileCache(capacity)


@pytest.mark.parametrize("seconds", [{"idle_timeout": 0}, {"idle_timeout": -1}, {"close_timeout": 0}])
def test_a_timeout_that_is_not_positive_is_refused(seconds):
    with pytest.raises(ValueError, match="timeout"):
        ProfileCache(1, **seconds)


def test_an_unknown_key_is_not_there(cache):
    assert cache.get("a") is None
    assert cache.remove("a") is None
    assert not cache.has("a")


async def test_what_was_put_is_found(cache):
    profile = FakeProfile()
    cache.put("a", profile)
    assert cache.has("a")
    assert cache.get("a") is profile
    assert list(cache.open_profiles) == [profile]


async def test_the_least_recently_used_is_closed_for_room(cache):
    a, b, c = FakeProfile(), FakeProfile(), FakeProfile()
    cache.put("a", a)
    cache.put("b", b)
    cache.get("a")
    cache.put("c", c)
    await settle()
    assert (a.closed, b.closed, c.closed) == (False, True, False)
    assert cache.get("b") is None


async def test_asking_whether_a_profile_is_there_is_not_a_use(cache):
    for key in "ab":
        cache.put(key, FakeProfile())
    cache.has("a")
    cache.put("c", FakeProfile())
    assert not cache.has("a")


async def test_a_put_under_the_same_key_closes_the_former(cache):
    former, latter = FakeProfile(), FakeProfile()
    cache.put("a", former)
    cache.put("a", latter)
    await settle()
    assert former.closed
    assert cache.get("a") is latter


async def test_putting_a_profile_again_keeps_it(cache):
    profile = FakeProfile()
    cache.put("a", profile)
    cache.put("a", profile)
    await settle()
    assert not profile.closings
    assert cache.stats()["opened"] == 1


def test_what_is_put_before_a_loop_runs_is_closed_once_one_does(cache):
    profiles = [FakeProfile() for _ in range(5)]
    for number, profile in enumerate(profiles):
        cache.put(str(number), profile)
    assert cache.remove("4") is profiles[4]
    assert cache.stats()["closing"] == 4
    asyncio.run(cache.aclose())
    assert all(profile.closed for profile in profiles)


async def test_a_removed_profile_is_returned_and_closed(cache):
    profile = FakeProfile()
    cache.put("a", profile)
    assert cache.remove("a") is profile
    assert not cache.has("a")
    await settle()
    assert profile.closed


async def test_a_leased_profile_over_capacity_is_found_again():
    cache = ProfileCache[FakeProfile](1)
    async with cache.lease("a", Opener()) as profile:
        cache.put("b", FakeProfile())
        cache.put("c", FakeProfile())
        await settle()
        assert cache.get("a") is profile
        assert cache.has("c")
        assert not profile.closings


async def test_a_leased_profile_over_capacity_can_be_removed():
    cache = ProfileCache[FakeProfile](1)
    async with cache.lease("a", Opener()) as profile:
        cache.put("b", FakeProfile())
        assert cache.remove("a") is profile
        assert cache.get("a") is None
        await settle()
        assert not profile.closings
    assert profile.closed


async def test_a_retired_profile_takes_up_room_while_it_is_in_use(cache):
    async with cache.lease("a", Opener()):
        cache.put("b", FakeProfile())
        cache.remove("a")
        cache.put("c", FakeProfile())
        assert [cache.has(key) for key in "abc"] == [False, False, True]


async def test_a_profile_is_opened_once_and_kept(cache):
    opener = Opener()
    first = await hold(cache, opener)
    assert await hold(cache, opener) is first
    assert opener.calls == 1
    assert not first.closings


async def test_500_cold_leases_open_once(cache):
    opener = Opener(gate=asyncio.Event())
    tasks = [asyncio.create_task(hold(cache, opener)) for _ in range(500)]
    await settle()
    opener.gate.set()
    assert set(await asyncio.gather(*tasks)) == set(opener.opened)
    assert opener.calls == 1


async def test_all_who_wait_for_a_failing_opening_get_its_error(cache):
    opener = Opener(gate=asyncio.Event(), fault=OSError("away"))
    tasks = [asyncio.create_task(hold(cache, opener)) for _ in range(500)]
    await settle()
    opener.gate.set()
    assert set(await asyncio.gather(*tasks, return_exceptions=True)) == {opener.fault}
    assert opener.calls == 1


async def test_nothing_is_kept_of_a_failed_opening(cache):
    with pytest.raises(OSError, match="away"):
        await hold(cache, Opener(fault=OSError("away")))
    assert cache.stats()["open"] == 0
    assert cache.stats()["open_failures"] == 1
    await hold(cache, Opener())
    assert cache.has("a")


async def test_the_caller_that_started_the_opening_may_be_cancelled(cache):
    opener = Opener(gate=asyncio.Event())
    first, second = (asyncio.create_task(hold(cache, opener)) for _ in range(2))
    await settle()
    first.cancel()
    await settle()
    opener.gate.set()
    assert await second is opener.opened[0]
    assert first.cancelled()


async def test_what_opens_after_all_callers_are_cancelled_is_kept(cache):
    opener = Opener(gate=asyncio.Event())
    caller = asyncio.create_task(hold(cache, opener))
    await settle()
    caller.cancel()
    opener.gate.set()
    await settle()
    assert cache.get("a") is opener.opened[0]
    assert cache.stats()["leased"] == 0
    await cache.aclose()
    assert opener.opened[0].closed


@pytest.mark.parametrize("steps", range(8))
async def test_a_caller_cancelled_while_the_profile_opens_leaves_no_lease(cache, steps):
    opener = Opener(gate=asyncio.Event())
    caller = asyncio.create_task(hold(cache, opener, asyncio.Event()))
    await settle()
    opener.gate.set()
    for _ in range(steps):
        await asyncio.sleep(0)
    caller.cancel()
    await settle()
    assert caller.cancelled()
    assert cache.stats()["open"] == 1
    assert cache.stats()["leased"] == 0


async def test_an_opening_that_fails_after_all_callers_are_cancelled_makes_no_noise(cache):
    noise: list[object] = []
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(lambda _, context: noise.append(context))
    opener = Opener(gate=asyncio.Event(), fault=OSError("away"))
    caller = asyncio.create_task(hold(cache, opener))
    await settle()
    caller.cancel()
    opener.gate.set()
    await settle()
    loop.set_exception_handler(None)
    assert not noise
    assert not cache.has("a")


async def test_an_opener_that_cancels_itself_does_not_cancel_its_callers(cache):
    async def opener() -> FakeProfile:
        raise asyncio.CancelledError

    with pytest.raises(TenantUnavailableError, match="cancelled"):
        async with cache.lease("a", opener):
            pass


async def test_an_opening_waits_for_the_closing_that_makes_room():
    cache = ProfileCache[FakeProfile](1)
    gate = asyncio.Event()
    cache.put("old", FakeProfile(gate=gate))
    opener = Opener()
    caller = asyncio.create_task(hold(cache, opener))
    await settle()
    assert opener.calls == 0
    gate.set()
    await caller
    assert opener.calls == 1


async def test_an_opening_goes_ahead_where_all_others_are_in_use():
    cache = ProfileCache[FakeProfile](1)
    async with cache.lease("a", Opener("a")), cache.lease("b", Opener("b")):
        assert cache.stats()["leased"] == 2


async def test_the_end_of_a_lease_closes_what_is_over_capacity():
    cache = ProfileCache[FakeProfile](1)
    async with cache.lease("a", Opener("a")) as a:
        async with cache.lease("b", Opener("b")) as b:
            pass
        assert b.closed
    assert not a.closings
    assert cache.stats()["open"] == 1


async def test_a_release_that_is_cancelled_closes_all_the_same():
    cache = ProfileCache[FakeProfile](1)
    opener = Opener("b")
    async with cache.lease("a", Opener()):
        gate, until = asyncio.Event(), asyncio.Event()
        caller = asyncio.create_task(hold(cache, opener, until))
        await settle()
        opener.opened[0].gate = gate
        until.set()
        await settle()
        caller.cancel()
        await settle()
        assert caller.cancelled()
        assert cache.stats()["closing"] == 1
        gate.set()
        await settle()
        assert opener.opened[0].closed


async def test_a_close_that_fails_is_logged_and_counted_and_harms_nobody(caplog):
    cache = ProfileCache[FakeProfile](1)
    cache.put("a", FakeProfile(fault=OSError("broken pipe")))
    await hold(cache, Opener("b"))
    assert cache.stats()["close_failures"] == 1
    assert [(record.message, record.tenant) for record in caplog.records] == [("profile failed to close", "a")]


async def test_a_close_that_hangs_holds_others_up_for_the_close_timeout_only(caplog):
    cache = ProfileCache[FakeProfile](1, close_timeout=0.01)
    gate = asyncio.Event()
    cache.put("a", FakeProfile(gate=gate))
    await hold(cache, Opener("b"))
    assert cache.has("b")
    assert "profile hangs in closing" in caplog.messages
    gate.set()
    await cache.aclose()
    assert cache.stats()["closed"] == 2


async def test_a_profile_is_not_closed_in_the_name_of_the_tenant_that_needed_room():
    cache = ProfileCache[FakeProfile](1)
    cache.put("a", victim := FakeProfile())
    with tenant_scope(TENANT):
        await hold(cache, Opener("b"))
    assert victim.closed
    assert victim.closed_for is None


async def test_requests_in_flight_finish_on_a_retired_profile_while_new_ones_open_another(cache):
    until = asyncio.Event()
    running = asyncio.create_task(hold(cache, Opener(), until))
    await settle()
    retiring = asyncio.create_task(cache.retire("a", timeout=60))
    await settle()
    fresh = await hold(cache, Opener())
    until.set()
    old = await running
    assert await retiring
    assert old is not fresh
    assert old.closed
    assert not fresh.closings


async def test_a_retire_that_runs_out_of_time_says_so_and_the_profile_closes_later(cache):
    async with cache.lease("a", Opener()) as profile:
        assert not await cache.retire("a", timeout=0)
        assert not profile.closings
    assert profile.closed


async def test_a_retire_waits_for_earlier_profiles_of_the_key_too(cache):
    async with cache.lease("a", Opener()):
        cache.remove("a")
        assert not await cache.retire("a", timeout=0)
    assert await cache.retire("a", timeout=0)


async def test_a_retire_of_what_is_not_open_is_done_at_once(cache):
    assert await cache.retire("a", timeout=0)


async def test_what_was_being_opened_at_a_retire_goes_to_those_who_wait_and_to_nobody_else(cache):
    opener = Opener(gate=asyncio.Event())
    waiting = asyncio.create_task(hold(cache, opener))
    await settle()
    assert cache.remove("a") is None
    late = await hold(cache, Opener())
    opener.gate.set()
    outdated = await waiting
    assert outdated is opener.opened[0]
    assert outdated.closed
    assert cache.get("a") is late


async def test_what_was_being_opened_at_a_retire_is_closed_if_nobody_waits_any_more(cache):
    opener = Opener(gate=asyncio.Event())
    waiting = asyncio.create_task(hold(cache, opener))
    await settle()
    waiting.cancel()
    retiring = asyncio.create_task(cache.retire("a", timeout=60))
    await settle()
    opener.gate.set()
    assert await retiring
    assert opener.opened[0].closed


async def test_a_retire_is_done_when_the_opening_fails(cache):
    opener = Opener(gate=asyncio.Event(), fault=OSError("away"))
    waiting = asyncio.create_task(hold(cache, opener))
    await settle()
    retiring = asyncio.create_task(cache.retire("a", timeout=60))
    await settle()
    opener.gate.set()
    assert await retiring
    with pytest.raises(OSError, match="away"):
        await waiting


async def test_a_put_wins_over_an_opening_that_is_under_way(cache):
    opener = Opener(gate=asyncio.Event())
    waiting = asyncio.create_task(hold(cache, opener))
    await settle()
    cache.put("a", profile := FakeProfile())
    opener.gate.set()
    assert (await waiting).closed
    assert cache.get("a") is profile


async def test_unused_profiles_are_closed_when_their_time_is_up():
    now = 0.0
    cache = ProfileCache[FakeProfile](5, idle_timeout=10, clock=lambda: now)
    for key in "abc":
        cache.put(key, FakeProfile())
    async with cache.lease("a", Opener()):
        now = 5.0
        cache.get("b")
        now = 10.0
        assert await cache.close_idle() == 1
        assert [cache.has(key) for key in "abc"] == [True, True, False]
    now = 15.0
    assert await cache.close_idle() == 1
    now = 20.0
    assert await cache.close_idle() == 1
    assert cache.stats()["closed"] == 3


async def test_without_an_idle_timeout_nothing_is_closed_for_idleness():
    cache = ProfileCache[FakeProfile](1, clock=lambda: 1e9)
    cache.put("a", FakeProfile())
    assert await cache.close_idle() == 0


async def test_aclose_waits_for_leases(cache):
    until = asyncio.Event()
    running = asyncio.create_task(hold(cache, Opener(), until))
    await settle()
    closing = asyncio.create_task(cache.aclose(timeout=60))
    await settle()
    assert not closing.done()
    until.set()
    await closing
    assert (await running).closed


async def test_aclose_closes_what_is_still_leased_at_its_deadline_once_and_says_so(cache, caplog):
    async with cache.lease("a", Opener()) as profile:
        await cache.aclose(timeout=0)
        assert profile.closed
    assert profile.closings == 1
    assert [(record.message, record.tenants) for record in caplog.records] == [("profiles closed while in use", ["a"])]


async def test_aclose_ends_an_opening_that_hangs_and_its_callers_get_a_503(cache):
    waiting = asyncio.create_task(hold(cache, Opener(gate=asyncio.Event())))
    await settle()
    await cache.aclose(timeout=0)
    with pytest.raises(TenantUnavailableError):
        await waiting
    assert cache.stats()["opening"] == 0


async def test_aclose_can_be_called_twice(cache):
    cache.put("a", profile := FakeProfile())
    await cache.aclose()
    await cache.aclose()
    assert profile.closings == 1


async def test_a_closed_cache_refuses_leases_with_a_503_and_takes_no_profile(cache):
    await cache.aclose()
    with pytest.raises(TenantUnavailableError, match="shutting down"):
        await hold(cache, Opener())
    with pytest.raises(TenantUnavailableError):
        cache.put("a", FakeProfile())


async def test_the_block_s_own_error_comes_through(cache):
    with pytest.raises(KeyError):
        async with cache.lease("a", Opener()):
            raise KeyError
    assert cache.stats()["leased"] == 0


async def test_stats_are_plain_numbers():
    cache = ProfileCache[FakeProfile](1)
    await hold(cache, Opener("a"))
    async with cache.lease("a", Opener("a")), cache.lease("b", Opener("b")):
        assert cache.stats() == {
            "capacity": 1,
            "open": 2,
            "leased": 2,
            "opening": 0,
            "closing": 0,
            "hits": 1,
            "misses": 2,
            "opened": 2,
            "open_failures": 0,
            "evictions": 0,
            "closed": 0,
            "close_failures": 0,
        }
    assert cache.stats()["evictions"] == 1
    assert cache.stats()["closed"] == 1


def open_files(folder: Path) -> list[Path]:
    targets = []
    for descriptor in Path("/proc/self/fd").iterdir():
        try:
            targets.append(descriptor.readlink())
        except FileNotFoundError:  # the descriptor of the listing itself
            continue
    return [target for target in targets if target.is_relative_to(folder)]


@pytest.mark.skipif(sys.platform != "linux", reason="descriptors are counted in /proc, which only Linux has")
async def test_200_sqlite_tenants_rotate_through_ten_engines_and_leave_no_descriptor(tmp_path):
    capacity, concurrency = 10, 20
    engines: set[AsyncEngine] = set()
    peak = 0

    class SqliteProfile:
        def __init__(self, key: str) -> None:
            nonlocal peak
            self.engine = create_async_engine(f"sqlite+aiosqlite:///{tmp_path / key}.db")
            engines.add(self.engine)
            peak = max(peak, len(engines))

        async def close(self) -> None:
            await self.engine.dispose()
            engines.remove(self.engine)

    cache = ProfileCache[SqliteProfile](capacity)
    slots = asyncio.Semaphore(concurrency)

    async def request(key: str) -> int:
        async def opener() -> SqliteProfile:
            return SqliteProfile(key)

        async with slots, cache.lease(key, opener) as profile, profile.engine.connect() as connection:
            return await connection.scalar(text("SELECT 1"))

    keys = [f"t{number}" for number in range(200)] * 2
    random.Random(1).shuffle(keys)
    assert set(await asyncio.gather(*map(request, keys))) == {1}
    assert capacity <= peak <= capacity + concurrency
    assert len(engines) == capacity
    await cache.aclose()
    assert not engines
    assert not open_files(tmp_path)
