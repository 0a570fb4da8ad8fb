"""Limits of each tenant, so that a noisy one cannot starve the rest: a rate, and a number of requests at once."""

from .gate import LimitGate
from .plans import Limit, TenantLimits

__all__ = ["Limit", "LimitGate", "TenantLimits"]
