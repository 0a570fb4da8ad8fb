"""A tenant is moved, and imported, only where its tables are those that new tenants get."""

from pathlib import Path
from typing import Any

import pytest

from fastapi_tenancy import ArchiveError, MoveError


async def test_a_tenant_is_moved_at_the_head_and_keeps_its_revision(fleet: Any, threads: Any, tmp_path: Path) -> None:
    fleet.advance()
    there = f"sqlite:///{tmp_path}/elsewhere/acme.db"
    async with fleet.tenancy() as tenancy:
        with pytest.raises(MoveError, match="fastapi-tenancy migrate --tenant acme"):
            await tenancy.move_tenant("acme", to="basic", database_url=there)
        with pytest.raises(ArchiveError, match="is of revision"):
            await tenancy.import_tenant(
                (await tenancy.export_tenant("acme", tmp_path / "acme.zip")).file, identifier="copy"
            )
        await tenancy.migrate(tenants=["acme"])
        before = await tenancy.get_tenant("acme")
        moved = await tenancy.move_tenant("acme", to="basic", database_url=there)
        assert moved.tenant.revision == before.revision
        file = (await tenancy.export_tenant("acme", tmp_path / "acme.zip")).file
        assert (await tenancy.import_tenant(file, identifier="copy")).revision == before.revision
