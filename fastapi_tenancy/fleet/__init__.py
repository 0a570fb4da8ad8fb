"""Work on many tenants at once, or on one as a whole."""

from .archive import Exported, TenantArchives
from .doctor import Finding
from .fleet import Fleet
from .gather import Outcome
from .migrating import (
    FleetMigrations,
    MigrationFailure,
    MigrationProgress,
    MigrationReport,
    MigrationSkip,
    MigrationStatus,
    OnDemand,
)
from .moving import Moved, MoveProgress, TenantMoves
from .pending import PendingPool

__all__ = [
    "Exported",
    "Finding",
    "Fleet",
    "FleetMigrations",
    "MigrationFailure",
    "MigrationProgress",
    "MigrationReport",
    "MigrationSkip",
    "MigrationStatus",
    "MoveProgress",
    "Moved",
    "OnDemand",
    "Outcome",
    "PendingPool",
    "TenantArchives",
    "TenantMoves",
]
