"""Tokens are made, listed, verified and revoked; what was revoked, has expired or was never ours is refused."""

import asyncio
import re
from datetime import timedelta

import pytest
from sqlalchemy.exc import OperationalError
from support import add_notes, make_tenancy, read_notes
from tokens.token_support import SECRET

from fastapi_tenancy import (
    ConfigurationError,
    HeaderResolver,
    InMemoryTenantStore,
    InvalidTokenError,
    StoreUnavailableError,
    Tenancy,
    TenantNotFoundError,
    TenantSuspendedError,
    TokenNotFoundError,
    TokenResolver,
    current_tenant,
)

BOTH = pytest.mark.parametrize("opaque", [False, True])


async def is_valid(tenancy: Tenancy, token: str) -> bool:
    try:
        await tenancy.tokens.verify(token)
    except InvalidTokenError:
        return False
    return True


def loads(tenancy: Tenancy) -> int:
    return tenancy.stats()["tokens"]["loads"]


@BOTH
async def test_a_token_is_verified_as_it_was_made(tenancy: Tenancy, time, opaque: bool) -> None:
    issued = await tenancy.tokens.create("acme", name="ci", scopes=["b", "a"], expires_in=3600, opaque=opaque)
    record = await tenancy.tokens.verify(issued.token)
    assert (record.token_id, record.tenant_id) == (issued.token_id, (await tenancy.get_tenant("acme")).id)
    assert (record.name, record.scopes) == ("ci", {"a", "b"})
    assert (record.created_at, record.expires_at) == (time.now(), time.now() + timedelta(hours=1))
    assert (await tenancy.tokens.find_tenant(issued.token)).identifier == "acme"


async def test_an_opaque_token_can_be_found_by_scanners_and_holds_256_random_bits(tenancy: Tenancy) -> None:
    issued = await tenancy.tokens.create("acme", name="ci", opaque=True)
    assert re.fullmatch(rf"ft_{issued.token_id}_[A-Za-z0-9_-]{{43}}", issued.token)


async def test_without_secrets_tokens_are_opaque(tmp_path) -> None:
    async with make_tenancy(tmp_path) as tenancy:
        await tenancy.create_tenant("acme")
        issued = await tenancy.tokens.create("acme", name="ci")
        assert issued.token.startswith("ft_")
        assert await is_valid(tenancy, issued.token)
        assert not await is_valid(tenancy, "eyJhbGciOiJub25lIn0.e30.AA")


async def test_a_tenant_has_many_tokens_each_revocable(tenancy: Tenancy, time) -> None:
    issued = []
    for time.passed in range(3):
        issued.append(await tenancy.tokens.create("acme", name=f"t{time.passed}"))
    assert len({each.token for each in issued}) == 3
    await tenancy.tokens.revoke("acme", issued[1].token_id)
    assert [await is_valid(tenancy, each.token) for each in issued] == [True, False, True]
    listed = await tenancy.tokens.list("acme")
    assert [token.name for token in listed.items] == ["t0", "t2"]


async def test_tokens_are_listed_in_pages_in_the_order_of_their_creation(tenancy: Tenancy, time) -> None:
    for name in "abcde":
        await tenancy.tokens.create("acme", name=name)
        time.passed += 1
    after, pages = None, []
    while after is not None or not pages:
        page = await tenancy.tokens.list("acme", 2, after)
        pages.append("".join(token.name for token in page.items))
        after = page.next
    assert pages == ["ab", "cd", "e"]
    assert (await tenancy.tokens.list("globex")).items == []


@pytest.mark.parametrize("limit", [0, -1, 1001])
async def test_a_page_has_1_to_1000_tokens(tenancy: Tenancy, limit: int) -> None:
    with pytest.raises(ValueError, match="1 to 1000"):
        await tenancy.tokens.list("acme", limit)


@BOTH
async def test_a_revocation_is_seen_at_once_in_this_process(tenancy: Tenancy, opaque: bool) -> None:
    issued = await tenancy.tokens.create("acme", name="ci", opaque=opaque)
    assert await is_valid(tenancy, issued.token)
    await tenancy.tokens.revoke("acme", issued.token_id)
    assert not await is_valid(tenancy, issued.token)


