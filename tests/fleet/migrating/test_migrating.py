"""All tenants are brought to a revision, and each that is not is named with the reason."""

import asyncio
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from fleet.migrating.standing import execute, mend, recorded, spoil, truth
from keys.key_support import SEALING_KEY, needs_sqlcipher, random_key

from fastapi_tenancy import ConfigurationError, Tenancy, TenantNotFoundError, TenantStatus
from fastapi_tenancy.fleet import MigrationProgress, MigrationReport, MigrationStatus

NAMES = ("acme", "globex", "initech")

ROWS = """
from fastapi_tenancy import TenantScoped


class Note(TenantScoped, Base):
    __tablename__ = "notes"
    id: Mapped[int] = mapped_column(primary_key=True)
"""


def left_out(report: MigrationReport) -> dict[str, str]:
    return {each.tenant: each.reason for each in report.skipped}


@pytest.fixture
async def tenancy(fleet: Any, threads: Any) -> Any:
    """Open, and of newer code than its tenants."""
    fleet.advance()
    async with fleet.tenancy() as tenancy:
        yield tenancy


async def test_whoever_is_behind_is_migrated_and_whoever_is_not_is_not_named(tenancy: Tenancy) -> None:
    first = await tenancy.migrate(tenants=["acme"])
    assert (first.migrated, first.failed, first.skipped) == (["acme"], [], [])
    assert sorted((await tenancy.migrate()).migrated) == ["globex", "initech"]
    assert await truth(tenancy, *NAMES) == await recorded(tenancy, *NAMES) == ["bb20"] * 3
    assert await tenancy.migrate() == MigrationReport([], [], [])


async def test_a_suspended_tenant_is_migrated_too(tenancy: Tenancy) -> None:
    await tenancy.suspend_tenant("globex")
    assert sorted((await tenancy.migrate()).migrated) == sorted(NAMES)
    assert (await tenancy.get_tenant("globex")).status is TenantStatus.SUSPENDED


async def test_a_tenant_that_is_suspended_in_the_middle_is_migrated_too(tenancy: Tenancy, threads: Any) -> None:
    threads.hold()
    run = asyncio.create_task(tenancy.migrate(workers=1))
    await threads.came.wait()
    for identifier in NAMES:
        await tenancy.suspend_tenant(identifier)
    threads.turn.set()
    assert sorted((await run).migrated) == sorted(NAMES)
    assert await recorded(tenancy, *NAMES) == ["bb20"] * 3


@pytest.mark.parametrize("status", [TenantStatus.PROVISIONING, TenantStatus.DELETING])
async def test_whoever_comes_or_goes_is_left_out(tenancy: Tenancy, status: TenantStatus) -> None:
    await tenancy.store.save(replace(await tenancy.get_tenant("acme"), status=status))
    report = await tenancy.migrate()
    assert left_out(report) == {"acme": f"it is {status.value}"}
    assert sorted(report.migrated) == ["globex", "initech"]


async def test_whoever_is_being_moved_is_left_out(tenancy: Tenancy) -> None:
    acme = await tenancy.get_tenant("acme")
    now = datetime.now(UTC)

    async def moving() -> None:
        for seconds in range(15, 60):
            await tenancy.store.claim([acme.id], "move", "mover", now, now + timedelta(seconds=seconds))
            await tenancy.store.renew([acme.id], "mover", now + timedelta(seconds=seconds))
            await asyncio.sleep(0.01)

    mover = asyncio.create_task(moving())
    await asyncio.sleep(0.01)
    assert left_out(await tenancy.migrate(tenants=["acme"])) == {"acme": "it is being moved"}
    mover.cancel()


async def test_a_tenant_whose_place_cannot_be_told_is_left_out(tenancy: Tenancy) -> None:
    await tenancy.store.save(replace(await tenancy.get_tenant("acme"), database_url="sqlite:///elsewhere.db"))
    assert "restore manager_type" in left_out(await tenancy.migrate())["acme"]


@needs_sqlcipher
async def test_an_encrypted_tenant_whose_key_is_not_stored_is_migrated_with_its_key(fleet: Any, threads: Any) -> None:
    key = random_key()
    async with fleet.tenancy(encryption_keys=[SEALING_KEY]) as tenancy:
        await tenancy.create_tenant("hooli", encrypted=True, key_management_mode="unmanaged", key=key)
        fleet.advance()
        report = await tenancy.migrate()
        assert sorted(report.migrated) == sorted(NAMES)
        assert "the key of 'hooli' is not stored" in left_out(report)["hooli"]
        assert (await tenancy.migration_status()).behind == ["hooli"]
        assert (await tenancy.migrate(keys={"hooli": key})).migrated == ["hooli"]


async def test_a_failure_is_reported_and_stops_nobody(tenancy: Tenancy) -> None:
    await spoil(tenancy, "globex")
    report = await tenancy.migrate()
    assert sorted(report.migrated) == ["acme", "initech"]
    (failure,) = report.failed
    assert failure.tenant == "globex"
    assert "OperationalError" in failure.error
    assert "tags already exists" in failure.error
    assert await truth(tenancy, "globex") == ["aa1"]


