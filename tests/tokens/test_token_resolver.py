"""Whatever stands in the Authorization header, it names the one tenant whose token it is, nobody, or is refused."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime
from inspect import isawaitable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import jwt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from starlette.types import Scope
from support import make_tenancy
from tokens.token_support import SECRET, CountingStore

from fastapi_tenancy import (
    ConfigurationError,
    InvalidIdentifierError,
    InvalidTokenError,
    MultitenantTokenManager,
    Tenancy,
    TenancySettings,
    Tenant,
    TokenResolver,
)
from fastapi_tenancy.directory import TenantDirectory
from fastapi_tenancy.testing import ResolverContract, request_scope, tenant_named

TWO, BAD, NONE = InvalidIdentifierError, InvalidTokenError, None
NAMES = ["acme", "a", "7", "a-1", "www2", "x" * 63]


async def outcome(resolver: Any, scope: Scope) -> Any:
    """The identifier that is named, None, or the class of the refusal."""
    try:
        found = resolver(scope)
        found = await found if isawaitable(found) else found
    except (InvalidIdentifierError, InvalidTokenError) as error:
        return type(error)
    return found.identifier if isinstance(found, Tenant) else found


def asking(*values: bytes, name: bytes = b"authorization") -> Scope:
    return {**request_scope(), "headers": [(name, value) for value in values]}


class TestTokenResolver(ResolverContract):
    """With our own tokens."""

    refusals = (InvalidIdentifierError, InvalidTokenError)

    @pytest.fixture(params=[False, True], ids=["signed", "opaque"])
    async def resolver(self, request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[TokenResolver]:
        async with make_tenancy(
            tmp_path,
            resolvers=[TokenResolver()],
            store=CountingStore(),
            token_secrets=[SECRET],
        ) as tenancy:
            self.tokens = {}
            for name in NAMES:
                await tenancy.store.add(tenant_named(name))
                issued = await tenancy.tokens.create(name, name="ci", opaque=request.param)
                self.tokens[name] = issued.token
            yield tenancy.resolvers.resolvers[0]

    def names(self, identifier: str) -> Scope:
        return request_scope(headers={"Authorization": f"Bearer {self.tokens[identifier]}"})


class TestForeignTokenResolver(ResolverContract):
    """With an identity provider's."""

    refusals = (InvalidIdentifierError, InvalidTokenError)

    @pytest.fixture
    def resolver(self) -> TokenResolver:
        return TokenResolver(claim="tenant", key=SECRET, algorithms=["HS256"])

    def names(self, identifier: str) -> Scope:
        token = jwt.encode({"tenant": identifier, "exp": 9_999_999_999}, SECRET, "HS256")
        return request_scope(headers={"Authorization": f"Bearer {token}"})


