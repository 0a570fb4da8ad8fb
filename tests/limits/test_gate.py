"""Requests pass the gate as far as their tenant's limit goes; the others are answered."""

import asyncio
from dataclasses import replace

import pytest
from traffic import Clock, Request, Traffic, a_tenant, settled

from fastapi_tenancy import Limit, TenantLimits

ACME, GLOBEX = a_tenant("acme"), a_tenant("globex")
ONE = Limit(concurrency=1, queue=1)


async def test_without_a_tenant_there_is_no_limit() -> None:
    traffic = Traffic(Limit(rate="1/minute", concurrency=1, queue=0))
    requests = [await traffic.arrives(None) for _ in range(3)]
    assert all(request.serving for request in requests)
    for request in requests:
        await request.end()


async def test_a_request_that_meets_the_gate_twice_is_counted_once() -> None:
    traffic = Traffic(Limit(rate="1/minute", concurrency=1, queue=0))
    traffic._app = traffic.gate.around(traffic._app)
    assert (await traffic.is_over(ACME)).served
    assert (await traffic.is_over(ACME)).status == 429


async def test_the_lifespan_passes() -> None:
    seen = []

    async def app(scope, receive, send):
        seen.append(scope["type"])

    await Traffic(ONE, app)._app({"type": "lifespan"}, None, None)
    assert seen == ["lifespan"]


async def test_beyond_the_rate_the_answer_is_429_with_the_seconds_to_wait() -> None:
    clock = Clock()
    clock.now = 600.5
    traffic = Traffic(Limit(rate="2/minute"), clock=clock)
    assert [(await traffic.is_over(ACME)).served for _ in range(2)] == [True, True]
    refused = await traffic.is_over(ACME)
    assert (refused.served, refused.status, refused.retry_after) == (False, 429, 60)
    assert (await traffic.is_over(GLOBEX)).served
    clock.now += 60
    assert (await traffic.is_over(ACME)).served


async def test_a_rename_keeps_the_count() -> None:
    traffic = Traffic(Limit(rate="1/minute"))
    await traffic.is_over(ACME)
    assert (await traffic.is_over(replace(ACME, identifier="renamed"))).status == 429


async def test_more_requests_than_places_wait_and_the_queue_is_bounded() -> None:
    traffic = Traffic(ONE)
    served, waiting, refused = [await traffic.arrives(ACME) for _ in range(3)]
    assert (served.serving, waiting.serving, refused.status, refused.retry_after) == (True, False, 429, 2)
    await served.end()
    await settled()
    assert waiting.serving
    await waiting.end()


async def test_those_who_wait_are_served_in_the_order_in_which_they_came() -> None:
    traffic = Traffic(Limit(concurrency=1, queue=5))
    requests = [await traffic.arrives(ACME) for _ in range(5)]
    for number, request in enumerate(requests):
        assert [each.serving for each in requests[number:]] == [True] + [False] * (4 - number)
        await request.end()
        await settled()


async def test_a_place_is_held_until_the_application_returns_and_given_back_when_it_fails() -> None:
    async def streams_and_fails(scope, receive, send):
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await scope["request"].finish.wait()
        raise RuntimeError("the application failed")

    traffic = Traffic(Limit(concurrency=1, queue=0), streams_and_fails)
    streaming = await traffic.arrives(ACME)
    assert (await traffic.arrives(ACME)).status == 429
    await streaming.end()
    assert isinstance(streaming.task.exception(), RuntimeError)
    assert traffic.gate.stats()["running"] == 0


async def test_a_client_that_goes_while_it_waits_gives_up_its_place() -> None:
    traffic = Traffic(ONE)
    served, gone = [await traffic.arrives(ACME) for _ in range(2)]
    gone.hang_up()
    await asyncio.wait_for(gone.task, 1)
    assert (gone.status, traffic.gate.stats()["queued"]) == (None, 0)
    waiting = await traffic.arrives(ACME)
    await served.end()
    await settled()
    assert (waiting.serving, gone.served) == (True, False)
    await waiting.end()


async def test_a_cancelled_request_gives_up_its_place() -> None:
    traffic = Traffic(ONE)
    served, cancelled = [await traffic.arrives(ACME) for _ in range(2)]
    cancelled.task.cancel()
    await settled()
    assert traffic.gate.stats() == {"running": 1, "queued": 0, "refused_by_rate": 0, "refused_as_busy": 0}
    served.task.cancel()
    await settled()
    assert traffic.gate.stats()["running"] == 0