async def test_whose_file_is_missing_has_failed(tenancy: Tenancy) -> None:
    tenant = await tenancy.get_tenant("acme")
    await tenancy.provider.for_tenant(tenant).drop_tenant(tenant)
    (failure,) = (await tenancy.migrate()).failed
    assert failure.tenant == "acme"


async def test_what_is_anothers_is_not_touched(tenancy: Tenancy) -> None:
    await execute(tenancy, "acme", "UPDATE tenancy_owner SET tenant_id = 'somebody'")
    (failure,) = (await tenancy.migrate()).failed
    assert "belong to somebody" in failure.error
    assert await truth(tenancy, "acme") == ["aa1"]


async def test_whoever_failed_is_behind_until_it_succeeds(tenancy: Tenancy) -> None:
    await spoil(tenancy, "globex")
    await tenancy.migrate()
    assert await tenancy.migration_status() == MigrationStatus("bb20", 2, ["globex"], ["globex"])
    await mend(tenancy, "globex")
    assert (await tenancy.migrate()).migrated == ["globex"]
    assert await tenancy.migration_status() == MigrationStatus("bb20", 3, [], [])


async def test_the_ledger_holds_each_attempt(tenancy: Tenancy) -> None:
    await spoil(tenancy, "globex")
    started = datetime.now(UTC)
    await tenancy.migrate()
    ids = {(await tenancy.get_tenant(each)).id: each for each in NAMES}
    ledger = {ids[key]: each for key, each in (await tenancy.store.last_migrations()).items()}
    assert {(each.from_revision, each.to_revision) for each in ledger.values()} == {("aa1", "bb20")}
    assert len({each.run_id for each in ledger.values()}) == 1
    assert all(started <= each.started_at <= each.finished_at <= datetime.now(UTC) for each in ledger.values())
    assert [name for name, each in ledger.items() if each.error] == ["globex"]


async def test_where_a_canary_fails_no_other_is_begun(tenancy: Tenancy, threads: Any) -> None:
    await spoil(tenancy, *NAMES)
    report = await tenancy.migrate(canary=1)
    assert len(threads.orders) == len(report.failed) == 1
    assert set(left_out(report).values()) == {"a tenant of the canary failed"}


async def test_after_the_canary_come_the_others(tenancy: Tenancy, threads: Any) -> None:
    seen: list[MigrationProgress] = []
    report = await tenancy.migrate(canary=2, on_progress=seen.append)
    assert sorted(report.migrated) == sorted(NAMES)
    assert [(each.done, each.total, each.error) for each in seen] == [(1, 3, None), (2, 3, None), (3, 3, None)]
    assert [each.tenant for each in seen] == report.migrated


async def test_after_so_many_failures_no_other_is_begun(tenancy: Tenancy, threads: Any) -> None:
    await spoil(tenancy, *NAMES)
    report = await tenancy.migrate(max_failures=2, workers=1)
    assert len(threads.orders) == len(report.failed) == 2
    assert list(left_out(report).values()) == ["2 failed before, which is as many as may"]


async def test_nobody_is_downgraded(tenancy: Tenancy) -> None:
    await tenancy.migrate(tenants=["acme"])
    report = await tenancy.migrate("aa1")
    assert left_out(report) == {"acme": "it is at revision bb20, beyond aa1; nothing is ever downgraded"}
    assert report.migrated == []
    assert await truth(tenancy, *NAMES) == ["bb20", "aa1", "aa1"]


async def test_newer_code_is_not_downgraded_either(tenancy: Tenancy) -> None:
    await execute(tenancy, "acme", "UPDATE alembic_version SET version_num = 'ff9'")
    assert "at revision ff9, beyond bb20" in left_out(await tenancy.migrate())["acme"]


async def test_what_is_recorded_wrongly_is_mended_by_a_look(tenancy: Tenancy) -> None:
    await execute(tenancy, "acme", "UPDATE alembic_version SET version_num = 'bb20'")
    await execute(tenancy, "globex", "DROP TABLE alembic_version")
    status = await tenancy.migration_status()
    assert (status.current, status.behind) == (1, ["globex", "initech"])
    assert await recorded(tenancy, *NAMES) == ["bb20", None, "aa1"]


async def test_a_stamp_is_for_those_without_a_revision(tenancy: Tenancy) -> None:
    await execute(tenancy, "acme", "DROP TABLE alembic_version")
    await spoil(tenancy, "acme")
    report = await tenancy.migrate(stamp=True)
    assert report.migrated == ["acme"]
    assert set(left_out(report)) == {"globex", "initech"}
    assert await truth(tenancy, *NAMES) == ["bb20", "aa1", "aa1"]
    assert await recorded(tenancy, *NAMES) == ["bb20", "aa1", "aa1"]


