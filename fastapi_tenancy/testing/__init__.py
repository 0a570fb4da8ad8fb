"""Contracts: inherit one, give it your implementation, and pytest proves that it keeps what the library relies on.

They need pytest and nothing else: `pip install pytest`. What is `async` in them runs on asyncio through anyio's plugin,
which comes with Starlette; your fixtures are plain `@pytest.fixture` functions, `async` or not.
"""

# ruff: noqa: E402 - pytest has to hear of the modules before they are imported

import pytest

# So that a failed assert shows the values.
pytest.register_assert_rewrite(
    *(
        f"{__name__}.{module}"
        for module in (
            "audit_store",
            "cache",
            "domain_store",
            "fleet_store",
            "idempotency_store",
            "loads",
            "manager",
            "move_store",
            "pending_store",
            "resolver",
            "store",
            "token_store",
        )
    )
)

from .audit_store import AuditStoreContract
from .cache import CacheContract
from .domain_store import DomainStoreContract
from .fleet_store import FleetStoreContract
from .idempotency_store import IdempotencyStoreContract
from .manager import ManagerContract, Note
from .move_store import MoveStoreContract
from .pending_store import PendingStoreContract
from .resolver import ResolverContract, request_scope
from .store import TenantStoreContract
from .tenants import tenant_named
from .token_store import TokenStoreContract

__all__ = [
    "AuditStoreContract",
    "CacheContract",
    "DomainStoreContract",
    "FleetStoreContract",
    "IdempotencyStoreContract",
    "ManagerContract",
    "MoveStoreContract",
    "Note",
    "PendingStoreContract",
    "ResolverContract",
    "TenantStoreContract",
    "TokenStoreContract",
    "request_scope",
    "tenant_named",
]
