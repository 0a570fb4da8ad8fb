"""The tenant goes along with a message."""

import pytest
from sqlalchemy import select
from support import Note, make_tenancy

from fastapi_tenancy import acting_as, current_actor, current_tenant
from fastapi_tenancy.errors import TenantNotFoundError, TenantNotSpecifiedError, TenantSuspendedError
from fastapi_tenancy.jobs import extract, inject, resume


@pytest.fixture
async def tenancy(tmp_path):
    async with make_tenancy(tmp_path) as tenancy:
        await tenancy.create_tenant("acme")
        yield tenancy


async def sent_by(tenancy, name):
    async with tenancy.use(name):
        return inject()


async def test_a_job_is_the_tenant_that_sent_it(tenancy):
    carrier = await sent_by(tenancy, "acme")
    async with resume(tenancy, carrier) as profile, profile.transaction() as session:
        session.add(Note(text="later"))
        assert current_tenant().identifier == "acme"
    async with tenancy.use("acme") as profile, profile.session() as session:
        assert list(await session.scalars(select(Note.text))) == ["later"]


async def test_nothing_of_it_is_left_after_the_job(tenancy):
    carrier = await sent_by(tenancy, "acme")
    async with resume(tenancy, carrier):
        pass
    with pytest.raises(TenantNotSpecifiedError):
        current_tenant()


async def test_a_rename_in_between_changes_nothing(tenancy):
    carrier = await sent_by(tenancy, "acme")
    await tenancy.update_tenant("acme", identifier="acme-inc")
    await tenancy.create_tenant("acme")
    async with resume(tenancy, carrier):
        assert current_tenant().identifier == "acme-inc"


async def test_whoever_acts_goes_along(tenancy):
    async with tenancy.use("acme"):
        with acting_as("ann@example.com"):
            carrier = inject({"trace": "1"})
    assert extract(carrier).actor == "ann@example.com"
    async with resume(tenancy, carrier):
        assert current_actor() == "ann@example.com"


async def test_without_a_tenant_nothing_can_be_sent():
    with pytest.raises(TenantNotSpecifiedError):
        inject()


@pytest.mark.parametrize("carrier", [{}, {"tenancy-tenant": ""}])
async def test_a_job_without_a_tenant_fails(tenancy, carrier):
    with pytest.raises(TenantNotSpecifiedError, match="inject"):
        async with resume(tenancy, carrier):
            pass


async def test_a_job_of_a_suspended_tenant_is_refused(tenancy):
    carrier = await sent_by(tenancy, "acme")
    await tenancy.suspend_tenant("acme")
    with pytest.raises(TenantSuspendedError):
        async with resume(tenancy, carrier):
            pass


async def test_a_job_of_a_deleted_tenant_is_refused(tenancy):
    carrier = await sent_by(tenancy, "acme")
    await tenancy.delete_tenant("acme", drop_data=True)
    with pytest.raises(TenantNotFoundError):
        async with resume(tenancy, carrier):
            pass
