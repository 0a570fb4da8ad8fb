"""Several workers, their buses and one store, in one process and on virtual time, drawn from a seed."""

from .world import Outcome, run

__all__ = ["Outcome", "run"]
