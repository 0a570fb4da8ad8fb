"""What doctor looks at, each under the name that its findings bear."""

from collections.abc import Mapping
from types import MappingProxyType

from ..finding import Check
from . import (
    files,
    namespaces,
    orphans,
    pooler,
    redis,
    revisions,
    rows,
    schemas,
    sealed,
    servers,
    settings,
    store,
    unfinished,
)

CHECKS: Mapping[str, Check] = MappingProxyType(
    {
        "settings": settings.settings,
        "store": store.store,
        "store-tables": store.store_tables,
        "clock": store.clock,
        "servers": servers.servers,
        "rights": servers.rights,
        "pooler": pooler.pooler,
        "redis": redis.redis,
        "sqlite-files": files.sqlite_files,
        "placement": namespaces.placement,
        "missing-namespaces": namespaces.missing_namespaces,
        "orphaned-namespaces": orphans.orphaned_namespaces,
        "retained-namespaces": namespaces.retained_namespaces,
        "unfinished-work": unfinished.unfinished_work,
        "revisions": revisions.revisions,
        "tenant-tables": revisions.tenant_tables,
        "row-level-security": rows.row_level_security,
        "tenant-id": rows.tenant_id,
        "unknown-rows": rows.unknown_rows,
        "schemas": schemas.schemas,
        "sealing": sealed.sealing,
    }
)

__all__ = ["CHECKS"]
