"""Tenants claim hosts, prove them, and from then on the hosts name them."""

import asyncio
from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy.exc import OperationalError
from support import Base

from fastapi_tenancy import (
    ConfigurationError,
    Domain,
    DomainCheckError,
    DomainNotFoundError,
    DomainNotProvenError,
    DomainStatus,
    DomainTakenError,
    HeaderResolver,
    HostResolver,
    InMemoryTenantStore,
    InvalidDomainError,
    MultitenantRouteManager,
    StoreUnavailableError,
    Tenancy,
    TenancySettings,
    TenantNotFoundError,
    TenantStore,
)


def loads(tenancy: Tenancy) -> int:
    return tenancy.domains.stats()["loads"]


async def test_a_new_claim_says_which_record_proves_it(tenancy: Tenancy) -> None:
    claim = await tenancy.domains.add("acme", "App.Acme.com.")
    assert (claim.host, claim.status, claim.verified_at) == ("app.acme.com", DomainStatus.PENDING, None)
    assert claim.record_name == "_fastapi-tenancy.app.acme.com"
    assert len(claim.token) >= 40
    assert await tenancy.domains.find("app.acme.com") is None


async def test_each_claim_has_a_token_of_its_own(tenancy: Tenancy) -> None:
    claims = [await tenancy.domains.add(who, host) for who in ("acme", "globex") for host in ("a.com", "b.com")]
    assert len({claim.token for claim in claims}) == 4


async def test_claiming_again_returns_the_claim_that_stands(tenancy: Tenancy) -> None:
    claim = await tenancy.domains.add("acme", "app.acme.com")
    assert await tenancy.domains.add("acme", "APP.acme.com:443") == claim
    assert (await tenancy.domains.add("acme", "acme.com")).is_verified


async def test_a_proven_claim_names_the_tenant_at_once(tenancy: Tenancy, checker) -> None:
    claim = await tenancy.domains.add("globex", "globex.com")
    assert await tenancy.domains.find("globex.com") is None
    checker.proven.add("globex.com")
    verified = await tenancy.domains.verify("globex", "Globex.com")
    assert verified == replace(claim, status=DomainStatus.VERIFIED, verified_at=verified.verified_at)
    assert checker.asked[-1] == ("globex.com", claim.token)
    assert await tenancy.domains.find("globex.com") == (await tenancy.get_tenant("globex")).id
    assert await tenancy.domains.list("globex") == [verified]


async def test_a_verified_domain_is_not_checked_again(tenancy: Tenancy, checker) -> None:
    checker.error = AssertionError("asked again")
    assert (await tenancy.domains.verify("acme", "acme.com")).is_verified


async def test_a_claim_without_its_record_stays_pending(tenancy: Tenancy, checker) -> None:
    claim = await tenancy.domains.add("globex", "globex.com")
    with pytest.raises(DomainNotProvenError, match=claim.token) as error:
        await tenancy.domains.verify("globex", "globex.com")
    assert error.value.status_code == 422
    assert await tenancy.domains.list("globex") == [claim]
    assert await tenancy.domains.find("globex.com") is None


@pytest.mark.parametrize("trouble", [TimeoutError(), OSError("no network"), DomainCheckError("no answer")])
async def test_a_check_that_fails_is_a_503_and_loses_nothing(tenancy: Tenancy, checker, trouble: Exception) -> None:
    claim = await tenancy.domains.add("globex", "globex.com")
    checker.error = trouble
    with pytest.raises(DomainCheckError) as error:
        await tenancy.domains.verify("globex", "globex.com")
    assert (error.value.status_code, error.value.headers) == (503, {"Retry-After": "10"})
    assert await tenancy.domains.list("globex") == [claim]
    checker.error = None
    checker.proven.add("globex.com")
    assert (await tenancy.domains.verify("globex", "globex.com")).is_verified


