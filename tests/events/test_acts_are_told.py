"""Each act of a Tenancy is told once it is done, and none that has failed."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support import make_tenancy

from fastapi_tenancy import (
    EventKind,
    Tenancy,
    TenancyEvent,
    TenantConflictError,
    TenantExistsError,
    TenantNotFoundError,
    TenantStatus,
    TokenNotFoundError,
    VetoedError,
    acting_as,
)
from fastapi_tenancy.lifecycle import _kinds
from fastapi_tenancy.multitenant.domain_check import DNSChecker
from fastapi_tenancy.testing import tenant_named


class Proven:
    async def check(self, host: str, token: str) -> bool:
        return True


@pytest.fixture
async def heard() -> list[TenancyEvent]:
    return []


@pytest.fixture
async def tenancy(tmp_path: Path, heard: list[TenancyEvent], monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Tenancy]:
    monkeypatch.setattr(DNSChecker, "check", Proven.check)
    made = make_tenancy(tmp_path)

    @made.on(*EventKind)
    async def listen(event: TenancyEvent) -> None:
        heard.append(event)

    async with made as tenancy:
        await tenancy.create_tenant("acme", settings={"plan": "pro", "seats": 3})
        heard.clear()
        yield tenancy


def told(heard: list[TenancyEvent]) -> list[tuple[str, dict[str, Any]]]:
    return [(event.kind.value, dict(event.details)) for event in heard]


async def test_a_creation_is_told_when_the_tenant_is_active(tenancy: Tenancy, heard: list[TenancyEvent]) -> None:
    with acting_as("ada"):
        created = await tenancy.create_tenant("globex", name="Globex", settings={"plan": "secret"})
    assert told(heard) == [("provisioned", {}), ("created", {"name": "Globex", "settings": ["plan"]})]
    assert {(event.tenant, event.before, event.actor) for event in heard} == {(created, None, "ada")}


async def test_a_change_tells_names_and_no_values(tenancy: Tenancy, heard: list[TenancyEvent]) -> None:
    before = await tenancy.get_tenant("acme")
    after = await tenancy.update_tenant("acme", name="Acme Inc", settings={"plan": "pro", "key": "s3cret"})
    assert told(heard) == [("updated", {"changed": ["name", "settings.key", "settings.seats"]})]
    assert (heard[0].before, heard[0].tenant) == (before, after)


VALUES = st.dictionaries(st.sampled_from("abc"), st.integers(1000, 1003), max_size=3)


@given(VALUES, VALUES)
def test_of_changed_settings_exactly_the_names_are_told(before: dict[str, int], after: dict[str, int]) -> None:
    acme = tenant_named("acme", settings=before)
    told = _kinds(acme, replace(acme, settings=after))
    changed = sorted(f"settings.{key}" for key in "abc" if before.get(key) != after.get(key))
    assert told == {EventKind.UPDATED: {"changed": changed}}


async def test_a_rename_is_told_and_so_is_what_changes_with_it(tenancy: Tenancy, heard: list[TenancyEvent]) -> None:
    await tenancy.update_tenant("acme", identifier="acme-inc")
    await tenancy.update_tenant("acme-inc", identifier="acme", name="Acme")
    assert told(heard) == [
        ("renamed", {"from": "acme", "to": "acme-inc"}),
        ("renamed", {"from": "acme-inc", "to": "acme"}),
        ("updated", {"changed": ["name"]}),
    ]


async def test_a_status_is_told_where_it_changes(tenancy: Tenancy, heard: list[TenancyEvent]) -> None:
    for _ in range(2):
        await tenancy.suspend_tenant("acme")
    await tenancy.activate_tenant("acme")
    assert [event.kind for event in heard] == ["suspended", "activated"]
    assert heard[0].tenant.status is TenantStatus.SUSPENDED


@pytest.mark.parametrize("drop_data", [True, False])
async def test_a_deletion_is_told_when_it_begins_and_when_it_is_done(
    tenancy: Tenancy, heard: list[TenancyEvent], drop_data: bool
) -> None:
    await tenancy.delete_tenant("acme", drop_data=drop_data)
    assert told(heard) == [("deleting", {}), ("deleted", {"data": "dropped" if drop_data else "kept"})]


async def test_a_deletion_that_is_resumed_is_told_once(
    tenancy: Tenancy, heard: list[TenancyEvent], monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fails(*_: object, **__: object) -> None:
        raise OSError("away")

    with monkeypatch.context() as patched:
        patched.setattr(tenancy.provider.provide({}), "remove_tenant", fails)
        with pytest.raises(OSError, match="away"):
            await tenancy.delete_tenant("acme")
    await tenancy.delete_tenant("acme")
    assert [event.kind for event in heard] == ["deleting", "deleted"]


async def test_of_many_that_delete_at_once_one_tells(tenancy: Tenancy, heard: list[TenancyEvent]) -> None:
    await asyncio.gather(*(tenancy.delete_tenant("acme") for _ in range(4)), return_exceptions=True)
    assert [event.kind for event in heard] == ["deleting", "deleted"]


async def test_tokens_and_domains_are_told(tenancy: Tenancy, heard: list[TenancyEvent]) -> None:
    issued = await tenancy.tokens.create("acme", name="import", scopes=["notes:read"], expires_in=60)
    await tenancy.tokens.revoke("acme", issued.token_id)
    for _ in range(2):  # the second time it stands already
        await tenancy.domains.add("acme", "app.acme.com")
        await tenancy.domains.verify("acme", "app.acme.com")
    await tenancy.domains.set_primary("acme", "app.acme.com")
    await tenancy.domains.revoke("acme", "app.acme.com")
    await tenancy.domains.add("acme", "app.acme.com")
    await tenancy.domains.remove("acme", "app.acme.com")
    host = {"host": "app.acme.com"}
    details = {"token_id": issued.token_id, "name": "import", "scopes": ["notes:read"], "expires_in": 60}
    assert told(heard) == [
        ("token_created", details),
        ("token_revoked", {"token_id": issued.token_id}),
        ("domain_added", host),
        ("domain_verified", host),
        ("domain_made_primary", host),
        ("domain_revoked", host),
        ("domain_added", host),
        ("domain_removed", host),
    ]


async def test_what_fails_is_not_told(
    tenancy: Tenancy, heard: list[TenancyEvent], monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fails(tenant) -> None:
        raise RuntimeError("disk full")

    with pytest.raises(TenantExistsError):
        await tenancy.create_tenant("acme")
    with pytest.raises(TenantConflictError):
        await tenancy.update_tenant("acme", name="late", version=1000)
    with pytest.raises(TenantNotFoundError):
        await tenancy.suspend_tenant("nobody")
    with pytest.raises(TokenNotFoundError):
        await tenancy.tokens.revoke("acme", "0" * 32)
    monkeypatch.setattr(tenancy.provider.provide({}), "create_tenant", fails)
    with pytest.raises(RuntimeError, match="disk full"):
        await tenancy.create_tenant("globex")
    assert heard == []
    assert {entry.action for entry in (await tenancy.audit_trail()).items} == {"provisioned", "created"}


VETOED = {
    "created": lambda tenancy: tenancy.create_tenant("globex"),
    "updated": lambda tenancy: tenancy.update_tenant("acme", name="no"),
    "renamed": lambda tenancy: tenancy.update_tenant("acme", identifier="no"),
    "suspended": lambda tenancy: tenancy.suspend_tenant("acme"),
    "deleted": lambda tenancy: tenancy.delete_tenant("acme", drop_data=True),
    "token_created": lambda tenancy: tenancy.tokens.create("acme", name="no"),
    "domain_added": lambda tenancy: tenancy.domains.add("acme", "no.acme.com"),
    "impersonated": lambda tenancy: tenancy.impersonate("acme", actor="ada", reason="no"),
}


@pytest.mark.parametrize("kind", VETOED)
async def test_a_veto_leaves_nothing_behind(
    tenancy: Tenancy, heard: list[TenancyEvent], tmp_path: Path, kind: str
) -> None:
    @tenancy.on(kind, veto=True)
    def against(event: TenancyEvent) -> None:
        raise RuntimeError("no")

    async def state() -> tuple[Any, ...]:
        tokens = (await tenancy.tokens.list("acme")).items
        files = sorted(tmp_path.glob("tenants/*"))
        return (await tenancy.list_tenants()).items, tokens, await tenancy.domains.list("acme"), files, heard[:]

    before, trail = await state(), await tenancy.audit_trail()
    with pytest.raises(VetoedError):
        await VETOED[kind](tenancy)
    assert (await state(), await tenancy.audit_trail()) == (before, trail)


async def test_a_deletion_that_was_begun_cannot_be_stopped(tenancy: Tenancy, heard: list[TenancyEvent]) -> None:
    acme = await tenancy.get_tenant("acme")
    await tenancy.store.save(replace(acme, status=TenantStatus.DELETING))

    @tenancy.on("deleted", veto=True)
    def against(event: TenancyEvent) -> None:
        raise RuntimeError("no")

    await tenancy.delete_tenant("acme")
    assert [event.kind for event in heard] == ["deleted"]


async def test_a_listener_may_act_itself(tenancy: Tenancy, heard: list[TenancyEvent]) -> None:
    @tenancy.on("created")
    async def first_token(event: TenancyEvent) -> None:
        await tenancy.tokens.create(event.tenant.identifier, name="first")

    await tenancy.create_tenant("globex")
    assert [event.kind for event in heard] == ["provisioned", "created", "token_created"]


async def test_profiles_are_told_when_they_are_opened_and_closed(tmp_path: Path) -> None:
    tenancy, heard = make_tenancy(tmp_path, profile_cache_size=1), []

    @tenancy.on("profile_opened", "profile_closed")
    async def listen(event: TenancyEvent) -> None:
        heard.append((event.kind.value, event.tenant.identifier))

    async with tenancy:
        for name in ("acme", "globex"):
            await tenancy.create_tenant(name)
        for name in ("acme", "acme", "globex"):
            async with tenancy.use(name):
                pass
    opened, closed = "profile_opened", "profile_closed"
    assert [what for what in heard if what[1] == "acme"] == [(opened, "acme"), (closed, "acme")]
    assert [what for what in heard if what[1] == "globex"] == [(opened, "globex"), (closed, "globex")]
