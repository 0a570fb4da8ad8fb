"""The reverse proxy asks for which hosts it may get certificates, and not too often."""

from collections.abc import AsyncIterator
from inspect import signature

import httpx2 as httpx
import pytest
from fastapi import FastAPI
from support import client_of

from fastapi_tenancy import ConfigurationError, Tenancy, ask_router


def client_with(tenancy: Tenancy, **given) -> httpx.AsyncClient:
    app = FastAPI()
    app.include_router(ask_router(tenancy, **given))
    return client_of(app)


@pytest.fixture
async def client(tenancy: Tenancy) -> AsyncIterator[httpx.AsyncClient]:
    async with client_with(tenancy, rate="1000/hour") as client:
        yield client


async def ask(client: httpx.AsyncClient, host: str) -> int:
    return (await client.get("/ask", params={"domain": host})).status_code


async def test_it_may_get_one_for_verified_hosts_only(client: httpx.AsyncClient, tenancy: Tenancy) -> None:
    await tenancy.domains.add("globex", "globex.com")
    hosts = ["acme.com", "ACME.com.", "globex.com", "other.com", "127.0.0.1", "", "nonsense", "x" * 3000, "\x00"]
    assert [await ask(client, host) for host in hosts] == [200, 200, 404, 404, 404, 404, 404, 404, 404]
    assert (await client.get("/ask")).status_code == 422


async def test_it_gets_none_for_a_tenant_that_is_not_served(client: httpx.AsyncClient, tenancy: Tenancy) -> None:
    await tenancy.suspend_tenant("acme")
    assert await ask(client, "acme.com") == 404
    await tenancy.activate_tenant("acme")
    assert await ask(client, "acme.com") == 200
    await tenancy.delete_tenant("acme")
    assert await ask(client, "acme.com") == 404


async def test_it_is_answered_from_memory(client: httpx.AsyncClient, tenancy: Tenancy) -> None:
    for host in ("acme.com", "other.com"):
        await ask(client, host)
    before = tenancy.stats()["domains"]
    for host in ("acme.com", "other.com"):
        await ask(client, host)
    assert tenancy.stats()["domains"] == before


async def test_hosts_of_strangers_are_remembered_boundedly(client: httpx.AsyncClient, tenancy: Tenancy) -> None:
    for number in range(50):
        await ask(client, f"h{number}.com")
    assert tenancy.stats()["domains"]["unknown"] == 10


async def test_more_than_the_rate_is_a_429_that_says_how_long_to_wait(tenancy: Tenancy) -> None:
    async with client_with(tenancy, rate="3/hour") as client:
        assert [await ask(client, f"h{number}.com") for number in range(5)] == [404, 404, 404, 429, 429]
        answer = await client.get("/ask", params={"domain": "h9.com"})
    assert answer.json() == {"detail": "Too many questions."}
    assert 3000 <= int(answer.headers["Retry-After"]) <= 3600


async def test_what_is_over_the_rate_asks_no_store(tenancy: Tenancy) -> None:
    async with client_with(tenancy, rate="1/hour") as client:
        await ask(client, "h0.com")
        before = tenancy.stats()["domains"]
        assert await ask(client, "h1.com") == 429
    assert tenancy.stats()["domains"] == before


async def test_strangers_do_not_use_up_the_rate_of_hosts_that_are_known(tenancy: Tenancy) -> None:
    async with client_with(tenancy, rate="2/hour") as client:
        assert await ask(client, "acme.com") == 200  # not known yet
        assert [await ask(client, f"h{number}.com") for number in range(3)] == [404, 429, 429]
        assert [await ask(client, "acme.com") for _ in range(3)] == [200, 200, 429]


async def test_without_a_rate_every_question_is_answered(tenancy: Tenancy) -> None:
    async with client_with(tenancy, rate=None) as client:
        assert {await ask(client, f"h{number}.com") for number in range(50)} == {404}


async def test_two_rates_hold_both(tenancy: Tenancy) -> None:
    async with client_with(tenancy, rate="10/hour; 3/day") as client:
        assert [await ask(client, f"h{number}.com") for number in range(5)] == [404, 404, 404, 429, 429]


def test_the_rate_is_20_a_second_unless_it_is_given() -> None:
    assert signature(ask_router).parameters["rate"].default == "20/second"


@pytest.mark.parametrize("rate", ["", "often", "20", "20/blink", "-1/second"])
async def test_what_is_no_rate_is_refused(tenancy: Tenancy, rate: str) -> None:
    with pytest.raises(ConfigurationError, match="'20/second'"):
        ask_router(tenancy, rate=rate)