async def test_a_check_that_hangs_is_a_503_in_time(tenancy: Tenancy) -> None:
    class Hanging:
        async def check(self, host: str, token: str) -> bool:
            await asyncio.Event().wait()
            return True

    domains = MultitenantRouteManager(
        tenancy.store, tenancy.directory, tenancy.settings, tenancy.domains._now, checker=Hanging(), check_timeout=0.01
    )
    await domains.add("globex", "globex.com")
    with pytest.raises(DomainCheckError):
        await domains.verify("globex", "globex.com")


async def test_a_verified_host_is_exclusive(tenancy: Tenancy, checker) -> None:
    with pytest.raises(DomainTakenError) as error:
        await tenancy.domains.add("globex", "acme.com")
    assert error.value.status_code == 409


async def test_pending_claims_coexist_and_the_first_to_prove_wins(tenancy: Tenancy, checker) -> None:
    await tenancy.domains.add("globex", "shared.com")
    await tenancy.domains.add("acme", "shared.com")
    checker.proven.add("shared.com")
    ends = await asyncio.gather(
        tenancy.domains.verify("acme", "shared.com"),
        tenancy.domains.verify("globex", "shared.com"),
        return_exceptions=True,
    )
    won = [end for end in ends if isinstance(end, Domain)]
    assert sorted(type(end).__name__ for end in ends) == ["Domain", "DomainTakenError"]
    assert await tenancy.domains.find("shared.com") == won[0].tenant_id


async def test_a_claim_that_is_replaced_during_its_check_is_not_verified(tenancy: Tenancy, checker) -> None:
    await tenancy.domains.add("globex", "globex.com")
    checker.proven.add("globex.com")
    look = checker.check

    async def slow(host: str, token: str) -> bool:
        await tenancy.domains.remove("globex", "globex.com")
        await tenancy.domains.add("globex", "globex.com")
        return await look(host, token)

    checker.check = slow
    with pytest.raises(Exception, match="changed since"):
        await tenancy.domains.verify("globex", "globex.com")
    assert await tenancy.domains.find("globex.com") is None


@pytest.mark.parametrize("end", ["revoke", "remove"])
async def test_a_domain_that_is_withdrawn_names_nobody_and_frees_its_host(tenancy: Tenancy, end: str) -> None:
    assert await tenancy.domains.find("acme.com") is not None
    await getattr(tenancy.domains, end)("acme", "acme.com")
    assert await tenancy.domains.find("acme.com") is None
    await tenancy.domains.add("globex", "acme.com")
    await tenancy.domains.verify("globex", "acme.com")
    assert await tenancy.domains.find("acme.com") == (await tenancy.get_tenant("globex")).id


async def test_a_revoked_domain_is_listed_and_needs_a_new_proof(tenancy: Tenancy) -> None:
    old = await tenancy.domains.revoke("acme", "acme.com")
    assert await tenancy.domains.list("acme") == [old]
    with pytest.raises(DomainNotFoundError, match="add it again"):
        await tenancy.domains.verify("acme", "acme.com")
    claim = await tenancy.domains.add("acme", "acme.com")
    assert claim.status is DomainStatus.PENDING
    assert claim.token != old.token


async def test_a_removed_domain_is_not_listed(tenancy: Tenancy) -> None:
    await tenancy.domains.remove("acme", "acme.com")
    assert await tenancy.domains.list("acme") == []


async def test_the_primary_domain_is_chosen_among_the_verified(tenancy: Tenancy, checker) -> None:
    assert (await tenancy.domains.set_primary("acme", "acme.com")).is_primary
    await tenancy.domains.add("acme", "acme.org")
    with pytest.raises(DomainNotFoundError, match="verify it first"):
        await tenancy.domains.set_primary("acme", "acme.org")
    checker.proven.add("acme.org")
    await tenancy.domains.verify("acme", "acme.org")
    await tenancy.domains.set_primary("acme", "acme.org")
    assert {each.host: each.is_primary for each in await tenancy.domains.list("acme")} == {
        "acme.com": False,
        "acme.org": True,
    }


