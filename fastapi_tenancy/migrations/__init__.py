"""Bring tables to the state that the code expects."""

from .store_tables import HEAD, upgrade_store_tables

__all__ = ["HEAD", "upgrade_store_tables"]
