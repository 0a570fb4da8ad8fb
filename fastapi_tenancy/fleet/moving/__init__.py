"""Take one tenant to another place: another isolation, database or server."""

from .moves import TenantMoves
from .report import Moved, MoveProgress

__all__ = ["MoveProgress", "Moved", "TenantMoves"]