@BOTH
async def test_a_revocation_is_seen_within_the_ttl_elsewhere(tmp_path, tenancy: Tenancy, time, store, opaque) -> None:
    async with make_tenancy(
        tmp_path, store=store, clock=time.clock, now=time.now, token_secrets=[SECRET], cache_ttl=7
    ) as elsewhere:
        issued = await tenancy.tokens.create("acme", name="ci", opaque=opaque)
        assert await is_valid(elsewhere, issued.token)
        await tenancy.tokens.revoke("acme", issued.token_id)
        time.passed = 6.9
        assert await is_valid(elsewhere, issued.token)
        time.passed = 7
        assert not await is_valid(elsewhere, issued.token)


@BOTH
async def test_an_expired_token_is_refused_also_where_it_is_remembered(tenancy: Tenancy, time, opaque: bool) -> None:
    issued = await tenancy.tokens.create("acme", name="ci", expires_in=10, opaque=opaque)
    for time.passed, valid in ((0, True), (9.9, True), (10, False), (100, False)):
        assert await is_valid(tenancy, issued.token) is valid


async def test_a_token_without_an_end_stays_valid(tenancy: Tenancy, time) -> None:
    issued = await tenancy.tokens.create("acme", name="ci")
    time.passed = 1e9
    assert await is_valid(tenancy, issued.token)


@BOTH
async def test_a_rename_breaks_no_token(tenancy: Tenancy, opaque: bool) -> None:
    issued = await tenancy.tokens.create("acme", name="ci", opaque=opaque)
    assert (await tenancy.tokens.find_tenant(issued.token)).identifier == "acme"
    await tenancy.update_tenant("acme", identifier="acme-inc")
    await tenancy.create_tenant("acme")
    assert (await tenancy.tokens.find_tenant(issued.token)).identifier == "acme-inc"


@BOTH
@pytest.mark.parametrize("drop_data", [True, False])
async def test_a_deleted_tenants_tokens_die_with_it(tenancy: Tenancy, opaque: bool, drop_data: bool) -> None:
    issued = await tenancy.tokens.create("acme", name="ci", opaque=opaque)
    assert await is_valid(tenancy, issued.token)
    await tenancy.delete_tenant("acme", drop_data=drop_data)
    assert not await is_valid(tenancy, issued.token)
    await tenancy.create_tenant("acme")
    assert not await is_valid(tenancy, issued.token)
    assert (await tenancy.tokens.list("acme")).items == []


@pytest.mark.parametrize("name", ["globex", "acme"])
async def test_a_token_is_revoked_by_its_tenant_only_and_once(tenancy: Tenancy, name: str) -> None:
    issued = await tenancy.tokens.create("acme", name="ci")
    if name == "acme":
        await tenancy.tokens.revoke("acme", issued.token_id)
    with pytest.raises(TokenNotFoundError) as error:
        await tenancy.tokens.revoke(name, issued.token_id)
    assert error.value.status_code == 404
    assert await is_valid(tenancy, issued.token) is (name == "globex")


@pytest.mark.parametrize("token_id", ["", "x", "\x00", "0" * 31, "0" * 33, "F" * 32, "\u0660" * 32])
async def test_what_is_no_id_is_no_token(tenancy: Tenancy, token_id: str) -> None:
    with pytest.raises(TokenNotFoundError):
        await tenancy.tokens.revoke("acme", token_id)


@pytest.mark.parametrize(
    "given",
    [
        {"name": ""},
        {"name": "  "},
        {"name": "x" * 201},
        {"name": "a\nb"},
        {"name": "\x00"},
        {"name": "\ud800"},
        {"scopes": [""]},
        {"scopes": ["a b"]},
        {"scopes": ['"']},
        {"scopes": ["\\"]},
        {"scopes": ["\u00e9"]},
        {"scopes": ["x" * 65]},
        {"scopes": [f"s{number}" for number in range(33)]},
        {"expires_in": 0},
        {"expires_in": -1},
        {"expires_in": float("nan")},
        {"expires_in": float("inf")},
        {"expires_in": 315_360_001},
    ],
)
async def test_what_no_token_can_be_made_of_is_refused(tenancy: Tenancy, given: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=r"a token|expires_in"):
        await tenancy.tokens.create("acme", **{"name": "ci", **given})
    assert (await tenancy.tokens.list("acme")).items == []


async def test_the_largest_token_that_can_be_made_is_verified(tenancy: Tenancy) -> None:
    scopes = [f"{number:064}" for number in range(32)]
    issued = await tenancy.tokens.create("acme", name="x" * 200, scopes=scopes, expires_in=315_360_000)
    assert len(issued.token) < 4000
    assert (await tenancy.tokens.verify(issued.token)).scopes == set(scopes)


