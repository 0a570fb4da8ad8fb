"""Look at a deployment, and say what is wrong and what mends it."""

from .deployment import Deployment
from .examination import examine
from .finding import Finding, Severity

__all__ = ["Deployment", "Finding", "Severity", "examine"]