@pytest.mark.parametrize("method", ["verify", "revoke", "remove", "set_primary"])
async def test_a_domain_of_another_tenant_is_unknown(tenancy: Tenancy, method: str) -> None:
    with pytest.raises(DomainNotFoundError):
        await getattr(tenancy.domains, method)("globex", "acme.com")
    assert await tenancy.domains.find("acme.com") == (await tenancy.get_tenant("acme")).id


@pytest.mark.parametrize("method", ["add", "verify", "revoke", "remove", "set_primary"])
async def test_an_unknown_tenant_and_a_malformed_host_are_refused(tenancy: Tenancy, method: str) -> None:
    with pytest.raises(TenantNotFoundError):
        await getattr(tenancy.domains, method)("nobody", "acme.com")
    with pytest.raises(InvalidDomainError):
        await getattr(tenancy.domains, method)("acme", "not a host")


async def test_500_first_requests_for_a_host_are_one_query(tenancy: Tenancy) -> None:
    before = loads(tenancy)
    found = await asyncio.gather(*(identifier_of(tenancy, "acme.com") for _ in range(500)))
    assert set(found) == {"acme"}
    assert loads(tenancy) == before + 1


async def test_a_known_host_is_remembered_for_cache_ttl(tenancy: Tenancy, clock) -> None:
    await tenancy.domains.find("acme.com")
    before = loads(tenancy)
    clock.now = 59.9
    await tenancy.domains.find("acme.com")
    assert loads(tenancy) == before
    clock.now = 60
    await tenancy.domains.find("acme.com")
    assert loads(tenancy) == before + 1


async def test_an_unknown_host_is_remembered_briefly(tenancy: Tenancy, clock) -> None:
    before = loads(tenancy)
    for moment in (0, 4.9, 5):
        clock.now = moment
        assert await tenancy.domains.find("unknown.com") is None
    assert loads(tenancy) == before + 2


async def test_unknown_hosts_are_remembered_boundedly_and_push_no_known_one_out(tenancy: Tenancy) -> None:
    await tenancy.domains.find("acme.com")
    for number in range(100):
        await tenancy.domains.find(f"h{number}.com")
    assert (tenancy.domains.stats()["known"], tenancy.domains.stats()["unknown"]) == (1, 10)
    before = loads(tenancy)
    await tenancy.domains.find("acme.com")
    assert loads(tenancy) == before


async def test_known_hosts_are_remembered_boundedly(tenancy: Tenancy, checker) -> None:
    for number in range(5):
        host = f"h{number}.com"
        checker.proven.add(host)
        await tenancy.domains.add("acme", host)
        await tenancy.domains.verify("acme", host)
        await tenancy.domains.find(host)
    assert tenancy.domains.stats()["known"] == 3


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "x" * 300, "a..b", ""])
async def test_a_host_that_can_be_nobodys_is_not_asked_for(tenancy: Tenancy, host: str) -> None:
    before = loads(tenancy)
    assert await tenancy.domains.find(host) is None
    assert (loads(tenancy), tenancy.domains.stats()["unknown"]) == (before, 0)


async def test_a_rename_is_seen_at_once(tenancy: Tenancy) -> None:
    assert await identifier_of(tenancy, "acme.com") == "acme"
    await tenancy.update_tenant("acme", identifier="acme-inc")
    await tenancy.create_tenant("acme")
    assert await identifier_of(tenancy, "acme.com") == "acme-inc"


@pytest.mark.parametrize("drop_data", [True, False])
async def test_a_deleted_tenants_host_names_nobody_and_is_free(tenancy: Tenancy, drop_data: bool) -> None:
    assert await identifier_of(tenancy, "acme.com") == "acme"
    await tenancy.delete_tenant("acme", drop_data=drop_data)
    assert await identifier_of(tenancy, "acme.com") is None
    await tenancy.domains.add("globex", "acme.com")
    await tenancy.domains.verify("globex", "acme.com")
    assert await identifier_of(tenancy, "acme.com") == "globex"


