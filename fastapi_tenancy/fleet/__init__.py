"""Work on many tenants at once, or on one as a whole."""

from .fleet import Fleet
from .gather import Outcome

__all__ = ["Fleet", "Outcome"]
