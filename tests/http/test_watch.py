"""What lasts ends when its tenant is no longer active, and is left in peace otherwise."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.requests import HTTPConnection
from starlette.websockets import WebSocket
from support import make_tenancy

from fastapi_tenancy import (
    ConfigurationError,
    InMemoryTenantStore,
    StoreUnavailableError,
    Tenancy,
    TenancySettings,
    Tenant,
    TenantConflictError,
    TenantNotSpecifiedError,
    TenantStatus,
    TenantUnavailableError,
    closed_when_inactive,
    while_active,
)
from fastapi_tenancy.directory import TenantDirectory
from fastapi_tenancy.testing import tenant_named
from fastapi_tenancy.watch import TenantWatch

INTERVAL = 60.0

PATIENCE = 10  # seconds, for what would wait for ever if it were wrong

SUSPENDED = {"type": "websocket.close", "code": 1008, "reason": "The tenant is suspended."}
UNKNOWN = {"type": "websocket.close", "code": 1008, "reason": "Unknown tenant."}


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


class Store(InMemoryTenantStore):
    """Counts its readers by id, and fails while it is `down`."""

    def __init__(self) -> None:
        super().__init__()
        self.reads = self.reading = self.at_once = 0
        self.down = False

    async def get(self, tenant_id: str) -> Tenant | None:
        self.reads += 1
        self.reading += 1
        self.at_once = max(self.at_once, self.reading)
        await asyncio.sleep(0)
        self.reading -= 1
        if self.down:
            raise OSError("the store is down")
        return await super().get(tenant_id)


class Client:
    """The other end of a WebSocket, which the application has accepted, or of a request."""

    def __init__(self, tenancy: Tenancy, tenant: Tenant | None) -> None:
        state = {"tenancy": tenancy, "tenant": tenant}
        self.sent: list[dict[str, Any]] = []
        self.gone = False
        self._says: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self._says.put_nowait({"type": "websocket.connect"})
        self.websocket = WebSocket({"type": "websocket", "headers": [], "state": state}, self._says.get, self._hear)
        self.request = HTTPConnection({"type": "http", "headers": [], "state": state})

    async def _hear(self, message: dict[str, Any]) -> None:
        if self.gone:
            raise OSError("the client is gone")
        self.sent.append(message)

    def say(self, text: str) -> None:
        self._says.put_nowait({"type": "websocket.receive", "text": text})

    async def echo(self) -> None:
        await self.websocket.accept()
        async with closed_when_inactive(self.websocket):
            async for text in self.websocket.iter_text():
                await self.websocket.send_text(text)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def store() -> Store:
    return Store()


@pytest.fixture
async def tenancy(tmp_path: Path, store: Store, clock: Clock) -> AsyncIterator[Tenancy]:
    async with make_tenancy(tmp_path, store=store, clock=clock, watch_interval=INTERVAL) as tenancy:
        await tenancy.create_tenant("acme")
        yield tenancy


@pytest.fixture
async def client(tenancy: Tenancy) -> Client:
    return Client(tenancy, await tenancy.directory.find("acme"))


async def settle() -> None:
    """Let every task do what it can."""
    for _ in range(20):
        await asyncio.sleep(0)


@asynccontextmanager
async def started(coroutine: Any) -> AsyncIterator[asyncio.Task[Any]]:
    """A task that waits for what comes, and is cancelled if it still does in the end."""
    task = asyncio.create_task(coroutine)
    await settle()
    try:
        async with asyncio.timeout(PATIENCE):
            yield task
    finally:
        task.cancel()
        await asyncio.wait((task,))


async def written_elsewhere(store: Store, **changes: Any) -> None:
    """What another process does to acme."""
    before = await store.get_by_identifier("acme")
    await store.save(replace(before, **changes))


async def test_a_websocket_of_a_suspended_tenant_is_closed(tenancy: Tenancy, client: Client) -> None:
    async with started(client.echo()) as task:
        client.say("hello")
        await settle()
        await tenancy.suspend_tenant("acme")
        await task
    assert client.sent[1:] == [{"type": "websocket.send", "text": "hello"}, SUSPENDED]


@pytest.mark.parametrize("drop_data", [False, True])
async def test_a_websocket_of_a_deleted_tenant_is_closed(tenancy: Tenancy, client: Client, drop_data: bool) -> None:
    async with started(client.echo()) as task:
        await tenancy.delete_tenant("acme", drop_data=drop_data)
        await task
    assert client.sent[-1] == UNKNOWN


async def test_where_inactive_tenants_are_hidden_the_reason_is_that_of_an_unknown_one(
    tmp_path: Path, store: Store
) -> None:
    async with make_tenancy(tmp_path, store=store, reveal_inactive=False) as tenancy:
        client = Client(tenancy, await tenancy.create_tenant("acme"))
        async with started(client.echo()) as task:
            await tenancy.suspend_tenant("acme")
            await task
    assert client.sent[-1] == UNKNOWN


async def test_a_websocket_that_was_not_accepted_yet_is_refused(tenancy: Tenancy, client: Client) -> None:
    async def hesitate() -> None:
        async with closed_when_inactive(client.websocket):
            await asyncio.Event().wait()

    async with started(hesitate()) as task:
        await tenancy.suspend_tenant("acme")
        await task
    assert client.sent == [SUSPENDED]


CHANGES: dict[str, Callable[[Tenancy], Awaitable[Any]]] = {
    "renamed": lambda tenancy: tenancy.update_tenant("acme", identifier="acme-inc"),
    "called otherwise": lambda tenancy: tenancy.update_tenant("acme", name="Acme Inc"),
    "settings changed": lambda tenancy: tenancy.update_tenant("acme", settings={"plan": "pro"}),
    "another suspended": lambda tenancy: tenancy.suspend_tenant("globex"),
    "everything forgotten": lambda tenancy: tenancy.directory.forget_all(),
}


@pytest.mark.parametrize("change", CHANGES)
async def test_a_tenant_that_stays_active_goes_on(tenancy: Tenancy, client: Client, change: str) -> None:
    await tenancy.create_tenant("globex")
    async with started(client.echo()) as task:
        await CHANGES[change](tenancy)
        await settle()
        assert not task.done()


async def test_a_change_that_was_refused_ends_nothing(tenancy: Tenancy, client: Client) -> None:
    acme = await tenancy.get_tenant("acme")
    suspended = replace(acme, status=TenantStatus.SUSPENDED, version=acme.version + 7)
    async with started(client.echo()) as task:
        with pytest.raises(TenantConflictError):
            await tenancy.directory.change(acme, suspended)
        await settle()
        assert not task.done()


async def test_what_begins_after_the_tenant_was_suspended_ends_at_once(tenancy: Tenancy, client: Client) -> None:
    await tenancy.suspend_tenant("acme")
    async with started(client.echo()) as task:
        await task
    assert client.sent[-1] == SUSPENDED


async def test_a_suspension_by_another_process_is_seen_after_the_interval(
    tenancy: Tenancy, client: Client, store: Store, clock: Clock
) -> None:
    async with started(client.echo()) as task:
        await written_elsewhere(store, status=TenantStatus.SUSPENDED)
        clock.now += INTERVAL - 1
        await tenancy.watch.look()
        await settle()
        assert not task.done()
        clock.now += 1
        await tenancy.watch.look()
        await task
    assert client.sent[-1] == SUSPENDED


async def test_who_connects_again_after_that_is_refused(
    tenancy: Tenancy, client: Client, store: Store, clock: Clock
) -> None:
    async with started(client.echo()) as task:
        clock.now += INTERVAL / 2
        await tenancy.directory.forget_all()
        await tenancy.directory.find("acme")  # so it is remembered for longer than the watch takes
        await written_elsewhere(store, status=TenantStatus.SUSPENDED)
        clock.now += INTERVAL / 2
        await tenancy.watch.look()
        await task
    assert not (await tenancy.directory.find("acme")).is_active


async def test_a_deletion_by_another_process_is_seen_too(
    tenancy: Tenancy, client: Client, store: Store, clock: Clock
) -> None:
    async with started(client.echo()) as task:
        await store.remove(await store.get_by_identifier("acme"), keep_namespace=True)
        clock.now += INTERVAL
        await tenancy.watch.look()
        await task
    assert client.sent[-1] == UNKNOWN


async def test_nobody_has_to_look_by_hand(tmp_path: Path, store: Store) -> None:
    async with make_tenancy(tmp_path, store=store, watch_interval=0.01) as tenancy:
        await tenancy.create_tenant("acme")
        client = Client(tenancy, await tenancy.directory.find("acme"))
        async with started(client.echo()) as task:
            await written_elsewhere(store, status=TenantStatus.SUSPENDED)
            await task


async def test_while_the_store_is_down_all_go_on(tenancy: Tenancy, client: Client, store: Store, clock: Clock) -> None:
    async with started(client.echo()) as task:
        await written_elsewhere(store, status=TenantStatus.SUSPENDED)
        store.down = True
        clock.now += INTERVAL
        await tenancy.watch.look()
        await settle()
        assert not task.done()
        store.down = False
        clock.now += INTERVAL
        await tenancy.watch.look()
        await task


async def test_a_tenant_known_to_be_suspended_does_not_go_on_while_the_store_is_down(
    tenancy: Tenancy, client: Client, store: Store
) -> None:
    async with started(client.echo()) as task:
        store.down = True
        await tenancy.suspend_tenant("acme")
        await task
    assert client.sent[-1] == SUSPENDED


async def test_a_store_with_an_error_of_its_own_does_not_end_the_watch(
    tenancy: Tenancy, client: Client, store: Store, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def broken(tenant_id: str) -> None:
        raise LookupError("a bug")

    async with started(client.echo()) as task:
        with monkeypatch.context() as patch:
            patch.setattr(store, "get", broken)
            clock.now += INTERVAL
            await tenancy.watch.look()
        await tenancy.suspend_tenant("acme")
        await task


async def test_many_watchers_of_a_tenant_cost_one_read(tenancy: Tenancy, store: Store, clock: Clock) -> None:
    acme = await tenancy.directory.find("acme")
    clients = [Client(tenancy, acme) for _ in range(500)]
    async with asyncio.TaskGroup() as tasks:
        for client in clients:
            tasks.create_task(client.echo())
        await settle()
        assert tenancy.stats()["watched"] == {"tenants": 1, "watchers": 500}
        before = store.reads
        clock.now += INTERVAL
        await tenancy.watch.look()
        assert store.reads - before == 1
        await tenancy.suspend_tenant("acme")
    assert {client.sent[-1]["code"] for client in clients} == {1008}
    assert tenancy.stats()["watched"] == {"tenants": 0, "watchers": 0}


def watch_of(store: Store, clock: Clock) -> tuple[TenantWatch, TenantDirectory]:
    settings = TenancySettings(database_url="sqlite://", watch_interval=INTERVAL)
    directory = TenantDirectory(store, settings, clock)
    return TenantWatch(directory, store, settings, clock), directory


async def test_many_tenants_are_read_once_each_and_one_after_the_other(store: Store, clock: Clock) -> None:
    watch, directory = watch_of(store, clock)
    tenants = [tenant_named(f"t{number}", status=TenantStatus.ACTIVE) for number in range(300)]
    async with watch.running(), asyncio.TaskGroup() as tasks:
        blocks = []
        for tenant in tenants:
            await store.add(tenant)
            await directory.find(tenant.identifier)
            blocks.append(watch.watching(tenant))
            blocks[-1].__enter__()
        await settle()
        assert store.reads == 0
        clock.now += INTERVAL
        tasks.create_task(watch.look())
    assert (store.reads, store.at_once) == (300, 1)
    for block in blocks:
        block.__exit__(None, None, None)
    assert watch.stats() == {"tenants": 0, "watchers": 0}


async def test_nothing_is_read_for_those_that_left(
    tenancy: Tenancy, client: Client, store: Store, clock: Clock
) -> None:
    async with started(client.echo()):
        pass
    before = store.reads
    clock.now += 10 * INTERVAL
    await tenancy.watch.look()
    assert store.reads == before


async def test_a_cancelled_block_stays_cancelled_and_leaves_nothing(tenancy: Tenancy, client: Client) -> None:
    tasks = asyncio.all_tasks()
    async with started(client.echo()) as task:
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    await tenancy.suspend_tenant("acme")
    assert [message["type"] for message in client.sent] == ["websocket.accept"]
    assert tenancy.stats()["watched"] == {"tenants": 0, "watchers": 0}
    assert asyncio.all_tasks() == tasks


@pytest.mark.parametrize("first", ["ended", "cancelled"])
async def test_a_block_that_is_ended_and_cancelled_at_once_is_cancelled(
    tenancy: Tenancy, client: Client, first: str
) -> None:
    acme = client.request.state.tenant
    order = [lambda task: tenancy.watch._end(acme.id, None), lambda task: task.cancel()]
    async with started(client.echo()) as task:
        for act in order if first == "ended" else reversed(order):
            act(task)
        with pytest.raises(asyncio.CancelledError):
            await task


async def test_an_exception_in_the_block_stays_what_it_is(tenancy: Tenancy, client: Client) -> None:
    await client.websocket.accept()
    with pytest.raises(LookupError):
        async with closed_when_inactive(client.websocket):
            raise LookupError
    assert tenancy.stats()["watched"]["watchers"] == 0


async def test_so_does_one_that_is_raised_as_the_block_is_cut_short(tenancy: Tenancy, client: Client) -> None:
    counts: list[int] = []

    async def fails_in_the_end() -> None:
        try:
            async with closed_when_inactive(client.websocket):
                try:
                    await asyncio.Event().wait()
                finally:
                    raise LookupError
        finally:
            counts.append(asyncio.current_task().cancelling())

    async with started(fails_in_the_end()) as task:
        await tenancy.suspend_tenant("acme")
        with pytest.raises(LookupError):
            await task
    assert counts == [0]


async def test_a_block_that_hides_its_cancellation_is_closed_as_well(tenancy: Tenancy, client: Client) -> None:
    async def stubborn() -> None:
        async with closed_when_inactive(client.websocket):
            with suppress(asyncio.CancelledError):
                await asyncio.Event().wait()

    async with started(stubborn()) as task:
        await tenancy.suspend_tenant("acme")
        await task
    assert client.sent == [SUSPENDED]


async def test_a_block_that_closes_the_websocket_itself_is_left_alone(tenancy: Tenancy, client: Client) -> None:
    async def polite() -> None:
        await client.websocket.accept()
        async with closed_when_inactive(client.websocket):
            try:
                await asyncio.Event().wait()
            finally:
                await client.websocket.close(4000)

    async with started(polite()) as task:
        await tenancy.suspend_tenant("acme")
        await task
    assert [message.get("code") for message in client.sent] == [None, 4000]


async def test_a_block_is_cut_short_only_once(tenancy: Tenancy, client: Client) -> None:
    tidied = asyncio.Event()

    async def tidies_up() -> str:
        async with closed_when_inactive(client.websocket):
            try:
                await asyncio.Event().wait()
            finally:
                await tidied.wait()
        return "in peace"

    async with started(tidies_up()) as task:
        await tenancy.suspend_tenant("acme")
        await tenancy.delete_tenant("acme")
        await settle()
        tidied.set()
        assert await task == "in peace"


async def test_the_task_can_go_on_after_the_block(tenancy: Tenancy, client: Client) -> None:
    async def goes_on() -> str:
        async with asyncio.timeout(60):
            await client.echo()
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0):
                await asyncio.Event().wait()
        await asyncio.sleep(0)
        return f"cancelled {asyncio.current_task().cancelling()} times"

    async with started(goes_on()) as task:
        await tenancy.suspend_tenant("acme")
        assert await task == "cancelled 0 times"


@pytest.mark.parametrize("inside", [False, True])
async def test_a_time_out_in_or_around_the_block_is_a_time_out(client: Client, inside: bool) -> None:
    async def waits(seconds: float | None) -> None:
        async with asyncio.timeout(seconds):
            await asyncio.Event().wait()

    with pytest.raises(TimeoutError):
        async with asyncio.timeout(None if inside else 0), closed_when_inactive(client.websocket):
            await waits(0 if inside else None)


async def test_a_client_that_left_meanwhile_is_no_error(tenancy: Tenancy, client: Client) -> None:
    async with started(client.echo()) as task:
        client.gone = True
        await tenancy.suspend_tenant("acme")
        await task


class Feed:
    """A stream of items, which come when they are told to."""

    def __init__(self) -> None:
        self.items: asyncio.Queue[str | Exception | None] = asyncio.Queue()
        self.closed = 0

    async def __call__(self) -> AsyncIterator[str]:
        try:
            while (item := await self.items.get()) is not None:
                if isinstance(item, Exception):
                    raise item
                yield item
        finally:
            self.closed += 1


@pytest.fixture
def feed() -> Feed:
    return Feed()


async def collect(stream: AsyncIterator[str], into: list[str]) -> None:
    async for item in stream:
        into.append(item)  # noqa: PERF401 - what came before the end counts


async def test_a_stream_of_a_suspended_tenant_ends_and_its_source_is_closed(
    tenancy: Tenancy, client: Client, feed: Feed
) -> None:
    got: list[str] = []
    async with started(collect(while_active(client.request, feed()), got)) as task:
        feed.items.put_nowait("one")
        await settle()
        await tenancy.suspend_tenant("acme")
        await task
    assert (got, feed.closed) == (["one"], 1)
    assert tenancy.stats()["watched"] == {"tenants": 0, "watchers": 0}


async def test_who_takes_the_items_is_not_cancelled(tenancy: Tenancy, client: Client, feed: Feed) -> None:
    got: list[str] = []
    sent = asyncio.Event()

    async def slowly() -> None:
        async for item in while_active(client.request, feed()):
            await sent.wait()
            got.append(item)

    feed.items.put_nowait("one")
    feed.items.put_nowait("two")
    async with started(slowly()) as task:
        await tenancy.suspend_tenant("acme")
        await settle()
        sent.set()
        await task
    assert (got, feed.closed) == (["one"], 1)


async def test_a_stream_ends_with_its_source(tenancy: Tenancy, client: Client, feed: Feed) -> None:
    got: list[str] = []
    for item in ("one", "", None):
        feed.items.put_nowait(item)
    await collect(while_active(client.request, feed()), got)
    assert (got, feed.closed, tenancy.stats()["watched"]["watchers"]) == (["one", ""], 1, 0)


async def test_a_source_that_fails_fails_the_stream(tenancy: Tenancy, client: Client, feed: Feed) -> None:
    feed.items.put_nowait(LookupError("broken"))
    with pytest.raises(LookupError):
        await anext(while_active(client.request, feed()))
    assert tenancy.stats()["watched"]["watchers"] == 0


async def test_a_stream_that_is_closed_closes_its_source(tenancy: Tenancy, client: Client, feed: Feed) -> None:
    feed.items.put_nowait("one")
    stream = while_active(client.request, feed())
    await anext(stream)
    await stream.aclose()
    assert (feed.closed, tenancy.stats()["watched"]["watchers"]) == (1, 0)


async def test_a_cancelled_stream_stays_cancelled(tenancy: Tenancy, client: Client, feed: Feed) -> None:
    async with started(collect(while_active(client.request, feed()), [])) as task:
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    assert (feed.closed, tenancy.stats()["watched"]["watchers"]) == (1, 0)


async def test_a_stream_that_is_thrown_away_is_no_longer_watched(tenancy: Tenancy, client: Client, feed: Feed) -> None:
    feed.items.put_nowait("one")
    stream = while_active(client.request, feed())
    await anext(stream)
    del stream
    await settle()
    assert (feed.closed, tenancy.stats()["watched"]["watchers"]) == (1, 0)


async def test_what_a_stubborn_source_yields_in_the_end_is_dropped(tenancy: Tenancy, client: Client) -> None:
    async def stubborn() -> AsyncIterator[str]:
        with suppress(asyncio.CancelledError):
            await asyncio.Event().wait()
        yield "too late"

    got: list[str] = []
    async with started(collect(while_active(client.request, stubborn()), got)) as task:
        await tenancy.suspend_tenant("acme")
        await task
    assert got == []


async def test_any_asynchronous_iterable_is_a_source(tenancy: Tenancy, client: Client) -> None:
    class Countdown:
        left = 3

        def __aiter__(self):
            return self

        async def __anext__(self) -> int:
            if not self.left:
                raise StopAsyncIteration
            self.left -= 1
            return self.left

    assert [number async for number in while_active(client.request, Countdown())] == [2, 1, 0]


async def test_without_a_tenant_there_is_nothing_to_watch(tenancy: Tenancy, feed: Feed) -> None:
    nobody = Client(tenancy, None)
    with pytest.raises(TenantNotSpecifiedError):
        while_active(nobody.request, feed())
    with pytest.raises(TenantNotSpecifiedError):
        await nobody.echo()


def test_a_forgotten_middleware_is_said_plainly(feed: Feed) -> None:
    with pytest.raises(ConfigurationError, match="add_middleware"):
        while_active(HTTPConnection({"type": "http", "headers": []}), feed())


async def test_a_tenancy_that_is_closed_leaves_no_task(tmp_path: Path) -> None:
    before = asyncio.all_tasks()
    async with make_tenancy(tmp_path, profile_idle_timeout=None) as tenancy:
        await tenancy.create_tenant("acme")
        assert asyncio.all_tasks() > before
    assert asyncio.all_tasks() == before


async def test_a_tenancy_that_is_closed_watches_nobody(tmp_path: Path, feed: Feed) -> None:
    client = Client(make_tenancy(tmp_path), tenant_named("acme"))
    with pytest.raises(TenantUnavailableError):
        await client.echo()
    with pytest.raises(TenantUnavailableError):
        await anext(while_active(client.request, feed()))


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("here"), st.sampled_from(TenantStatus)),
        st.tuples(st.just("elsewhere"), st.sampled_from(TenantStatus)),
        st.tuples(st.just("store is down"), st.booleans()),
        st.tuples(st.just("time"), st.sampled_from([INTERVAL / 2, INTERVAL])),
    ),
    max_size=12,
)


@given(steps=STEPS)
def test_a_watcher_goes_on_while_it_may_and_ends_when_it_must(steps: list[tuple[str, Any]]) -> None:
    """It ends one interval after the store could say "inactive" at the latest, and never if that was never so."""

    async def story() -> None:
        store, clock = Store(), Clock()
        watch, directory = watch_of(store, clock)
        acme = tenant_named("acme", status=TenantStatus.ACTIVE)
        await store.add(acme)
        was_inactive, unseen = False, 0.0
        async with watch.running():
            await directory.find("acme")
            with watch.watching(acme) as watcher:
                for what, value in steps:
                    before = await InMemoryTenantStore.get(store, acme.id)
                    if what == "here":
                        with suppress(StoreUnavailableError):
                            await directory.change(before, replace(before, status=value))
                    elif what == "elsewhere":
                        await store.save(replace(before, status=value))
                    elif what == "store is down":
                        store.down = value
                    else:
                        clock.now += value
                    await watch.look()
                    now = await InMemoryTenantStore.get(store, acme.id)
                    was_inactive |= not now.is_active
                    unseen = 0.0 if now.is_active or store.down else unseen + (value if what == "time" else 0.0)
                    assert was_inactive or watcher.reason is None
                    assert not (what == "here" and not now.is_active) or watcher.reason is not None
                    assert unseen < INTERVAL or watcher.reason is not None

    asyncio.run(story())
