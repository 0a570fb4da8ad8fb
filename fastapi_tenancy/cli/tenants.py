"""The commands that create, show, change and delete tenants."""

import sys
from collections.abc import AsyncIterator
from typing import Annotated, Any

import typer

from ..errors import ConfigurationError
from ..multitenant.admin.schemas import TenantOut
from ..secret_settings import merged, unmasked
from ..tenancy import Tenancy
from ..tenant import Tenant, TenantStatus, plain
from .arguments import DatabaseURL, Encrypted, Identifier, Key, Manager, Set, Unmanaged
from .call import Call, command, group
from .printing import FailureError
from .values import given_settings, without

_PAGE = 500  # tenants that are listed at once

tenants = group("tenants", "List, create, change and delete tenants, and run programs inside them.")

Name = Annotated[str | None, typer.Option("--name", help="What people read.")]


@command(tenants, "list", "tenants list", "tenants list --status suspended --json", "tenants list --q acme --limit 20")
async def list_tenants(
    call: Call,
    status: Annotated[TenantStatus | None, typer.Option(help="Only those in this status.")] = None,
    q: Annotated[str | None, typer.Option(help="Only those whose identifier or name holds this text.")] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="At most so many; all by default.")] = None,
) -> None:
    """List the tenants in the order of their identifiers."""
    found = [tenant async for tenant in every_tenant(call.tenancy, status, q, limit)]
    rows = ((each.identifier, each.status.value, each.manager_type or "", each.name) for each in found)
    call.table([shown(call, each) for each in found], ("identifier", "status", "manager", "name"), rows)


@command(tenants, "show", "tenants show acme", "tenants show acme --json")
async def show_tenant(call: Call, identifier: Identifier) -> None:
    """Show a tenant; secrets are masked."""
    tenant = shown(call, await call.tenancy.get_tenant(identifier))
    call.answer(tenant, *(f"{name}: {'' if value is None else value}" for name, value in tenant.items()))


@command(
    tenants,
    "create",
    'tenants create acme --name "Acme Corp" --set plan=pro --set seats=5',
    "tenants create acme --set smtp.password=- < password.txt",
    "tenants create acme --manager basic --database-url postgresql://app@db2/acme",
)
async def create_tenant(
    call: Call,
    identifier: Annotated[
        str,
        typer.Argument(metavar="ID", help="Its identifier: 1 to 63 of a-z, 0-9 and '-'.", show_default=False),
    ],
    name: Name = None,
    given: Set = None,
    manager: Manager = None,
    database_url: DatabaseURL = None,
    encrypted: Encrypted = None,
    unmanaged: Unmanaged = False,
    key: Key = None,
) -> None:
    """Create a tenant with its tables."""
    check_manager(call.tenancy, manager)
    tenant = await call.tenancy.create_tenant(
        identifier,
        name=name,
        settings=given_settings(given or ()),
        manager_type=manager,
        database_url=database_url,
        key_management_mode="unmanaged" if unmanaged else "managed",
        key=key,
        encrypted=encrypted,
    )
    _answer(call, "created", tenant)


@command(
    tenants,
    "update",
    'tenants update acme --name "Acme Inc" --identifier acme-inc',
    "tenants update acme --set seats=10 --unset trial",
)
async def update_tenant(
    call: Call,
    identifier: Identifier,
    name: Name = None,
    new_identifier: Annotated[str | None, typer.Option("--identifier", metavar="ID", help="Its new one.")] = None,
    given: Set = None,
    unset: Annotated[
        list[str] | None, typer.Option("--unset", metavar="KEY", help="Remove a setting. Can be repeated.")
    ] = None,
) -> None:
    """Change what is given; the other settings stay."""
    if name is None and new_identifier is None and not given and not unset:
        raise typer.BadParameter("say what to change: --name, --identifier, --set or --unset")
    tenant = await call.tenancy.get_tenant(identifier)
    settings: dict[str, Any] = plain(tenant.settings)
    for key in unset or ():
        settings = without(settings, key)
    settings = merged(settings, unmasked(given_settings(given or ()), settings, call.tenancy.settings.secret_settings))
    _answer(
        call,
        "updated",
        await call.tenancy.update_tenant(tenant, name=name, identifier=new_identifier, settings=settings),
    )


@command(tenants, "suspend", "tenants suspend acme")
async def suspend_tenant(call: Call, identifier: Identifier) -> None:
    """Refuse a tenant's requests from now on."""
    _answer(call, "suspended", await call.tenancy.suspend_tenant(identifier))


@command(tenants, "activate", "tenants activate acme")
async def activate_tenant(call: Call, identifier: Identifier) -> None:
    """Serve a suspended tenant again."""
    _answer(call, "activated", await call.tenancy.activate_tenant(identifier))


@command(tenants, "delete", "tenants delete acme", "tenants delete acme --drop-data --yes")
def delete_tenant(
    call: Call,
    identifier: Identifier,
    drop_data: Annotated[
        bool, typer.Option("--drop-data", help="Destroy its data as well; else they are kept.", show_default=False)
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.", show_default=False)] = False,
) -> None:
    """Delete a tenant; its identifier is free afterwards."""
    if not yes and not sys.stdin.isatty():
        raise typer.BadParameter("nobody can be asked here; give --yes", param_hint="--yes")
    data = "destroy its data" if drop_data else "keep its data"
    # Outside the event loop, which would keep Ctrl-C from who is asked.
    if not yes and not typer.confirm(f"Delete {identifier} and {data}?", err=True):
        raise FailureError("nothing was deleted")

    async def delete() -> Tenant:
        tenant = await call.tenancy.get_tenant(identifier)
        await call.tenancy.delete_tenant(tenant, drop_data=drop_data)
        return tenant

    _answer(call, "deleted", call.run(delete))


async def every_tenant(
    tenancy: Tenancy, status: TenantStatus | None = None, q: str | None = None, limit: int | None = None
) -> AsyncIterator[Tenant]:
    """The tenants, page by page."""
    after = None
    left = limit
    while left is None or left > 0:
        page = await tenancy.list_tenants(_PAGE if left is None else min(left, _PAGE), after, status, q)
        for tenant in page.items:
            yield tenant
        after = page.next
        if after is None:
            return
        left = None if left is None else left - len(page.items)


def shown(call: Call, tenant: Tenant) -> dict[str, Any]:
    """The tenant as the admin API shows it."""
    return TenantOut.of(tenant, call.tenancy.settings.secret_settings).model_dump(mode="json")


def _answer(call: Call, done: str, tenant: Tenant) -> None:
    call.answer(shown(call, tenant), f"{done} {tenant.identifier}")


def check_manager(tenancy: Tenancy, name: str | None) -> None:
    """Refuse a manager that there is not.

    Raises:
        typer.BadParameter: it is unknown, or does not fit the deployment.
    """
    try:
        tenancy.provider.provide({"manager_type": name})
    except ConfigurationError as error:
        raise typer.BadParameter(str(error), param_hint="--manager") from error
