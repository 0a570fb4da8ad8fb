"""See what tenants do: on log records, in metrics and on spans. `prometheus` and `opentelemetry` need their library."""

from .logs import TenantFilter, add_tenant
from .measures import Measure, measures

__all__ = ["Measure", "TenantFilter", "add_tenant", "measures"]
