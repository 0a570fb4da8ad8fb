"""What is sold: a plan decides how many notes a company may keep, and how its data is kept apart."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from fastapi_tenancy import Tenancy, Tenant


@dataclass(frozen=True, slots=True)
class Plan:
    """One line of the price list.

    Attributes:
        title: what people read.
        note_limit: how many notes a company may have at a time.
        manager_type: the multitenant manager that keeps its data.
        storage: the same for people.
    """

    title: str
    note_limit: int
    manager_type: str
    storage: str


PLANS: Mapping[str, Plan] = MappingProxyType(
    {
        "team": Plan("Team", 20, "shared-profile", "in tables shared with other companies"),
        "business": Plan("Business", 1000, "basic", "in a database of its own"),
    }
)

ACCENTS = ("indigo", "teal", "plum", "rust", "forest")

# What a tenant has that was created elsewhere, without these settings.
DEFAULTS: Mapping[str, Any] = MappingProxyType({"plan": "team", "accent": "indigo"})


def plan_of(settings: Mapping[str, Any]) -> Plan:
    return PLANS.get(settings["plan"], PLANS["team"])


async def open_account(tenancy: Tenancy, slug: str, name: str, plan: str, accent: str) -> Tenant:
    """Provision a company; raises what `Tenancy.create_tenant` raises."""
    settings = {"plan": plan, "accent": accent}
    return await tenancy.create_tenant(slug, name=name, settings=settings, manager_type=PLANS[plan].manager_type)
