"""Which tenant it is where resolvers disagree, proxies stand in front, or a tenant is to stay hidden."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from fastapi import Request
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError
from starlette.types import Scope
from support import make_app, make_tenancy, named, running

from fastapi_tenancy import (
    AmbiguousTenantError,
    ConfigurationError,
    HeaderResolver,
    InvalidIdentifierError,
    PathResolver,
    SubdomainResolver,
    Tenancy,
    TenancyMiddleware,
    TenancySettings,
    TenantStatus,
)
from fastapi_tenancy.resolvers import ResolverChain
from fastapi_tenancy.resolvers.chain import settled
from fastapi_tenancy.resolvers.proxies import TrustedProxies
from fastapi_tenancy.testing import request_scope, tenant_named

RESOLVERS = (HeaderResolver("X-Tenant-ID"), SubdomainResolver("example.com"), PathResolver("/t"))


def answering(answer: Any) -> Any:
    return lambda scope: answer


def answering_later(answer: Any) -> Any:
    async def later(scope: Scope) -> Any:
        return answer

    return later


NAMED = st.sampled_from([None, "acme", "globex", tenant_named("acme"), tenant_named("globex")])
ANSWERS = st.lists(st.tuples(NAMED, st.booleans()), min_size=1, max_size=4)


@given(ANSWERS)
async def test_all_resolvers_agree_or_the_request_is_refused(answers: list[tuple[Any, bool]]) -> None:
    names = {getattr(answer, "identifier", answer) for answer, _ in answers} - {None}
    chain = ResolverChain([answering_later(each) if later else answering(each) for each, later in answers])
    try:
        found = await settled(chain.name(request_scope()))
    except AmbiguousTenantError:
        assert len(names) == 2
    else:
        assert {getattr(found, "identifier", found)} - {None} == names


@given(ANSWERS)
async def test_the_first_that_names_a_tenant_decides_if_asked_to(answers: list[tuple[Any, bool]]) -> None:
    first = next((answer for answer, _ in answers if answer is not None), None)
    chain = ResolverChain(
        [answering_later(each) if later else answering(each) for each, later in answers], conflict="first"
    )
    assert await settled(chain.name(request_scope())) == first


async def test_who_comes_after_the_first_is_not_asked() -> None:
    def refusing(scope: Scope) -> None:
        raise InvalidIdentifierError("asked")

    for first in (answering("acme"), answering_later("acme")):
        assert await settled(ResolverChain([first, refusing], conflict="first").name(request_scope())) == "acme"


def test_a_conflict_that_is_unknown_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="choose from refuse, first"):
        make_tenancy(tmp_path, conflict="last")


@pytest.mark.parametrize(("conflict", "status"), [("refuse", 400), ("first", 200)])
async def test_a_request_that_names_two_tenants(tmp_path: Path, conflict: str, status: int) -> None:
    tenancy = make_tenancy(tmp_path, resolvers=RESOLVERS, conflict=conflict)
    async with running(make_app(tenancy)) as client:
        await tenancy.create_tenant("acme")
        await tenancy.create_tenant("globex")
        answer = await client.get("http://globex.example.com/whoami", headers=named("acme"))
    assert answer.status_code == status
    assert answer.json() == ({"tenant": "acme"} if status == 200 else {"detail": AmbiguousTenantError.public})


async def test_a_request_that_names_one_tenant_twice_is_served(tmp_path: Path) -> None:
    tenancy = make_tenancy(tmp_path, resolvers=RESOLVERS)
    async with running(make_app(tenancy)) as client:
        await tenancy.create_tenant("acme")
        answer = await client.get("http://acme.example.com/t/acme/whoami", headers=named("acme"))
        assert answer.json() == {"tenant": "acme"}


async def test_a_path_that_names_another_tenant_than_the_first_is_not_entered(tmp_path: Path) -> None:
    tenancy = make_tenancy(tmp_path, resolvers=RESOLVERS, conflict="first")
    async with running(make_app(tenancy)) as client:
        await tenancy.create_tenant("acme")
        assert (await client.get("/t/globex/whoami", headers=named("acme"))).status_code == 404


async def test_the_application_sees_the_host_that_the_client_asked_for(tmp_path: Path) -> None:
    tenancy = make_tenancy(tmp_path, resolvers=RESOLVERS, trusted_proxies=["127.0.0.1"])
    app = make_app(tenancy)

    @app.get("/link")
    async def link(request: Request) -> str:
        return str(request.url_for("whoami"))

    async with running(app) as client:
        await tenancy.create_tenant("acme")
        answer = await client.get("/link", headers={"X-Forwarded-Host": "acme.example.com"})
        assert answer.json() == "http://acme.example.com/whoami"


def asked_through(client: Any, *forwarded: bytes, proxies: tuple[str, ...] = ("10.0.0.0/8", "fd00::/8")) -> Any:
    """The host that the resolvers read."""
    headers = [(b"host", b"inner"), *((b"x-forwarded-host", value) for value in forwarded)]
    scope = {**request_scope(), "headers": headers, "client": client}
    settings = TenancySettings(database_url="sqlite://", trusted_proxies=list(proxies))
    return dict(TrustedProxies(settings.trusted_proxies).as_asked(scope)["headers"])[b"host"].decode()


@pytest.mark.parametrize(
    ("peer", "host"),
    [
        ("10.1.2.3", "outer"),
        ("10.255.255.255", "outer"),
        ("fd00::1", "outer"),
        ("::ffff:10.1.2.3", "outer"),
        ("11.1.2.3", "inner"),
        ("::ffff:11.1.2.3", "inner"),
        ("fe80::1", "inner"),
        ("127.0.0.1", "inner"),
        ("testclient", "inner"),
        ("10.1.2.3.evil.org", "inner"),
        ("", "inner"),
        ("10.1.2", "inner"),
        ("010.1.2.3", "inner"),
    ],
)
def test_a_forwarded_host_counts_from_trusted_proxies_only(peer: str, host: str) -> None:
    assert asked_through((peer, 50000), b"outer") == host


def test_a_unix_socket_is_trusted_by_its_name() -> None:
    assert asked_through(None, b"outer") == "inner"
    assert asked_through(None, b"outer", proxies=("unix",)) == "outer"
    assert asked_through(("10.1.2.3", 0), b"outer", proxies=("unix",)) == "inner"


def test_without_a_forwarded_host_the_host_counts() -> None:
    assert asked_through(("10.1.2.3", 0)) == "inner"


@pytest.mark.parametrize("forwarded", [[b"a.example.com, b.example.com"], [b"outer", b"outer"], [b","]])
def test_several_forwarded_hosts_are_refused(forwarded: list[bytes]) -> None:
    with pytest.raises(InvalidIdentifierError):
        asked_through(("10.1.2.3", 0), *forwarded)


def test_a_trusted_proxy_that_is_no_address_is_refused() -> None:
    with pytest.raises(ValidationError, match="trusted_proxies"):
        TenancySettings(database_url="sqlite://", trusted_proxies=["proxy.internal"])


@pytest.fixture
async def hiding(tmp_path: Path) -> Any:
    tenancy = make_tenancy(tmp_path, reveal_inactive=False)
    async with running(make_app(tenancy)) as client:
        for identifier in ("suspended", "provisioning", "deleting"):
            tenant = await tenancy.create_tenant(identifier)
            await tenancy.directory.change(tenant, replace(tenant, status=TenantStatus(identifier)))
        yield client


@pytest.mark.parametrize("identifier", ["suspended", "provisioning", "deleting"])
async def test_a_hidden_tenant_is_answered_as_an_unknown_one(hiding: Any, identifier: str) -> None:
    hidden, unknown = [await hiding.get("/whoami", headers=named(name)) for name in (identifier, "unknown")]
    assert (hidden.status_code, hidden.content, hidden.headers) == (404, unknown.content, unknown.headers)


async def test_a_preflight_for_an_inactive_tenant_has_no_tenant(on_sqlite: Tenancy) -> None:
    reached: list[object] = []

    async def inner(scope: Any, receive: Any, send: Any) -> None:
        reached.append(scope["state"]["tenant"])

    await on_sqlite.suspend_tenant("acme")
    asked = {"X-Tenant-ID": "acme", "Origin": "https://x", "Access-Control-Request-Method": "GET"}
    middleware = TenancyMiddleware(inner, tenancy=on_sqlite)
    for _ in range(2):  # from the store, then from memory
        await middleware({**request_scope(headers=asked), "method": "OPTIONS"}, None, None)
    assert reached == [None, None]