async def test_a_deleted_tenants_host_asks_the_store_once(tenancy: Tenancy) -> None:
    await identifier_of(tenancy, "acme.com")
    await tenancy.delete_tenant("acme")
    before = tenancy.stats()["loads"]
    for _ in range(5):
        assert await identifier_of(tenancy, "acme.com") is None
    assert tenancy.stats()["loads"] == before + 1


async def test_a_new_tenant_with_an_old_name_gets_no_old_domain(tenancy: Tenancy) -> None:
    await identifier_of(tenancy, "acme.com")
    await tenancy.delete_tenant("acme")
    await tenancy.create_tenant("acme")
    assert await identifier_of(tenancy, "acme.com") is None
    assert await tenancy.domains.list("acme") == []


class Gate(InMemoryTenantStore):
    """Answers a look-up by host when it is told to, with what it had when it was asked."""

    def __init__(self) -> None:
        super().__init__()
        self.may_answer = asyncio.Event()
        self.may_answer.set()
        self.asked = 0
        self.error: Exception | None = None

    async def find_domain(self, host: str) -> Domain | None:
        self.asked += 1
        found = await super().find_domain(host)
        await self.may_answer.wait()
        if self.error is not None:
            raise self.error
        return found


def gated(gate: Gate, checker, folder: Path) -> Tenancy:
    settings = TenancySettings(database_url=f"sqlite:///{folder}/tenancy.db", store_timeout=0.05)
    return Tenancy(settings, resolvers=[HostResolver()], metadata=Base.metadata, store=gate, domain_checker=checker)


async def test_a_load_that_a_verification_overtook_is_not_kept(tmp_path: Path, checker) -> None:
    gate = Gate()
    async with gated(gate, checker, tmp_path) as tenancy:
        acme = await tenancy.create_tenant("acme")
        checker.proven.add("acme.com")
        await tenancy.domains.add("acme", "acme.com")
        gate.may_answer.clear()
        slow = asyncio.create_task(tenancy.domains.find("acme.com"))
        while gate.asked < 2:
            await asyncio.sleep(0)
        await tenancy.domains.verify("acme", "acme.com")
        gate.may_answer.set()
        assert await slow is None
        assert await tenancy.domains.find("acme.com") == acme.id


async def test_a_store_that_fails_or_hangs_is_a_503_and_known_hosts_are_served(tmp_path: Path, checker) -> None:
    gate = Gate()
    async with gated(gate, checker, tmp_path) as tenancy:
        await tenancy.create_tenant("acme")
        checker.proven.add("acme.com")
        await tenancy.domains.add("acme", "acme.com")
        await tenancy.domains.verify("acme", "acme.com")
        assert await identifier_of(tenancy, "acme.com") == "acme"
        gate.error = OperationalError("SELECT", {}, Exception("away"))
        with pytest.raises(StoreUnavailableError):
            await tenancy.domains.find("other.com")
        gate.may_answer.clear()
        with pytest.raises(StoreUnavailableError):
            await tenancy.domains.find("other.com")
        assert await identifier_of(tenancy, "acme.com") == "acme"


class OnlyTenants:
    """A store of tenants that keeps no domains."""

    def __init__(self) -> None:
        kept = InMemoryTenantStore()
        for name in ("open", "close", "add", "get", "get_by_identifier", "page", "save", "remove", "retained"):
            setattr(self, name, getattr(kept, name))


def test_a_store_without_domains_does_for_everything_else(tmp_path: Path) -> None:
    settings = TenancySettings(database_url=f"sqlite:///{tmp_path}/tenancy.db")
    store: TenantStore = OnlyTenants()
    tenancy = Tenancy(settings, resolvers=[HeaderResolver()], metadata=Base.metadata, store=store)
    with pytest.raises(ConfigurationError, match="DomainStore"):
        _ = tenancy.domains
    with pytest.raises(ConfigurationError, match="DomainStore"):
        Tenancy(settings, resolvers=[HostResolver()], metadata=Base.metadata, store=store)
    assert tenancy.stats()["domains"] == {}


async def identifier_of(tenancy: Tenancy, host: str) -> str | None:
    tenant = await tenancy.domains.tenant_of(host)
    return tenant and tenant.identifier