async def test_whoever_is_named_is_stamped_in_any_case(tenancy: Tenancy) -> None:
    assert (await tenancy.migrate("bb20", stamp=True, tenants=["globex"])).migrated == ["globex"]
    assert await truth(tenancy, "globex") == ["bb20"]


async def test_two_runs_at_once_migrate_nobody_twice(tenancy: Tenancy, fleet: Any, threads: Any) -> None:
    async with fleet.tenancy() as other:
        reports = await asyncio.gather(tenancy.migrate(), other.migrate(), tenancy.migrate())
    assert sorted(name for report in reports for name in report.migrated) == sorted(NAMES)
    assert len(threads.orders) == 3
    assert not [report.failed for report in reports if report.failed]


async def test_what_a_dead_run_holds_is_waited_for(tenancy: Tenancy) -> None:
    acme, now = await tenancy.get_tenant("acme"), datetime.now(UTC)
    await tenancy.store.claim([acme.id], "migration", "dead", now, now + timedelta(seconds=0.3))
    assert sorted((await tenancy.migrate()).migrated) == sorted(NAMES)


async def test_what_a_run_that_lives_holds_is_left_to_it(tenancy: Tenancy, threads: Any) -> None:
    threads.hold()
    first = asyncio.create_task(tenancy.migrate(tenants=["acme"]))
    await threads.came.wait()
    second = asyncio.create_task(tenancy.migrate(tenants=["acme"]))
    await asyncio.sleep(0.1)
    acme = await tenancy.get_tenant("acme")
    holder = (await tenancy.store.last_migrations())[acme.id].run_id
    await tenancy.store.renew([acme.id], holder, datetime.now(UTC) + timedelta(minutes=1))
    assert left_out(await second) == {"acme": "another run is migrating it"}
    threads.turn.set()
    assert (await first).migrated == ["acme"]


async def test_a_run_that_is_cancelled_says_so_and_lets_go(tenancy: Tenancy, threads: Any) -> None:
    threads.hold()
    run = asyncio.create_task(tenancy.migrate(tenants=["acme"]))
    await threads.came.wait()
    run.cancel()
    with pytest.raises(asyncio.CancelledError):
        await run
    acme = await tenancy.get_tenant("acme")
    assert (acme.work, acme.revision) == (None, "aa1")
    assert (await tenancy.store.last_migrations())[acme.id].error == "it was cancelled"


async def test_a_migration_is_told_and_audited(tenancy: Tenancy) -> None:
    heard = []
    tenancy.on("migrated")(lambda event: heard.append(event))
    await tenancy.migrate(tenants=["acme"])
    (event,) = heard
    assert (event.tenant.identifier, event.tenant.revision) == ("acme", "bb20")
    assert dict(event.details) == {"from": "aa1", "to": "bb20"}
    entry = (await tenancy.audit_trail("acme", limit=1)).items[0]
    assert (entry.action, dict(entry.details)) == ("migrated", {"from": "aa1", "to": "bb20"})


async def test_a_migration_cannot_be_stopped_by_a_veto(tenancy: Tenancy) -> None:
    with pytest.raises(ConfigurationError, match="cannot be stopped"):
        tenancy.on("migrated", veto=True)


async def test_tenants_who_share_tables_are_migrated_as_one(fleet: Any, threads: Any) -> None:
    async with fleet.tenancy(ROWS, manager_type="shared-profile", database_url="sqlite:///rows.db") as tenancy:
        for identifier in NAMES:
            await tenancy.create_tenant(identifier)
        fleet.advance()
        assert sorted((await tenancy.migrate(tenants=["globex"])).migrated) == sorted(NAMES)
        assert len(threads.orders) == 1
        assert await recorded(tenancy, *NAMES) == ["bb20"] * 3
        assert {each.error for each in (await tenancy.store.last_migrations()).values()} == {None}


async def test_where_there_is_no_revision_there_is_nothing_to_do(fleet: Any) -> None:
    (fleet.shop.migrations / "versions" / "aa1.py").unlink()
    async with fleet.tenancy() as tenancy:
        assert await tenancy.migrate() == MigrationReport((), (), ())
        assert await tenancy.migration_status() == MigrationStatus(None, 3, [], [])


async def test_what_cannot_be_asked_is_refused(tenancy: Tenancy, on_sqlite: Tenancy) -> None:
    with pytest.raises(ConfigurationError, match=r"TenancySettings\.migrations"):
        await on_sqlite.migrate()
    with pytest.raises(ConfigurationError, match="zz9"):
        await tenancy.migrate("zz9")
    with pytest.raises(TenantNotFoundError):
        await tenancy.migrate(tenants=["nobody"])
    for wrong in ({"workers": 0}, {"canary": -1}, {"max_failures": 0}, {"timeout": 0}):
        with pytest.raises(ValueError, match="at least 1"):
            await tenancy.migrate(**wrong)
