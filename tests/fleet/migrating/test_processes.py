"""Tenants are migrated in processes, whose end is not ours."""

from typing import Any

from fleet.migrating.standing import execute, recorded, truth

_BEGIN = 'op.create_table("tags", sa.Column("id", sa.Integer, primary_key=True))\n'


async def test_a_process_that_hangs_is_killed_and_leaves_nothing(fleet: Any) -> None:
    fleet.advance(f"{_BEGIN}import time; time.sleep(60)")
    async with fleet.tenancy() as tenancy:
        report = await tenancy.migrate(tenants=["acme"], timeout=1)
        assert [each.error for each in report.failed] == ["it took longer than 1 s, and was ended"]
        assert await truth(tenancy, "acme") == ["aa1"]
        assert await execute(tenancy, "acme", "SELECT name FROM sqlite_master WHERE name = 'tags'") == []


async def test_a_process_that_dies_fails_one_tenant_and_is_replaced(fleet: Any) -> None:
    fleet.advance(f'{_BEGIN}if "bad" in sa.inspect(op.get_bind()).get_table_names(): import os; os._exit(7)')
    async with fleet.tenancy() as tenancy:
        await execute(tenancy, "globex", "CREATE TABLE bad (id INTEGER)")
        report = await tenancy.migrate(workers=1)
        assert sorted(report.migrated) == ["acme", "initech"]
        assert [(each.tenant, each.error) for each in report.failed] == [
            ("globex", "the process that migrates died, with status 7")
        ]
        assert await truth(tenancy, "globex") == ["aa1"]


async def test_what_migrations_print_and_read_is_no_answer_and_no_order(fleet: Any) -> None:
    fleet.advance('print("Hello")\nassert __import__("sys").stdin.read() == ""\n' + _BEGIN.strip())
    async with fleet.tenancy() as tenancy:
        report = await tenancy.migrate(tenants=["acme"])
        assert (report.migrated, report.failed) == (["acme"], [])
        assert await recorded(tenancy, "acme") == ["bb20"]
