"""A Tenancy that reads tokens, with clocks that stand still until they are told."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from support import make_tenancy
from tokens.token_support import SECRET, CountingStore, Time

from fastapi_tenancy import Tenancy, TokenResolver
from fastapi_tenancy.testing import tenant_named


@pytest.fixture
def time() -> Time:
    return Time()


@pytest.fixture
def store() -> CountingStore:
    return CountingStore()


@pytest.fixture
async def tenancy(tmp_path: Path, time: Time, store: CountingStore) -> AsyncIterator[Tenancy]:
    """With records of the tenants acme and globex, which have no data; it signs with `SECRET`."""
    made = make_tenancy(
        tmp_path,
        resolvers=[TokenResolver()],
        store=store,
        clock=time.clock,
        now=time.now,
        token_secrets=[SECRET],
        profile_idle_timeout=None,
        unknown_cache_size=10,
    )
    async with made as tenancy:
        for name in ("acme", "globex"):
            await store.add(tenant_named(name))
        yield tenancy
