"""Bring tables to the state that the code expects."""

from .environment import run_tenant_migrations
from .exclusively import exclusively
from .revisions import revision_of, revisions_in
from .scripts import MigrationScripts
from .store_tables import HEAD, upgrade_store_tables
from .template import write_folder

__all__ = [
    "HEAD",
    "MigrationScripts",
    "exclusively",
    "revision_of",
    "revisions_in",
    "run_tenant_migrations",
    "upgrade_store_tables",
    "write_folder",
]
