"""What is told of a fleet's migration; every tenant by its identifier."""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class MigrationFailure:
    """A tenant that could not be migrated; its tables are as its last revision that succeeded left them."""

    tenant: str
    error: str


@dataclass(frozen=True, slots=True)
class MigrationSkip:
    """A tenant that is not at the revision that was wanted, and was left as it is."""

    tenant: str
    reason: str


@dataclass(frozen=True, slots=True)
class MigrationReport:
    """What became of the tenants that were not at the revision that was wanted; the others are not named."""

    migrated: Sequence[str]
    failed: Sequence[MigrationFailure]
    skipped: Sequence[MigrationSkip]


@dataclass(frozen=True, slots=True)
class MigrationProgress:
    """What has just become of one tenant.

    Attributes:
        done: how many have been migrated, have failed or were left out by now.
        total: how many there are.
        tenant: the one that it is about.
        error: why it failed or was left out; None where it was migrated.
        seconds: that it took; 0 where it was left out.
    """

    done: int
    total: int
    tenant: str
    error: str | None
    seconds: float


@dataclass(frozen=True, slots=True)
class MigrationStatus:
    """Where the tenants stand.

    Attributes:
        head: the code's revision; None while there are no revisions.
        current: how many are not behind it; those that are being created or deleted do not count.
        behind: those that are.
        failed: those of them that could not be migrated when that was tried last.
    """

    head: str | None
    current: int
    behind: Sequence[str]
    failed: Sequence[str]
