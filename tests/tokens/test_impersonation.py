"""A support person may be a tenant for some minutes: once, under their own name, and on the record."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import httpx2 as httpx
import pytest
from fastapi import FastAPI
from prepared_stores import new_store_database
from support import client_of, make_tenancy
from tokens.token_support import Time

from fastapi_tenancy import (
    ActorMissingError,
    CurrentTenant,
    CurrentToken,
    InvalidTokenError,
    Tenancy,
    TenancyMiddleware,
    TenantNotFoundError,
    TokenResolver,
    acting_as,
    require_scope,
)


def application(tenancy: Tenancy) -> FastAPI:
    app = FastAPI(lifespan=tenancy.lifespan)
    app.add_middleware(TenancyMiddleware, tenancy=tenancy)

    @app.get("/who")
    async def who(tenant: CurrentTenant, token: CurrentToken) -> list[str | None]:
        return [tenant.identifier, token.impersonated_by]

    @app.get("/notes", dependencies=[require_scope("notes:read")])
    async def notes() -> str:
        return "notes"

    return app


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


@pytest.fixture
async def client(tenancy: Tenancy) -> AsyncIterator[httpx.AsyncClient]:
    async with client_of(application(tenancy)) as client:
        yield client


async def impersonated(tenancy: Tenancy, **given) -> str:
    issued = await tenancy.impersonate("acme", actor="ada@example.com", reason="ticket 7", **given)
    return (await tenancy.redeem(issued.token)).token


async def test_requests_of_an_impersonation_know_who_is_behind_it(tenancy: Tenancy, client) -> None:
    answer = await client.get("/who", headers=bearer(await impersonated(tenancy)))
    assert answer.json() == ["acme", "ada@example.com"]


async def test_a_token_of_the_tenant_is_nobodys_impersonation(tenancy: Tenancy, client) -> None:
    issued = await tenancy.tokens.create("acme", name="import")
    assert (await client.get("/who", headers=bearer(issued.token))).json() == ["acme", None]


async def test_what_was_issued_is_no_bearer_token(tenancy: Tenancy, client) -> None:
    issued = await tenancy.impersonate("acme", actor="ada", reason="ticket 7")
    assert (await client.get("/who", headers=bearer(issued.token))).status_code == 401
    await tenancy.redeem(issued.token)
    assert (await client.get("/who", headers=bearer(issued.token))).status_code == 401


async def test_a_replay_is_refused_and_ends_nothing(tenancy: Tenancy, client) -> None:
    issued = await tenancy.impersonate("acme", actor="ada", reason="ticket 7")
    session = await tenancy.redeem(issued.token)
    with pytest.raises(InvalidTokenError):
        await tenancy.redeem(issued.token)
    assert (await client.get("/who", headers=bearer(session.token))).status_code == 200


async def test_it_ends_with_the_time_it_was_given_however_late_it_is_redeemed(
    tenancy: Tenancy, client, time: Time
) -> None:
    issued = await tenancy.impersonate("acme", actor="ada", reason="ticket 7", expires_in=300)
    time.passed = 299
    session = await tenancy.redeem(issued.token)
    assert (await client.get("/who", headers=bearer(session.token))).status_code == 200
    time.passed = 300
    assert (await client.get("/who", headers=bearer(session.token))).status_code == 401


async def test_an_expired_one_cannot_be_redeemed(tenancy: Tenancy, time: Time) -> None:
    issued = await tenancy.impersonate("acme", actor="ada", reason="ticket 7", expires_in=300)
    time.passed = 300
    with pytest.raises(InvalidTokenError, match="expired"):
        await tenancy.redeem(issued.token)


async def test_both_can_be_revoked(tenancy: Tenancy, client) -> None:
    issued = await tenancy.impersonate("acme", actor="ada", reason="ticket 7")
    await tenancy.tokens.revoke("acme", issued.token_id)
    with pytest.raises(InvalidTokenError):
        await tenancy.redeem(issued.token)
    session = await tenancy.redeem((await tenancy.impersonate("acme", actor="ada", reason="ticket 8")).token)
    await tenancy.tokens.revoke("acme", session.token_id)
    assert (await client.get("/who", headers=bearer(session.token))).status_code == 401


async def test_it_may_do_what_it_was_given_scopes_for(tenancy: Tenancy, client) -> None:
    without, having = await impersonated(tenancy), await impersonated(tenancy, scopes=["notes:read"])
    assert (await client.get("/notes", headers=bearer(without))).status_code == 403
    assert (await client.get("/notes", headers=bearer(having))).status_code == 200


async def test_issue_and_redemption_are_on_record(tenancy: Tenancy) -> None:
    issued = await tenancy.impersonate("acme", actor="ada", reason="ticket 7", scopes=["b", "a"], expires_in=60)
    session = await tenancy.redeem(issued.token)
    redeemed, impersonated = (await tenancy.audit_trail("acme")).items[:2]
    assert (redeemed.action, redeemed.actor) == ("impersonation_redeemed", "ada")
    assert redeemed.details == {"token_id": issued.token_id, "session": session.token_id}
    assert (impersonated.action, impersonated.actor) == ("impersonated", "ada")
    details = {"reason": "ticket 7", "token_id": issued.token_id, "scopes": ["a", "b"], "expires_in": 60}
    assert impersonated.details == details


async def test_the_current_actor_is_the_default(tenancy: Tenancy) -> None:
    with acting_as("grace"):
        issued = await tenancy.impersonate("acme", reason="ticket 7")
    session = await tenancy.redeem(issued.token)
    assert (await tenancy.tokens.verify(session.token)).impersonated_by == "grace"


async def test_nobody_impersonates_without_a_name(tenancy: Tenancy) -> None:
    with pytest.raises(ActorMissingError):
        await tenancy.impersonate("acme", reason="ticket 7")


@pytest.mark.parametrize(
    "given",
    [
        {"reason": " "},
        {"reason": "x" * 501},
        {"reason": "two\nlines"},
        {"expires_in": 0},
        {"expires_in": 901},
        {"scopes": ["two words"]},
        {"actor": ""},
    ],
)
async def test_what_cannot_be_is_refused(tenancy: Tenancy, given) -> None:
    with pytest.raises(ValueError, match=r"give|has|characters"):
        await tenancy.impersonate("acme", **{"actor": "ada", "reason": "ticket 7", **given})
    assert (await tenancy.tokens.list("acme")).items == []


async def test_the_tenant_has_to_be_there(tenancy: Tenancy) -> None:
    with pytest.raises(TenantNotFoundError):
        await tenancy.impersonate("nobody", actor="ada", reason="ticket 7")
    issued = await tenancy.impersonate("acme", actor="ada", reason="ticket 7")
    await tenancy.store.remove(await tenancy.get_tenant("acme"), keep_namespace=False)
    with pytest.raises(InvalidTokenError):
        await tenancy.redeem(issued.token)


@pytest.mark.parametrize("forge", [lambda token: token[:-1] + "!", lambda token: token[:-4] + "AAAA", lambda _: "ü"])
async def test_a_forged_one_is_refused_and_the_true_one_stays(tenancy: Tenancy, forge) -> None:
    issued = await tenancy.impersonate("acme", actor="ada", reason="ticket 7")
    with pytest.raises(InvalidTokenError):
        await tenancy.redeem(forge(issued.token))
    await tenancy.redeem(issued.token)


async def test_a_tenants_own_token_cannot_be_redeemed(tenancy: Tenancy) -> None:
    for opaque in (True, False):
        with pytest.raises(InvalidTokenError):
            await tenancy.redeem((await tenancy.tokens.create("acme", name="import", opaque=opaque)).token)


@pytest.mark.parametrize("server", ["sqlite", "postgresql", "mariadb"])
async def test_of_many_workers_that_redeem_at_once_one_succeeds(
    request: pytest.FixtureRequest, tmp_path: Path, server: str
) -> None:
    urls = {"postgresql": "postgresql_url", "mariadb": "mysql_url"}
    url = new_store_database(request.getfixturevalue(urls[server])) if server in urls else f"sqlite:///{tmp_path}/t.db"
    given = {"database_url": url, "tenant_database_url": f"sqlite:///{tmp_path}/{{id}}.db"}
    workers = [make_tenancy(tmp_path, resolvers=[TokenResolver()], **given) for _ in range(2)]
    async with workers[0], workers[1]:
        await workers[0].create_tenant("acme")
        issued = await workers[0].impersonate("acme", actor="ada", reason="ticket 7")
        redemptions = (worker.redeem(issued.token) for worker in workers * 4)
        ends = await asyncio.gather(*redemptions, return_exceptions=True)
        assert sorted(type(end).__name__ for end in ends) == ["InvalidTokenError"] * 7 + ["IssuedToken"]
        trail = [entry.action for entry in (await workers[1].audit_trail("acme")).items]
        assert trail[:2] == ["impersonation_redeemed", "impersonated"]
        assert len((await workers[0].tokens.list("acme")).items) == 1
