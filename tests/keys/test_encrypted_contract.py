"""The basic manager keeps the contract of all managers where it encrypts, too."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from keys.key_support import SEALING_KEY, needs_sqlcipher
from support import CONTRACT, make_tenancy

from fastapi_tenancy import Tenancy
from fastapi_tenancy.testing import ManagerContract

pytestmark = needs_sqlcipher


class TestEncryptedTenants(ManagerContract):
    """Each tenant in a file under a key of its own."""

    @pytest.fixture
    async def tenancy(self, tmp_path: Path) -> AsyncIterator[Tenancy]:
        encrypting = {"encryption_keys": [SEALING_KEY], "encrypt_tenants": True}
        async with make_tenancy(tmp_path, **CONTRACT, **encrypting) as tenancy:
            yield tenancy