@pytest.mark.parametrize("method", ["create", "list", "revoke"])
async def test_an_unknown_tenant_is_a_404(tenancy: Tenancy, method: str) -> None:
    given = {"create": {"name": "ci"}, "list": {}, "revoke": {"token_id": "0" * 32}}[method]
    with pytest.raises(TenantNotFoundError):
        await getattr(tenancy.tokens, method)("nobody", **given)


@BOTH
async def test_500_first_requests_with_a_token_are_one_query(tenancy: Tenancy, store, opaque: bool) -> None:
    issued = await tenancy.tokens.create("acme", name="ci", opaque=opaque)
    found = await asyncio.gather(*(tenancy.tokens.find_tenant(issued.token) for _ in range(500)))
    assert {tenant.identifier for tenant in found} == {"acme"}
    assert store.asked == [issued.token_id]


@BOTH
async def test_a_token_seen_before_asks_nobody(tenancy: Tenancy, store, opaque: bool) -> None:
    issued = await tenancy.tokens.create("acme", name="ci", opaque=opaque)
    tenant = await tenancy.tokens.find_tenant(issued.token)
    before = (store.asked.copy(), tenancy.stats()["loads"])
    for _ in range(10):
        assert tenancy.tokens.tenant_of(issued.token) is tenant
    assert (store.asked, tenancy.stats()["loads"]) == before


async def test_a_forged_opaque_token_asks_the_store_once(tenancy: Tenancy, store, time) -> None:
    forged = f"ft_{'0' * 32}_{'A' * 43}"
    for time.passed in (0, 1, 4.9, 5):
        assert not await is_valid(tenancy, forged)
    assert len(store.asked) == 2
    for letter in "BCDEFGH":
        assert not await is_valid(tenancy, forged[:-43] + letter * 43)
    assert len(store.asked) == 2


async def test_forged_tokens_are_remembered_boundedly_and_push_no_valid_one_out(tenancy: Tenancy, store) -> None:
    issued = await tenancy.tokens.create("acme", name="ci")
    await tenancy.tokens.verify(issued.token)
    for number in range(100):
        assert not await is_valid(tenancy, f"ft_{number:032x}_{'A' * 43}")
    assert {name: tenancy.stats()["tokens"][name] for name in ("seen", "known", "unknown")} == {
        "seen": 1,
        "known": 1,
        "unknown": 10,
    }
    before = len(store.asked)
    await tenancy.tokens.verify(issued.token)
    assert len(store.asked) == before


async def test_an_expired_token_does_not_ask_the_store_each_time(tenancy: Tenancy, store, time) -> None:
    issued = await tenancy.tokens.create("acme", name="ci", expires_in=10)
    time.passed = 10
    for _ in range(5):
        assert not await is_valid(tenancy, issued.token)
    assert len(store.asked) == 1


async def test_valid_tokens_are_remembered_boundedly(tmp_path) -> None:
    async with make_tenancy(tmp_path, store=InMemoryTenantStore(), cache_size=1) as tenancy:
        await tenancy.create_tenant("acme")
        issued = [await tenancy.tokens.create("acme", name="ci") for _ in range(15)]
        for _ in range(2):
            for each in issued:
                assert (await tenancy.tokens.verify(each.token)).token_id == each.token_id
        assert (tenancy.stats()["tokens"]["seen"], tenancy.stats()["tokens"]["known"]) == (10, 10)


async def test_the_last_use_is_written_at_most_once_a_minute(tenancy: Tenancy, store, time) -> None:
    issued = await tenancy.tokens.create("acme", name="ci")
    for time.passed in (0, 1, 59, 60, 61, 119, 121):
        await tenancy.tokens.verify(issued.token)
        await tenancy.tokens._uses.aclose()
    written = [uses[issued.token_id] for uses in store.noted]
    assert [(moment - written[0]).seconds for moment in written] == [0, 60, 121]
    assert (await tenancy.tokens.list("acme")).items[0].last_used_at == time.now()


async def test_a_forged_token_is_no_use_of_the_one_whose_id_it_has(tenancy: Tenancy, store) -> None:
    issued = await tenancy.tokens.create("acme", name="ci", opaque=True)
    assert not await is_valid(tenancy, f"ft_{issued.token_id}_{'A' * 43}")
    await tenancy.tokens._uses.aclose()
    assert store.noted == []


