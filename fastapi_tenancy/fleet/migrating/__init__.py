"""Bring all tenants to the code's revision: see who is behind, and migrate those in processes of their own."""

from .fleet_migrations import FleetMigrations
from .on_demand import OnDemand
from .report import MigrationFailure, MigrationProgress, MigrationReport, MigrationSkip, MigrationStatus

__all__ = [
    "FleetMigrations",
    "MigrationFailure",
    "MigrationProgress",
    "MigrationReport",
    "MigrationSkip",
    "MigrationStatus",
    "OnDemand",
]
