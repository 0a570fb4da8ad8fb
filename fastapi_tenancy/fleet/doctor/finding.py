"""What doctor finds: what is wrong, how grave that is, and what mends it."""

from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Literal, NamedTuple, TypeAlias

from .deployment import Deployment

Severity = Literal["error", "warning", "info"]
"""Requests fail or tenants could meet; something will fail or costs more than it has to; good to know."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that doctor found.

    Attributes:
        check: the name of the check that found it; it stays the same from one version to the next.
        severity: how grave it is.
        tenant: the identifier of the tenant that it concerns; None where it concerns no single one.
        message: what is wrong, in a sentence.
        remedy: a command line, SQL or a setting that mends it.
    """

    check: str
    severity: Severity
    tenant: str | None
    message: str
    remedy: str


class Found(NamedTuple):
    """A finding, as its check gives it."""

    severity: Severity
    message: str
    remedy: str
    tenant: str | None = None


Check: TypeAlias = Callable[[Deployment], AsyncIterator[Found]]


def error(message: str, remedy: str, tenant: str | None = None) -> Found:
    return Found("error", message, remedy, tenant)


def warning(message: str, remedy: str, tenant: str | None = None) -> Found:
    return Found("warning", message, remedy, tenant)


def info(message: str, remedy: str, tenant: str | None = None) -> Found:
    return Found("info", message, remedy, tenant)