SPELT = [  # with a valid token in the place of TOKEN
    (b"Bearer TOKEN", "acme"),
    (b"bearer TOKEN", "acme"),
    (b"BEARER TOKEN", "acme"),
    (b"bEaReR TOKEN", "acme"),
    (b"Bearer  TOKEN", "acme"),
    (b"Bearer     TOKEN", "acme"),
    (b"bearer  TOKEN", "acme"),
    (b"TOKEN", NONE),
    (b"Bearer\tTOKEN", BAD),
    (b"Bearer\x00TOKEN", BAD),
    (b"Bearer\xa0TOKEN", BAD),
    (b"Bearer\x0bTOKEN", BAD),
    (b"Bearer\x0cTOKEN", BAD),
    (b"Bearer\rTOKEN", BAD),
    (b"Bearer\nTOKEN", BAD),
    (b"Bearer\x1fTOKEN", BAD),
    (b"Bearer\x85TOKEN", BAD),
    (b"Bearer,TOKEN", BAD),
    (b"Bearer;TOKEN", BAD),
    (b"Bearer:TOKEN", BAD),
    (b"Bearer=TOKEN", BAD),
    (b"Bearer/TOKEN", BAD),
    (b"Bearer(TOKEN)", BAD),
    (b'Bearer"TOKEN"', BAD),
    (b"Bearer<TOKEN>", BAD),
    (b"Bearer@TOKEN", BAD),
    (b"Bearer[TOKEN]", BAD),
    (b"Bearer{TOKEN}", BAD),
    (b"Bearer\\TOKEN", BAD),
    (b"Bearer\xffTOKEN", BAD),
    (b"Bearer \tTOKEN", BAD),
    (b"Bearer \x00TOKEN", BAD),
    (b"Bearer \xa0TOKEN", BAD),
    (b"Bearer TOKEN ", BAD),
    (b"Bearer TOKEN\t", BAD),
    (b"Bearer TOKEN\n", BAD),
    (b"Bearer TOKEN\r\n", BAD),
    (b"Bearer TOKEN\x00", BAD),
    (b"Bearer TOKEN\xff", BAD),
    (b"Bearer TOKEN,", BAD),
    (b"Bearer TOKEN;", BAD),
    (b"Bearer TOKEN=", BAD),
    (b"Bearer TOKEN==", BAD),
    (b"Bearer TOKEN.", BAD),
    (b"Bearer .TOKEN", BAD),
    (b"Bearer =TOKEN", BAD),
    (b"Bearer TOKEN TOKEN", BAD),
    (b"Bearer TOKEN,TOKEN", BAD),
    (b"Bearer TOKEN, Bearer TOKEN", BAD),
    (b"Bearer TOKEN, Basic Og==", BAD),
    (b"Bearer Bearer TOKEN", BAD),
    (b"Bearer token=TOKEN", BAD),
    (b'Bearer "TOKEN"', BAD),
    (b"Bearer 'TOKEN'", BAD),
    (b"Bearer <TOKEN>", BAD),
    (b"Bearer %TOKEN", BAD),
    (b"Bearer TOKEN%00", BAD),
    (b"Bearer TOKEN%20", BAD),
    (b"Bearer TOKEN#x", BAD),
    (b"Bearer TOKEN?x", BAD),
    (b"Bearer TOKEN/", BAD),
    (b"Bearer /TOKEN", BAD),
    (b"Bearer TOKEN+", BAD),
    (b"Bearer TOKEN~", BAD),
    (b"Bearer TOKEN-", BAD),
    (b"Bearer TOKEN_", BAD),
    (b"Bearer xTOKEN", BAD),
    (b"Bearer TOKEN\xc2\xa0", BAD),
    (b"Bearer \xef\xbb\xbfTOKEN", BAD),
    (b"Bearer", BAD),
    (b"bearer", BAD),
    (b"Bearer ", BAD),
    (b"Bearer   ", BAD),
    (b"Bearer \t", BAD),
    (b"Bearer\t", BAD),
    (b"Bearer,", BAD),
    (b"Bearer null", BAD),
    (b"Bearer undefined", BAD),
    (b"Bearer None", BAD),
    (b"Bearer .", BAD),
    (b"Bearer ..", BAD),
    (b"Bearer ...", BAD),
    (b"Bearer a.b.c", BAD),
    (b"Bearer ====", BAD),
    (b"Bearer \xff\xfe", BAD),
    (b"Bearer \xed\xa0\x80", BAD),
    (b"Bearer \x00", BAD),
    (b"Bearer ft_", BAD),
    (b"Bearer ft__", BAD),
    (b"Bearer ft_" + b"0" * 32, BAD),
    (b"Bearer ft_" + b"0" * 32 + b"_", BAD),
    (b"Bearer ft_" + b"0" * 32 + b"_" + b"A" * 42, BAD),
    (b"Bearer ft_" + b"0" * 32 + b"_" + b"A" * 44, BAD),
    (b"Bearer ft_" + b"F" * 32 + b"_" + b"A" * 43, BAD),
    (b"Bearer ft_" + b"0" * 31 + b"_" + b"A" * 43, BAD),
    (b"Bearer " + b"A" * 10_000, BAD),
    (b"Bearer " + b"A" * 100_000, BAD),
    (b"Bearer " + b"." * 10_000, BAD),
    (b"Bearer " + b" " * 10_000 + b"TOKEN", "acme"),
    (b"Bearer eyJhbGciOiJub25lIn0.e30.", BAD),
    (b"Bearer eyJhbGciOiJub25lIn0.e30.AA", BAD),
    (b"Bearer bnVsbA.bnVsbA.bnVsbA", BAD),
    (b"Bearer MQ.MQ.MQ", BAD),
    (b"Bearer W10.W10.W10", BAD),
    (b"Bearer e30.e30.e30", BAD),
    (b"Bearer _w._w._w", BAD),
    (b"BearerTOKEN", NONE),
    (b"Bearerx TOKEN", NONE),
    (b"Bearer-Token TOKEN", NONE),
    (b"Bearer_ TOKEN", NONE),
    (b"Bearer! TOKEN", NONE),
    (b"xBearer TOKEN", NONE),
    (b"Beare TOKEN", NONE),
    (b"Bear er TOKEN", NONE),
    (b" Bearer TOKEN", NONE),
    (b"\tBearer TOKEN", NONE),
    (b"\x00Bearer TOKEN", NONE),
    (b"\xff\xfeBearer TOKEN", NONE),
    (b"\xc2\xa0Bearer TOKEN", NONE),
    (b"B\xc3\xa9arer TOKEN", NONE),
    (b"Basic TOKEN", NONE),
    (b"Basic Og==", NONE),
    (b"Basic Bearer TOKEN", NONE),
    (b"Basic Og==, Bearer TOKEN", NONE),
    (b"Digest username=TOKEN", NONE),
    (b"Token TOKEN", NONE),
    (b"DPoP TOKEN", NONE),
    (b"MAC id=TOKEN", NONE),
    (b"AWS4-HMAC-SHA256 Credential=TOKEN", NONE),
    (b"Negotiate TOKEN", NONE),
    (b"", NONE),
    (b" ", NONE),
    (b"\x00", NONE),
    (b"\xff", NONE),
    (b",", NONE),
    (b"=", NONE),
]


