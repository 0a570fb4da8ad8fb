"""Ask doctor, and look for what it should have found."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from sqlalchemy import NullPool, create_engine, make_url
from support import make_tenancy

from fastapi_tenancy import Tenancy
from fastapi_tenancy.fleet.doctor import Deployment, Finding, examine
from fastapi_tenancy.fleet.doctor.checks import CHECKS
from fastapi_tenancy.urls import synchronous


def deployment_of(tenancy: Tenancy) -> Deployment:
    limited = tenancy.limits is not None
    return Deployment(
        tenancy.settings, tenancy.provider, tenancy.store, tenancy.sealer, is_limited=limited, now=tenancy.now
    )


async def found_by(check: str, tenancy: Tenancy) -> list[Finding]:
    """What one check finds."""
    return list(await examine(deployment_of(tenancy), {check: CHECKS[check]}))


async def only(check: str, tenancy: Tenancy) -> Finding:
    """What the check finds, which is one thing."""
    (finding,) = await found_by(check, tenancy)
    return finding


def grave(findings: Sequence[Finding]) -> list[Finding]:
    return [finding for finding in findings if finding.severity != "info"]


async def made(folder: Path, *identifiers: str, **given: Any) -> Tenancy:
    """A tenancy with these tenants, closed again."""
    async with make_tenancy(folder, **given) as tenancy:
        for identifier in identifiers:
            await tenancy.create_tenant(identifier)
    return tenancy


async def id_of(tenancy: Tenancy, identifier: str) -> str:
    deployment = deployment_of(tenancy)
    try:
        return next(each.id for each in (await deployment.records()).tenants if each.identifier == identifier)
    finally:
        await deployment.aclose()


def run(database: str | Path, *statements: str) -> None:
    """Run SQL in a SQLite file, or in the database of a URL."""
    url = f"sqlite:///{database}" if isinstance(database, Path) else synchronous(make_url(database))
    engine = create_engine(url, poolclass=NullPool, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        for statement in statements:
            connection.exec_driver_sql(statement, execution_options={"no_parameters": True})
