"""The commands for the audit trail."""

from datetime import timedelta
from typing import Annotated

import typer

from ..multitenant.admin.audit import AuditEntryOut
from .call import Call, command, group

audit = group("audit", "Look up who did what to which tenant.")


@command(audit, "list", "audit list", "audit list acme --limit 20 --json")
async def list_audit(
    call: Call,
    identifier: Annotated[
        str | None, typer.Argument(metavar="[ID]", help="Only of this tenant; it may be gone.", show_default=False)
    ] = None,
    limit: Annotated[int, typer.Option(min=1, max=1000, help="At most so many.")] = 100,
) -> None:
    """List what was done to tenants, the newest first."""
    found = (await call.tenancy.audit_trail(identifier, limit)).items
    rows = ((str(each.at), each.action, each.identifier or "", each.actor or "") for each in found)
    entries = [AuditEntryOut.model_validate(each, from_attributes=True).model_dump(mode="json") for each in found]
    call.table(entries, ("at", "action", "tenant", "actor"), rows)


@command(audit, "prune", "audit prune --older-than 365")
async def prune_audit(
    call: Call,
    days: Annotated[int, typer.Option("--older-than", metavar="DAYS", min=1, help="Their age.", show_default=False)],
) -> None:
    """Forget entries of the audit trail that are older."""
    pruned = await call.tenancy.prune_audit(before=call.tenancy.now() - timedelta(days=days))
    call.answer({"pruned": pruned}, f"pruned: {pruned}")
