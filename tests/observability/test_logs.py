"""Log records name the tenant."""

import asyncio
import logging

import pytest
import structlog
from support import make_tenancy

from fastapi_tenancy.observability import TenantFilter, add_tenant


@pytest.fixture
async def tenancy(tmp_path):
    async with make_tenancy(tmp_path) as tenancy:
        for name in ("acme", "beta"):
            await tenancy.create_tenant(name)
        yield tenancy


@pytest.fixture
def lines(caplog):
    caplog.handler.addFilter(TenantFilter())
    caplog.set_level(logging.INFO, "application")
    yield lambda: [(record.tenant, record.getMessage()) for record in caplog.records if record.name == "application"]
    caplog.handler.filters.clear()


async def test_a_record_bears_the_tenant_of_its_task(tenancy, lines):
    async def work(name):
        async with tenancy.use(name) as profile:
            await asyncio.sleep(0)
            logging.getLogger("application").info("of %s", profile.tenant.identifier)

    await asyncio.gather(work("acme"), work("beta"))
    assert sorted(lines()) == [("acme", "of acme"), ("beta", "of beta")]


async def test_a_record_without_a_tenant_says_so(lines):
    logging.getLogger("application").info("started")
    assert lines() == [("-", "started")]


async def test_a_thread_bears_the_tenant_that_began_it(tenancy, lines):
    async with tenancy.use("beta"):
        await asyncio.to_thread(logging.getLogger("application").info, "in a thread")
    assert lines() == [("beta", "in a thread")]


async def test_structlog_has_it_too(tenancy):
    capture = structlog.testing.LogCapture()
    logger = structlog.wrap_logger(None, processors=[add_tenant, capture])
    logger.info("outside")
    async with tenancy.use("acme") as profile:
        logger.info("inside")
        logger.info("of another", tenant="beta")
    acme = {"tenant": "acme", "tenant_id": profile.tenant.id}
    assert capture.entries == [
        {"event": "outside", "log_level": "info"},
        {"event": "inside", "log_level": "info", **acme},
        {"event": "of another", "log_level": "info", **acme, "tenant": "beta"},
    ]
