"""What is told of a move."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from ...tenant import Tenant


@dataclass(frozen=True, slots=True)
class MoveProgress:
    """How far a move is.

    Attributes:
        step: "check", "copy" or "verify".
        table: which is being worked on.
        done: how many of its rows are done.
        total: how many it has.
    """

    step: str
    table: str
    done: int
    total: int


OnProgress = Callable[[MoveProgress], None]


@dataclass(frozen=True, slots=True)
class Moved:
    """A tenant that is in its new place.

    Attributes:
        tenant: as it is now.
        rows: how many were moved.
        tables: how many each table has.
        read_only_seconds: for how long nothing could be written.
        source: the namespace that it left, which is kept until the move is confirmed.
    """

    tenant: Tenant
    rows: int
    tables: Mapping[str, int]
    read_only_seconds: float
    source: str
