"""The commands for tenants' own domains."""

from typing import Annotated, Any

import typer

from ..multitenant.admin.schemas import DomainOut
from ..store import Domain
from .arguments import Identifier
from .call import Call, command, group

domains = group("domains", "List, claim and verify tenants' own domains.")

Host = Annotated[str, typer.Argument(metavar="HOST", help="The domain, such as app.acme.com.", show_default=False)]


@command(domains, "list", "domains list acme", "domains list acme --json")
async def list_domains(call: Call, identifier: Identifier) -> None:
    """List a tenant's domains."""
    found = await call.tenancy.domains.list(identifier)
    rows = ((each.host, each.status.value, "primary" if each.is_primary else "") for each in found)
    call.table([_shown(each) for each in found], ("host", "status", "primary"), rows)


@command(domains, "add", "domains add acme app.acme.com")
async def add_domain(call: Call, identifier: Identifier, host: Host) -> None:
    """Claim a domain for a tenant, and say what proves it."""
    domain = await call.tenancy.domains.add(identifier, host)
    proof = (f"record: {domain.record_name} TXT {domain.token}", f"or address: {domain.challenge_url}")
    call.answer(_shown(domain), f"{domain.status.value} {domain.host}", *(() if domain.is_verified else proof))


@command(domains, "verify", "domains verify acme app.acme.com")
async def verify_domain(call: Call, identifier: Identifier, host: Host) -> None:
    """Look for the proof, and let the domain name the tenant from now on."""
    _answer(call, "verified", await call.tenancy.domains.verify(identifier, host))


@command(domains, "primary", "domains primary acme app.acme.com")
async def make_primary(call: Call, identifier: Identifier, host: Host) -> None:
    """Make a verified domain the one to redirect to."""
    _answer(call, "primary", await call.tenancy.domains.set_primary(identifier, host))


@command(domains, "revoke", "domains revoke acme app.acme.com")
async def revoke_domain(call: Call, identifier: Identifier, host: Host) -> None:
    """Let the domain name nobody from now on, and keep its record."""
    _answer(call, "revoked", await call.tenancy.domains.revoke(identifier, host))


@command(domains, "remove", "domains remove acme app.acme.com")
async def remove_domain(call: Call, identifier: Identifier, host: Host) -> None:
    """Let the domain name nobody from now on, and forget it."""
    await call.tenancy.domains.remove(identifier, host)
    call.answer({"host": host}, f"removed {host}")


def _answer(call: Call, done: str, domain: Domain) -> None:
    call.answer(_shown(domain), f"{done} {domain.host}")


def _shown(domain: Domain) -> dict[str, Any]:
    return DomainOut.of(domain).model_dump(mode="json")