@pytest.mark.parametrize("opaque", [False, True])
async def test_all_spellings_of_the_header(tenancy: Tenancy, store, opaque: bool) -> None:
    token = (await tenancy.tokens.create("acme", name="ci", opaque=opaque)).token.encode()
    resolver = tenancy.resolvers.resolvers[0]
    for _ in range(2):  # the second time it may be remembered
        found = [(spelt, await outcome(resolver, asking(spelt.replace(b"TOKEN", token)))) for spelt, _ in SPELT]
        assert [pair for pair in zip(found, SPELT, strict=True) if pair[0] != pair[1]] == []
    assert len(store.asked) == 1


def test_the_table_is_long_enough() -> None:
    assert len({spelt for spelt, _ in SPELT}) == len(SPELT) > 130


async def test_several_headers_are_refused_equal_ones_too(tenancy: Tenancy) -> None:
    token = (await tenancy.tokens.create("acme", name="ci")).token.encode()
    resolver = tenancy.resolvers.resolvers[0]
    for others in ([b"Bearer " + token], [b"Basic Og=="], [b""], [b"Bearer " + token] * 2):
        assert await outcome(resolver, asking(b"Bearer " + token, *others)) is TWO


async def test_other_headers_are_not_read(tenancy: Tenancy) -> None:
    token = (await tenancy.tokens.create("acme", name="ci")).token.encode()
    resolver = tenancy.resolvers.resolvers[0]
    for name in (
        b"proxy-authorization",
        b"x-authorization",
        b"authorization2",
        b"cookie",
        b"x-forwarded-authorization",
    ):
        assert await outcome(resolver, asking(b"Bearer " + token, name=name)) is NONE
    query = {**request_scope(), "query_string": b"access_token=" + token}
    assert await outcome(resolver, query) is NONE


