"""What all contracts share: their async tests run on asyncio, whatever the inheritor's pytest is set up to do."""

import pytest


class AsyncioContract:
    """Tests run by anyio's plugin, which every installation of Starlette brings, and on asyncio alone."""

    pytestmark = pytest.mark.anyio

    @pytest.fixture(scope="session")
    @staticmethod
    def anyio_backend() -> str:
        return "asyncio"
