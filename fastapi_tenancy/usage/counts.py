"""What one tenant has taken so far, or several together."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

Counted = Literal["requests", "request_seconds", "statements", "database_seconds", "connections", "connection_seconds"]
"""What is counted of each tenant, and what the first of them can be asked for by."""


@dataclass(frozen=True, slots=True)
class Usage:
    """What was taken since the process began; all but `connections` only grow.

    Attributes:
        tenant_id: whose; None where it is several tenants'.
        identifier: that the tenant had last; None where it is not known, or there are several.
        requests: that were answered, and WebSockets that have ended.
        by_status: how many of those had which class of status: "2xx"; an accepted WebSocket is "1xx", as HTTP has it.
        request_seconds: that HTTP requests took.
        statements: that tenants' sessions have sent to the database.
        database_seconds: until these were answered.
        connections: that tenants' sessions hold now.
        connection_seconds: for which those were held that have been returned.
    """

    tenant_id: str | None
    identifier: str | None
    requests: int
    by_status: Mapping[str, int]
    request_seconds: float
    statements: int
    database_seconds: float
    connections: int
    connection_seconds: float


class Counts:
    """The same, while it is counted.

    Attributes:
        by_class: requests by the first digit of their status.
        is_gone: it was added to the others', where whatever is still to come of it belongs.
    """

    __slots__ = (
        "by_class",
        "connection_seconds",
        "connections",
        "database_seconds",
        "identifier",
        "is_gone",
        "request_seconds",
        "statements",
    )

    def __init__(self) -> None:
        self.identifier: str | None = None
        self.is_gone = False
        self.by_class: dict[int, int] = {}
        self.request_seconds = 0.0
        self.statements = 0
        self.database_seconds = 0.0
        self.connections = 0
        self.connection_seconds = 0.0

    @property
    def requests(self) -> int:
        return sum(self.by_class.values())

    def add(self, other: "Counts") -> None:
        for digit, requests in other.by_class.items():
            self.by_class[digit] = self.by_class.get(digit, 0) + requests
        self.request_seconds += other.request_seconds
        self.statements += other.statements
        self.database_seconds += other.database_seconds
        self.connections += other.connections
        self.connection_seconds += other.connection_seconds

    def usage(self, tenant_id: str | None = None) -> Usage:
        by_status = {f"{digit}xx": requests for digit, requests in sorted(self.by_class.items())}
        return Usage(
            tenant_id=tenant_id,
            identifier=self.identifier,
            requests=self.requests,
            by_status=MappingProxyType(by_status),
            request_seconds=self.request_seconds,
            statements=self.statements,
            database_seconds=self.database_seconds,
            connections=self.connections,
            connection_seconds=self.connection_seconds,
        )
