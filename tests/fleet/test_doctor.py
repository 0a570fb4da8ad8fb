"""Doctor runs all checks whatever they meet, finds nothing where nothing is wrong, and changes nothing."""

import asyncio
from collections.abc import AsyncIterator
from hashlib import sha256
from pathlib import Path

from fleet.doctor_support import deployment_of, found_by, grave, made, only
from support import add_notes, make_tenancy

from fastapi_tenancy import InMemoryTenantStore, Tenancy
from fastapi_tenancy.fleet.doctor import Deployment, Finding, examine
from fastapi_tenancy.fleet.doctor.checks import CHECKS
from fastapi_tenancy.fleet.doctor.deployment import UnknownError
from fastapi_tenancy.fleet.doctor.finding import Found, warning


async def test_a_healthy_deployment_has_no_finding(tenancy: Tenancy) -> None:
    await add_notes(tenancy, "acme", "one")
    # On a server that others use, their databases are there, too.
    found = [finding for finding in await tenancy.doctor() if finding.check != "orphaned-namespaces"]
    assert grave(found) == []


async def test_a_closed_tenancy_is_examined_as_an_open_one(tmp_path: Path, manager_type: str) -> None:
    tenancy = await made(tmp_path, "acme", manager_type=manager_type)
    assert await tenancy.doctor() == []


async def test_no_byte_of_any_file_changes(tmp_path: Path) -> None:
    tenancy = await made(tmp_path, "acme", "globex")
    (tmp_path / "tenants" / f"{'a' * 32}.db").write_bytes(b"no database")

    def files() -> dict[Path, str]:
        return {file: sha256(file.read_bytes()).hexdigest() for file in tmp_path.rglob("*") if file.is_file()}

    before = files()
    assert await tenancy.doctor()
    assert files() == before


async def test_a_store_that_was_never_made_is_not_made(tmp_path: Path) -> None:
    tenancy = make_tenancy(tmp_path, database_url=f"sqlite:///{tmp_path}/none/tenancy.db")
    finding = await only("store", tenancy)
    assert (finding.severity, finding.tenant) == ("error", None)
    assert "fastapi-tenancy tenants list" in finding.remedy
    assert list(tmp_path.iterdir()) == []


async def test_where_the_store_is_away_no_check_complains_but_the_one_that_says_so(tmp_path: Path) -> None:
    tenancy = make_tenancy(tmp_path, database_url="postgresql://app:secret@127.0.0.1:1/app")
    found = await tenancy.doctor()
    assert [finding.check for finding in found] == ["store"]
    assert "secret" not in str(found)


async def test_a_store_in_memory_is_examined_as_far_as_it_goes(tmp_path: Path) -> None:
    tenancy = make_tenancy(tmp_path, store=InMemoryTenantStore())
    async with tenancy:
        acme = await tenancy.create_tenant("acme")
    (tmp_path / "tenants" / f"{acme.id}.db").unlink()
    assert [finding.tenant for finding in await tenancy.doctor()] == ["acme"]


async def test_a_store_in_memory_that_is_closed_is_no_error(tmp_path: Path) -> None:
    tenancy = make_tenancy(tmp_path, database_url="sqlite://", tenant_database_url=f"sqlite:///{tmp_path}/{{id}}.db")
    (finding,) = await tenancy.doctor()
    assert (finding.check, finding.severity) == ("store", "warning")
    async with tenancy:
        assert await tenancy.doctor() == []


async def test_a_check_that_fails_is_a_finding_and_stops_no_other(tmp_path: Path) -> None:
    async def fails(_: Deployment) -> AsyncIterator[Found]:
        yield warning("found before", "mend it")
        raise ZeroDivisionError("as planted")

    async def finds(_: Deployment) -> AsyncIterator[Found]:
        yield warning("found", "mend it", "acme")

    found = await examine(deployment_of(make_tenancy(tmp_path)), {"fails": fails, "finds": finds})
    assert [(finding.check, finding.severity) for finding in found] == [
        ("fails", "error"),
        ("fails", "warning"),
        ("finds", "warning"),
    ]
    assert "ZeroDivisionError: as planted" in found[0].message
    assert found[2] == Finding("finds", "warning", "acme", "found", "mend it")


async def test_a_check_that_hangs_is_a_finding_and_is_not_waited_for(tmp_path: Path) -> None:
    async def hangs(_: Deployment) -> AsyncIterator[Found]:
        yield warning("found before", "mend it")
        while True:
            try:
                await asyncio.sleep(3600)
            except asyncio.CancelledError:
                return

    found = await examine(deployment_of(make_tenancy(tmp_path)), {"hangs": hangs}, timeout=0.01)
    assert [finding.message for finding in found] == ["the check did not end within 0.01 s", "found before"]


async def test_what_cannot_be_known_is_said_by_another_check(tmp_path: Path) -> None:
    async def knows_nothing(_: Deployment) -> AsyncIterator[Found]:
        raise UnknownError("the store is away")
        yield

    assert await examine(deployment_of(make_tenancy(tmp_path)), {"any": knows_nothing}) == []


def test_each_check_is_explained_in_the_documentation() -> None:
    page = (Path(__file__).parents[2] / "docs" / "how-to" / "doctor.md").read_text("utf-8")
    assert [name for name in CHECKS if f"| `{name}` |" not in page] == []


async def test_findings_come_with_the_gravest_first(tmp_path: Path) -> None:
    tenancy = await made(tmp_path, "acme", bus="none", cache_ttl=3600, profile_cache_size=2)
    async with tenancy:
        await tenancy.delete_tenant("acme")
        globex = await tenancy.create_tenant("globex")
    (tmp_path / "tenants" / f"{globex.id}.db").unlink()
    assert [finding.severity for finding in await tenancy.doctor()] == ["error", "warning", "info"]
    assert await found_by("missing-namespaces", tenancy)
