"""Who did what to which tenant is on record, with the act or not at all."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from prepared_stores import new_store_database
from support import make_tenancy

from fastapi_tenancy import (
    AuditEntry,
    ConfigurationError,
    InMemoryTenantStore,
    InvalidIdentifierError,
    RequestError,
    StoreUnavailableError,
    Tenancy,
    Tenant,
    TenantNotFoundError,
    acting_as,
    current_actor,
)


async def actions(tenancy: Tenancy, identifier: str | None = None) -> list[str]:
    return [entry.action for entry in (await tenancy.audit_trail(identifier)).items]


async def test_an_entry_says_who_did_what_when_to_whom(tmp_path: Path) -> None:
    moment = datetime(2026, 1, 2, 3, 4, 5, 6, tzinfo=UTC)
    async with make_tenancy(tmp_path, now=lambda: moment) as tenancy:
        with acting_as("ada@example.com"):
            acme = await tenancy.create_tenant("acme")
        newest = (await tenancy.audit_trail()).items[0]
        details = {"name": "acme", "settings": []}
        expected = ("created", moment, "ada@example.com", acme.id, "acme", details)
        assert (newest.action, newest.at, newest.actor, newest.tenant_id, newest.identifier, newest.details) == expected


async def test_the_actor_is_the_innermost_and_ends_with_its_block() -> None:
    assert current_actor() is None
    with acting_as("ada"):
        with acting_as("grace"):
            assert current_actor() == "grace"
        with acting_as(None):
            assert current_actor() is None
        assert current_actor() == "ada"
    assert current_actor() is None


@pytest.mark.parametrize("name", ["", "  ", "a\nb", "a\0b", "x" * 256])
def test_what_cannot_be_stored_is_no_actor(name: str) -> None:
    with pytest.raises(ValueError, match="255 printable"):
        acting_as(name)


async def test_concurrent_acts_have_their_own_actors(on_sqlite: Tenancy) -> None:
    async def suspend(identifier: str, actor: str) -> None:
        with acting_as(actor):
            await asyncio.sleep(0)
            await on_sqlite.suspend_tenant(identifier)

    await asyncio.gather(suspend("acme", "ada"), suspend("globex", "grace"))
    found = {entry.identifier: entry.actor for entry in (await on_sqlite.audit_trail(limit=2)).items}
    assert found == {"acme": "ada", "globex": "grace"}


async def test_a_tenants_trail_outlives_it_and_follows_its_renames(on_sqlite: Tenancy) -> None:
    await on_sqlite.update_tenant("acme", identifier="acme-inc")
    assert await actions(on_sqlite, "acme-inc") == ["renamed", "created", "provisioned"]
    await on_sqlite.delete_tenant("acme-inc", drop_data=True)
    whole = ["deleted", "deleting", "renamed", "created", "provisioned"]
    assert await actions(on_sqlite, "acme-inc") == whole
    assert await actions(on_sqlite, "acme") == whole


async def test_a_tenants_trail_is_not_that_of_who_had_its_identifier_before(on_sqlite: Tenancy) -> None:
    await on_sqlite.delete_tenant("acme")
    await on_sqlite.create_tenant("acme")
    assert await actions(on_sqlite, "acme") == ["created", "provisioned"]


async def test_the_trail_of_nobody_is_refused(on_sqlite: Tenancy) -> None:
    with pytest.raises(TenantNotFoundError):
        await on_sqlite.audit_trail("nobody")
    with pytest.raises(InvalidIdentifierError):
        await on_sqlite.audit_trail("No Body")


async def test_pages_join_to_the_whole_trail(on_sqlite: Tenancy) -> None:
    whole = (await on_sqlite.audit_trail()).items
    first = await on_sqlite.audit_trail(limit=3)
    second = await on_sqlite.audit_trail(limit=3, after=first.next)
    assert [*first.items, *second.items] == whole
    assert (first.next, second.next) == (first.items[-1].id, None)
    with pytest.raises(ValueError, match="1 to 1000"):
        await on_sqlite.audit_trail(limit=0)


async def test_pruning_is_on_record_itself(tmp_path: Path) -> None:
    moment = datetime(2026, 1, 2, tzinfo=UTC)
    async with make_tenancy(tmp_path, now=lambda: moment, store=InMemoryTenantStore()) as tenancy:
        await tenancy.create_tenant("acme")
        assert await tenancy.prune_audit(before=moment) == 0
        with acting_as("ada"):
            assert await tenancy.prune_audit(before=moment + timedelta(seconds=1)) == 3
        [entry] = (await tenancy.audit_trail()).items
        assert (entry.action, entry.actor, entry.details) == (
            "audit_pruned",
            "ada",
            {"before": "2026-01-02T00:00:01+00:00"},
        )
        with pytest.raises(ValueError, match="time zone"):
            await tenancy.prune_audit(before=datetime(2026, 1, 2))  # noqa: DTZ001 - that is the point


async def test_no_secret_is_written(tmp_path: Path) -> None:
    tenancy = make_tenancy(tmp_path)
    async with tenancy:
        await tenancy.create_tenant("acme", settings={"api_key": "PLANTED-1"})
        await tenancy.update_tenant("acme", settings={"api_key": "PLANTED-2"})
        issued = await tenancy.tokens.create("acme", name="import")
        impersonation = await tenancy.impersonate("acme", actor="ada", reason="a ticket")
        session = await tenancy.redeem(impersonation.token)
        written = repr((await tenancy.audit_trail()).items)
    assert "api_key" in written
    for secret in ("PLANTED", issued.token, impersonation.token, session.token):
        assert secret not in written


class UnheardStore(InMemoryTenantStore):
    """Writes an activation, and its answer is lost."""

    async def save(self, tenant: Tenant, *, audit: Sequence[AuditEntry] = ()) -> Tenant:
        saved = await super().save(tenant, audit=audit)
        if tenant.is_active:
            raise OSError("the connection is gone")
        return saved


async def test_a_creation_that_is_undone_after_it_was_written_is_on_record_as_such(tmp_path: Path) -> None:
    async with make_tenancy(tmp_path, store=UnheardStore()) as tenancy:
        with pytest.raises(StoreUnavailableError):
            await tenancy.create_tenant("acme")
        with pytest.raises(TenantNotFoundError):
            await tenancy.get_tenant("acme")
        trail = (await tenancy.audit_trail("acme")).items
    assert [entry.action for entry in trail] == ["deleted", "created", "provisioned"]
    assert trail[0].details == {"creation": "failed"}


class ListSink:
    def __init__(self) -> None:
        self.entries: list[AuditEntry] = []

    async def write(self, entry: AuditEntry) -> None:
        self.entries.append(entry)


async def test_a_sink_gets_the_entries_instead_of_the_store(tmp_path: Path) -> None:
    sink = ListSink()
    async with make_tenancy(tmp_path, audit=sink) as tenancy:
        await tenancy.create_tenant("acme")
        with acting_as("ada"):
            await tenancy.delete_tenant("acme")
        assert await tenancy.store.list_audit(10) == []
        with pytest.raises(ConfigurationError, match=r"Tenancy\(audit=…\)"):
            await tenancy.audit_trail()
    assert [(entry.action, entry.actor) for entry in sink.entries] == [
        ("provisioned", None),
        ("created", None),
        ("deleting", "ada"),
        ("deleted", "ada"),
    ]


async def test_a_sink_that_fails_cannot_undo_the_act(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    class Broken:
        async def write(self, entry: AuditEntry) -> None:
            raise OSError("away")

    async with make_tenancy(tmp_path, audit=Broken()) as tenancy:
        await tenancy.create_tenant("acme")
        assert (await tenancy.get_tenant("acme")).is_active
    assert [record.action for record in caplog.records if record.message == "audit sink failed"] == [
        "provisioned",
        "created",
    ]


@pytest.fixture(params=["sqlite", "postgresql", "mariadb"])
async def on_a_database(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Tenancy]:
    servers = {"postgresql": "postgresql_url", "mariadb": "mysql_url"}
    given = {}
    if request.param in servers:
        given["database_url"] = new_store_database(request.getfixturevalue(servers[request.param]))
        given["tenant_database_url"] = f"sqlite:///{tmp_path}/{{id}}.db"
    async with make_tenancy(tmp_path, **given) as tenancy:
        await tenancy.create_tenant("acme")
        yield tenancy


async def run(tenancy: Tenancy, *statements: str) -> None:
    def work(connection) -> None:
        for statement in statements:
            connection.exec_driver_sql(statement)

    await tenancy.store._write(work)


# What makes the transaction of the next entry fail; where the database can, not before its commit.
FAILURES = {
    "sqlite": (
        "CREATE TABLE nowhere (id INTEGER PRIMARY KEY)",
        "CREATE TABLE orphans (id INTEGER REFERENCES nowhere (id) DEFERRABLE INITIALLY DEFERRED)",
        "CREATE TRIGGER fail AFTER INSERT ON tenancy_audit BEGIN INSERT INTO orphans VALUES (1); END",
    ),
    "postgresql": (
        """CREATE FUNCTION public.fail() RETURNS trigger LANGUAGE plpgsql AS
        $$ BEGIN PERFORM pg_terminate_backend(pg_backend_pid()); RETURN NULL; END $$""",
        """CREATE CONSTRAINT TRIGGER fail AFTER INSERT ON tenancy_audit DEFERRABLE INITIALLY DEFERRED
        FOR EACH ROW EXECUTE FUNCTION public.fail()""",
    ),
    "mysql": ("CREATE TRIGGER fail BEFORE INSERT ON tenancy_audit FOR EACH ROW SIGNAL SQLSTATE '45000'",),
}


async def test_an_act_whose_entry_cannot_be_committed_is_not_done(on_a_database: Tenancy) -> None:
    tenancy = on_a_database
    issued = await tenancy.tokens.create("acme", name="import")
    before, trail = await tenancy.get_tenant("acme"), await tenancy.audit_trail()
    await run(tenancy, *FAILURES[tenancy.store.url.get_backend_name().replace("mariadb", "mysql")])
    for act in (
        lambda: tenancy.suspend_tenant("acme"),
        lambda: tenancy.update_tenant("acme", identifier="acme-inc"),
        lambda: tenancy.delete_tenant("acme"),
        lambda: tenancy.tokens.create("acme", name="another"),
        lambda: tenancy.tokens.revoke("acme", issued.token_id),
        lambda: tenancy.domains.add("acme", "app.acme.com"),
        lambda: tenancy.create_tenant("globex"),
    ):
        with pytest.raises(RequestError):  # which one, the database decides
            await act()
    assert await tenancy.get_tenant("acme") == before
    assert await tenancy.audit_trail() == trail
    assert [record.token_id for record in (await tenancy.tokens.list("acme")).items] == [issued.token_id]
    assert list(await tenancy.domains.list("acme")) == []
    with pytest.raises(TenantNotFoundError):
        await tenancy.get_tenant("globex")
