"""The built-in managers keep the contract of all managers."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from support import make_tenancy

from fastapi_tenancy import Tenancy
from fastapi_tenancy.testing import ManagerContract, Note


class TestManagers(ManagerContract):
    """The contract, over every manager, with room for two profiles."""

    @pytest.fixture
    async def tenancy(self, tmp_path: Path, place: dict[str, Any]) -> AsyncIterator[Tenancy]:
        async with make_tenancy(
            tmp_path,
            metadata=Note.metadata,
            **place,
            profile_cache_size=2,
            default_settings={"plan": "none", "seats": 1},
        ) as tenancy:
            yield tenancy