@pytest.mark.parametrize("sent_while_waiting", [0, 1, 2, 3])
async def test_what_a_client_sends_while_it_waits_reaches_the_application(sent_while_waiting: int) -> None:
    heard = []

    async def app(scope, receive, send):
        await scope["request"].finish.wait()
        while not heard or heard[-1]["type"] != "http.disconnect":
            heard.append(await receive())

    body = [{"type": "http.request", "body": bytes([n]), "more_body": n < 2} for n in range(3)]
    traffic = Traffic(ONE, app)
    served, waiting = [await traffic.arrives(ACME) for _ in range(2)]
    for message in body[:sent_while_waiting]:
        waiting.incoming.put_nowait(message)
        await settled()
    served.hang_up()
    await served.end()
    await settled()
    heard.clear()
    for message in body[sent_while_waiting:]:
        waiting.incoming.put_nowait(message)
    waiting.hang_up()
    await waiting.end()
    assert heard == [*body, {"type": "http.disconnect"}]


async def test_a_body_is_not_read_without_end_while_its_request_waits() -> None:
    traffic = Traffic(ONE)
    served, waiting = [await traffic.arrives(ACME) for _ in range(2)]
    for _ in range(10):
        waiting.incoming.put_nowait({"type": "http.request", "body": bytes(20_000), "more_body": True})
        await settled()
    assert waiting.incoming.qsize() == 6
    await served.end()
    await waiting.end()
    assert waiting.served


async def test_an_application_may_stop_listening_and_listen_again() -> None:
    heard = []

    async def app(scope, receive, send):
        await scope["request"].finish.wait()
        for _ in range(2):
            try:
                heard.append(await asyncio.wait_for(receive(), 0.001))
            except TimeoutError:
                heard.append(None)
                scope["request"].hang_up()

    traffic = Traffic(ONE, app)
    served, waiting = [await traffic.arrives(ACME) for _ in range(2)]
    await served.end()
    heard.clear()
    await waiting.end()
    assert heard == [None, {"type": "http.disconnect"}]


async def test_websockets_are_counted_by_the_rate_and_take_no_place() -> None:
    traffic = Traffic(Limit(rate="2/minute", concurrency=1, queue=0))
    first, second, third = [await traffic.arrives(ACME, kind="websocket") for _ in range(3)]
    assert (first.serving, second.serving, third.status) == (True, True, 429)
    assert traffic.gate.stats()["running"] == 0
    await first.end()
    await second.end()


@pytest.mark.parametrize(
    ("path", "long"), [("/events", True), ("/events/7", True), ("/eventsource", False), ("/app/events", False)]
)
async def test_streams_are_counted_by_the_rate_and_take_no_place(path: str, long: bool) -> None:
    limit = Limit(rate="2/minute", concurrency=1, queue=0)
    traffic = Traffic(TenantLimits({}, default=limit, streams=["/events/"]))
    requests = [await traffic.arrives(ACME, path) for _ in range(3)]
    assert [request.serving for request in requests] == [True, long, False]
    for request in requests:
        await request.end()


async def test_a_change_of_plan_holds_for_the_next_request() -> None:
    traffic = Traffic(TenantLimits({"pro": Limit(concurrency=3)}, default=ONE))
    served, waiting = [await traffic.arrives(ACME) for _ in range(2)]
    upgraded = await traffic.arrives(replace(ACME, settings={"plan": "pro"}))
    assert all(request.serving for request in (served, waiting, upgraded))
    for request in (served, waiting, upgraded):
        await request.end()


async def test_what_the_gate_did_shows_in_plain_numbers() -> None:
    traffic = Traffic(Limit(rate="3/minute", concurrency=1, queue=1))
    requests = [await traffic.arrives(ACME) for _ in range(5)]
    assert traffic.gate.stats() == {"running": 1, "queued": 1, "refused_by_rate": 2, "refused_as_busy": 1}
    for request in requests:
        await request.end()


@pytest.mark.parametrize("bulkhead", [True, False])
async def test_a_noisy_tenant_cannot_take_all_of_what_tenants_share(bulkhead: bool) -> None:
    connections = asyncio.Semaphore(4)

    async def app(scope, receive, send):
        async with connections:
            request: Request = scope["request"]
            request.serving = True
            await request.finish.wait()
        request.served = True

    traffic = Traffic(Limit(concurrency=2 if bulkhead else None), app)
    noisy = [await traffic.arrives(ACME) for _ in range(40)]
    quiet = await traffic.arrives(GLOBEX)
    assert sum(request.serving for request in noisy) == (2 if bulkhead else 4)
    assert quiet.serving is bulkhead
    for request in (quiet, *noisy):
        request.finish.set()
    await asyncio.gather(*(request.task for request in (quiet, *noisy)))
