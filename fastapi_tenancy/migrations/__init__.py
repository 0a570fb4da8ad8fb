"""Bring tables to the state that the code expects."""

from .exclusively import exclusively
from .store_tables import HEAD, upgrade_store_tables

__all__ = ["HEAD", "exclusively", "upgrade_store_tables"]
