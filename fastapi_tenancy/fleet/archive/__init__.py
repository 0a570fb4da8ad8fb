"""One tenant in one file: exported, and imported somewhere else."""

from .archives import TenantArchives
from .export import Exported

__all__ = ["Exported", "TenantArchives"]
