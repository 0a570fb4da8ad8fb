"""Doctor finds tenants whose tables are not those that the code wants, and says how to bring them there."""

from typing import Any

from fleet.doctor_support import found_by, only
from fleet.migrating.standing import execute, spoil
from shops import MODELS

NAMES = ["acme", "globex", "initech"]

TWO_TABLES = f"""{MODELS}
class Tag(Base):
    __tablename__ = "tags"
    id: Mapped[int] = mapped_column(primary_key=True)
"""


async def test_nothing_is_found_where_all_are_at_the_head(fleet: Any) -> None:
    assert await fleet.tenancy().doctor() == []


async def test_tenants_that_are_behind_are_not_served(fleet: Any) -> None:
    fleet.advance()
    found = await found_by("revisions", fleet.tenancy(TWO_TABLES))
    assert sorted((finding.severity, finding.tenant) for finding in found) == [("error", name) for name in NAMES]
    assert sorted(finding.remedy for finding in found) == [f"fastapi-tenancy migrate --tenant {name}" for name in NAMES]


async def test_why_the_last_attempt_failed_is_told(fleet: Any, threads: Any) -> None:
    fleet.advance()
    async with fleet.tenancy(TWO_TABLES) as tenancy:
        await spoil(tenancy, "globex")
        await tenancy.migrate()
    finding = await only("revisions", tenancy)
    assert (finding.tenant, "already exists" in finding.message) == ("globex", True)


async def test_what_is_recorded_and_not_true(fleet: Any) -> None:
    fleet.advance()
    tenancy = fleet.tenancy(TWO_TABLES)
    async with tenancy:
        await execute(tenancy, "acme", "UPDATE alembic_version SET version_num = 'bb20'")
        await execute(tenancy, "acme", "CREATE TABLE tags (id INTEGER)")
    found = [finding for finding in await found_by("revisions", tenancy) if finding.tenant == "acme"]
    assert [(finding.severity, finding.remedy) for finding in found] == [
        ("warning", "fastapi-tenancy migrate --tenant acme")
    ]


async def test_tables_of_newer_code(fleet: Any) -> None:
    tenancy = fleet.tenancy()
    async with tenancy:
        await execute(tenancy, "acme", "UPDATE alembic_version SET version_num = 'ffff'")
    found = await found_by("revisions", tenancy)
    assert {(finding.severity, finding.tenant) for finding in found} == {("warning", "acme")}
    assert "newer code" in found[-1].message


async def test_tables_that_the_models_have_and_no_migration_makes(fleet: Any) -> None:
    finding = await only("tenant-tables", fleet.tenancy(TWO_TABLES))
    assert (finding.severity, finding.tenant, "tags" in finding.message) == ("error", None, True)
    assert finding.remedy.startswith("alembic revision --autogenerate")


async def test_migrations_that_the_settings_do_not_name_any_more(fleet: Any) -> None:
    finding = await only("revisions", fleet.tenancy(migrations=None))
    assert (finding.severity, "TENANCY_MIGRATIONS" in finding.remedy) == ("warning", True)
