"""The built-in managers keep the contract of all managers."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from support import CONTRACT, make_tenancy

from fastapi_tenancy import Tenancy
from fastapi_tenancy.testing import ManagerContract


class TestManagers(ManagerContract):
    """The contract, over every manager, with room for two profiles."""

    @pytest.fixture
    async def tenancy(self, tmp_path: Path, place: dict[str, Any]) -> AsyncIterator[Tenancy]:
        async with make_tenancy(tmp_path, **CONTRACT, **place) as tenancy:
            yield tenancy