async def test_a_token_seen_before_names_its_tenant_without_awaiting(tenancy: Tenancy) -> None:
    scope = asking(b"Bearer " + (await tenancy.tokens.create("acme", name="ci")).token.encode())
    resolver = tenancy.resolvers.resolvers[0]
    first = await resolver(scope)
    assert resolver(scope) is first


def test_an_unbound_resolver_says_what_it_lacks() -> None:
    with pytest.raises(ConfigurationError, match=r"Tenancy\(resolvers"):
        TokenResolver()(asking(b"Bearer x"))


@pytest.mark.parametrize("given", [{"key": SECRET}, {"algorithms": ["HS256"]}, {"audience": "a"}, {"issuer": "i"}])
def test_what_belongs_to_a_claim_is_refused_without_one(given: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError, match="claim"):
        TokenResolver(**given)


def test_neither_repr_nor_state_shows_a_key() -> None:
    assert SECRET not in repr(TokenResolver(claim="tenant", key=SECRET, algorithms=["HS256"]))
    assert SECRET not in repr(TokenResolver(claim="tenant", key=SECRET, algorithms=["HS256"])._foreign)


def test_the_scheme_is_bearer() -> None:
    own, foreign = TokenResolver(), TokenResolver(claim="tenant", key=SECRET, algorithms=["HS256"])
    assert [(each.security_scheme()["type"], each.security_scheme()["scheme"]) for each in (own, foreign)] == [
        ("http", "bearer")
    ] * 2
    assert foreign.security_scheme()["bearerFormat"] == "JWT"


VALUES = (
    st.binary(max_size=40)
    | st.binary(max_size=60).map(lambda tail: b"Bearer " + tail)
    | st.from_regex(rb"\A(?i:bearer) +[A-Za-z0-9_-]{1,30}(\.[A-Za-z0-9_-]{0,30}){0,3}=?\Z")
    | st.from_regex(rb"\ABearer ft_[0-9a-f]{30,33}_[A-Za-z0-9_-]{42,44}\Z")
)


def of_acme() -> tuple[TokenResolver, MultitenantTokenManager, CountingStore]:
    """A resolver that knows the tenant acme, without a database."""
    store, deployment = CountingStore(), TenancySettings(database_url="sqlite://", token_secrets=[SECRET])
    directory = TenantDirectory(store, deployment)
    tokens = MultitenantTokenManager(store, directory, deployment, lambda: datetime.now(UTC))
    acme = tenant_named("acme")
    store._tenants[acme.id] = acme
    return TokenResolver().bound_to(SimpleNamespace(tokens=tokens, settings=deployment)), tokens, store


@settings(max_examples=100)
@given(st.lists(VALUES, max_size=2))
async def test_anything_else_names_nobody_or_is_refused(values: list[bytes]) -> None:
    own, _, store = of_acme()
    for resolver in (own, TokenResolver(claim="tenant", key=SECRET, algorithms=["HS256"])):
        assert await outcome(resolver, asking(*values)) in (NONE, BAD, TWO)
    assert [asked for asked in store.asked if f"ft_{asked}_".encode() not in values[0]] == []


@settings(max_examples=60)
@given(st.integers(0, 300), st.binary(max_size=3), st.integers(0, 3), st.booleans())
async def test_a_token_that_is_changed_anywhere_is_refused(at: int, put: bytes, removed: int, opaque: bool) -> None:
    resolver, tokens, store = of_acme()
    issued = await tokens.create("acme", name="ci", scopes=["a"], opaque=opaque)
    token = issued.token.encode()
    assert await outcome(resolver, asking(b"Bearer " + token)) == "acme"
    changed = token[:at] + put + token[at + removed :]
    same = changed.lstrip(b" ") == token
    assert await outcome(resolver, asking(b"Bearer " + changed)) == ("acme" if same else BAD)
    assert set(store.asked) <= {issued.token_id} or opaque
    await tokens.forget_all()