async def test_last_uses_are_written_behind_the_requests_and_one_write_at_a_time(tenancy: Tenancy, store) -> None:
    may_write, writes = asyncio.Event(), []

    async def slow(uses) -> None:
        writes.append(set(uses))
        await may_write.wait()

    store.note_token_uses = slow
    issued = [await tenancy.tokens.create("acme", name="ci") for _ in range(5)]
    for each in issued:
        await tenancy.tokens.verify(each.token)
        await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert len(writes) == 1
    may_write.set()
    await tenancy.tokens._uses.aclose()
    assert [len(each) for each in writes] == [1, 4]


async def test_a_use_that_cannot_be_written_harms_nobody(tenancy: Tenancy, store) -> None:
    async def fails(uses) -> None:
        raise OperationalError("UPDATE", {}, Exception("away"))

    store.note_token_uses = fails
    issued = await tenancy.tokens.create("acme", name="ci")
    for _ in range(2):
        assert await is_valid(tenancy, issued.token)
        await tenancy.tokens._uses.aclose()


async def test_what_was_used_last_is_written_before_the_end(tmp_path) -> None:
    store = InMemoryTenantStore()
    async with make_tenancy(tmp_path, store=store) as tenancy:
        await tenancy.create_tenant("acme")
        issued = await tenancy.tokens.create("acme", name="ci")
        await tenancy.tokens.verify(issued.token)
    assert store._tokens[issued.token_id].last_used_at is not None


async def test_a_load_that_a_revocation_overtook_is_not_kept(tenancy: Tenancy, store) -> None:
    issued = await tenancy.tokens.create("acme", name="ci")
    may_answer, read = asyncio.Event(), store.get_token

    async def slow(token_id: str):
        found = await read(token_id)
        await may_answer.wait()
        return found

    store.get_token = slow
    early = asyncio.create_task(tenancy.tokens.verify(issued.token))
    while not store.asked:
        await asyncio.sleep(0)
    await tenancy.tokens.revoke("acme", issued.token_id)
    may_answer.set()
    await early
    assert not await is_valid(tenancy, issued.token)


async def test_a_store_that_fails_is_a_503_and_known_tokens_are_served(tenancy: Tenancy, store) -> None:
    known, other = [await tenancy.tokens.create("acme", name="ci") for _ in range(2)]
    await tenancy.tokens.verify(known.token)

    async def fails(token_id: str) -> None:
        raise OperationalError("SELECT", {}, Exception("away"))

    store.get_token = fails
    with pytest.raises(StoreUnavailableError):
        await tenancy.tokens.verify(other.token)
    assert await is_valid(tenancy, known.token)


async def test_the_ancestors_calls_make_a_token_and_open_its_profile(tenancy: Tenancy) -> None:
    await tenancy.create_tenant("initech")
    await add_notes(tenancy, "initech", "mine")
    token = await tenancy.create_auth_token("initech", scopes=["notes:read"], expires_in=60)
    async with tenancy.get_profile_for_token(token) as profile:
        assert profile.tenant.identifier == current_tenant().identifier == "initech"
    assert await read_notes(tenancy, "initech") == ["mine"]
    await tenancy.suspend_tenant("initech")
    with pytest.raises(TenantSuspendedError):
        async with tenancy.get_profile_for_token(token):
            pass
    with pytest.raises(InvalidTokenError):
        async with tenancy.get_profile_for_token("nonsense"):
            pass


class OnlyTenants:
    """A store of tenants that keeps no tokens."""

    def __init__(self) -> None:
        kept = InMemoryTenantStore()
        for name in ("open", "close", "add", "get", "get_by_identifier", "page", "save", "remove", "retained"):
            setattr(self, name, getattr(kept, name))


def test_a_store_without_tokens_does_for_everything_else(tmp_path) -> None:
    tenancy = make_tenancy(tmp_path, resolvers=[HeaderResolver()], store=OnlyTenants())
    with pytest.raises(ConfigurationError, match="TokenStore"):
        _ = tenancy.tokens
    with pytest.raises(ConfigurationError, match="TokenStore"):
        make_tenancy(tmp_path, resolvers=[TokenResolver()], store=OnlyTenants())
    assert tenancy.stats()["tokens"] == {}
