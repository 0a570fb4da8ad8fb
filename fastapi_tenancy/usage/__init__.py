"""What each tenant takes: requests, time of the database, connections."""

from .counts import Counted, Usage
from .tenant_usage import TenantUsage

__all__ = ["Counted", "TenantUsage", "Usage"]
