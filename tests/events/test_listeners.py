"""Who listens hears of what was done, in order, and cannot harm it; who has a veto is asked before."""

import asyncio
import logging
import threading
from datetime import UTC, datetime

import pytest

from fastapi_tenancy import ConfigurationError, EventKind, TenancyEvent, TenantExistsError, VetoedError, current_actor
from fastapi_tenancy.audit import acting_as
from fastapi_tenancy.events import UNSTOPPABLE, Events
from fastapi_tenancy.testing import tenant_named


def event_of(kind: EventKind = EventKind.CREATED) -> TenancyEvent:
    return TenancyEvent(kind=kind, tenant=tenant_named("acme"), at=datetime.now(UTC))


async def test_listeners_are_called_in_the_order_in_which_they_were_registered() -> None:
    events, heard = Events(), []

    @events.on("created")
    async def slow(event: TenancyEvent) -> None:
        await asyncio.sleep(0)
        heard.append("slow")

    @events.on("deleted")
    async def elsewhere(event: TenancyEvent) -> None:
        heard.append("elsewhere")

    @events.on("created", "deleted")
    def quick(event: TenancyEvent) -> None:
        heard.append("quick")

    await events.tell([event_of()])
    assert heard == ["slow", "quick"]


async def test_a_sync_listener_runs_in_a_thread_as_the_same_actor() -> None:
    events, heard = Events(), []
    events.on("created")(lambda event: heard.append((threading.current_thread(), current_actor())))
    with acting_as("ada"):
        await events.tell([event_of()])
    [(thread, actor)] = heard
    assert thread is not threading.main_thread()
    assert actor == "ada"


async def test_an_object_with_an_async_call_is_a_listener() -> None:
    class Listener:
        heard = 0

        async def __call__(self, event: TenancyEvent) -> None:
            self.heard += 1

    events, listener = Events(), Listener()
    events.on("created")(listener)
    await events.tell([event_of()])
    assert listener.heard == 1


@pytest.mark.parametrize("failure", [RuntimeError("no"), asyncio.CancelledError(), TimeoutError()])
async def test_a_failing_listener_is_logged_and_harms_no_other(
    failure: BaseException, caplog: pytest.LogCaptureFixture
) -> None:
    events, heard = Events(), []

    @events.on("created")
    async def fails(event: TenancyEvent) -> None:
        raise failure

    events.on("created")(heard.append)
    await events.tell([event_of()])
    assert len(heard) == 1
    [record] = caplog.records
    assert (record.message, record.event) == ("listener failed", "created")
    assert record.listener.endswith("fails")


async def test_a_listener_that_hangs_is_left_after_its_time() -> None:
    events, heard = Events(), []

    @events.on("created", timeout=0.001)
    async def hangs(event: TenancyEvent) -> None:
        while True:  # and pays no heed to its cancellation
            try:
                await asyncio.sleep(60)
            except asyncio.CancelledError:
                heard.append("cancelled")
                await released.wait()
                return

    released = asyncio.Event()
    events.on("created")(lambda _: heard.append("next"))
    await events.tell([event_of()])
    assert heard == ["cancelled", "next"]
    released.set()


async def test_a_thread_that_hangs_is_left_after_its_time() -> None:
    events, released = Events(), threading.Event()
    events.on("created", timeout=0.001)(lambda _: released.wait())
    await events.tell([event_of()])
    released.set()


async def test_all_hear_of_it_when_the_caller_is_cancelled() -> None:
    events, heard, begun, go_on = Events(), [], asyncio.Event(), asyncio.Event()

    @events.on("created")
    async def first(event: TenancyEvent) -> None:
        begun.set()
        await go_on.wait()
        heard.append("first")

    events.on("created")(lambda _: heard.append("second"))
    caller = asyncio.create_task(events.tell([event_of()]))
    await begun.wait()
    caller.cancel()
    with pytest.raises(asyncio.CancelledError):
        await caller
    go_on.set()
    await events.aclose(60)
    assert heard == ["first", "second"]


async def test_the_end_does_not_wait_for_ever(caplog: pytest.LogCaptureFixture) -> None:
    events, begun = Events(), asyncio.Event()

    @events.on("created")
    async def hangs(event: TenancyEvent) -> None:
        begun.set()
        await asyncio.Event().wait()

    telling = asyncio.create_task(events.tell([event_of()]))
    await begun.wait()
    with caplog.at_level(logging.WARNING):
        await events.aclose(0.001)
    with pytest.raises(asyncio.CancelledError):
        await telling
    assert "listeners were not waited for" in caplog.messages


async def test_a_veto_stops_the_act_and_those_behind_it_are_not_asked() -> None:
    events, asked = Events(), []

    @events.on("created", veto=True)
    async def against(event: TenancyEvent) -> None:
        raise RuntimeError("the secret reason")

    events.on("created", veto=True)(asked.append)
    with pytest.raises(VetoedError, match="the secret reason") as raised:
        await events.ask([event_of()])
    assert (raised.value.status_code, raised.value.detail) == (409, "The act was refused.")
    assert asked == []


async def test_a_veto_that_is_an_answer_is_read_by_the_client() -> None:
    events = Events()

    @events.on("created", veto=True)
    def against(event: TenancyEvent) -> None:
        raise TenantExistsError("for the log", detail="There are open invoices.")

    with pytest.raises(VetoedError) as raised:
        await events.ask([event_of()])
    assert raised.value.detail == "There are open invoices."


async def test_a_veto_that_does_not_come_in_time_is_a_veto() -> None:
    events = Events()
    events.on("created", veto=True, timeout=0.001)(lambda _: asyncio.sleep(60))
    with pytest.raises(VetoedError, match=r"0\.001 s"):
        await events.ask([event_of()])


async def test_listeners_with_a_veto_are_asked_and_not_told() -> None:
    events, called = Events(), []
    events.on("created", veto=True)(lambda _: called.append("veto"))
    events.on("created")(lambda _: called.append("told"))
    await events.ask([event_of()])
    await events.tell([event_of()])
    assert called == ["veto", "told"]


@pytest.mark.parametrize("kinds", [("creation",), (), ("created", print)])
def test_what_can_be_listened_to_is_checked(kinds) -> None:
    with pytest.raises(ConfigurationError, match="provisioned, created, updated"):
        Events().on(*kinds)


@pytest.mark.parametrize("kind", sorted(UNSTOPPABLE))
def test_what_cannot_be_stopped_takes_no_veto(kind: EventKind) -> None:
    with pytest.raises(ConfigurationError, match=kind):
        Events().on(kind, veto=True)


async def test_what_is_told_soon_is_told_in_order() -> None:
    events, heard = Events(), []

    @events.on("profile_opened")
    async def slow(event: TenancyEvent) -> None:
        await asyncio.sleep(0)
        heard.append(event.kind)

    events.on("profile_closed")(lambda event: heard.append(event.kind))
    for _ in range(2):
        events.tell_soon(event_of(EventKind.PROFILE_OPENED))
        events.tell_soon(event_of(EventKind.PROFILE_CLOSED))
    assert heard == []
    await events.aclose(60)
    assert heard == ["profile_opened", "profile_closed"] * 2


def test_details_cannot_be_changed() -> None:
    with pytest.raises(TypeError):
        event_of().details["more"] = 1  # type: ignore[index]  # that is the point
