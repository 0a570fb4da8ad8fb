"""What the admin API needs of a `Tenancy`, and what its routes share."""

import logging
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import Annotated, Any, Protocol, TypeVar

from fastapi import Path, Query
from pydantic.json_schema import SkipJsonSchema
from sqlalchemy.exc import SQLAlchemyError

from ...audit import AuditEntry
from ...background import Background
from ...errors import TenantUnavailableError
from ...settings import TenancySettings
from ...store import TenantStore
from ...tenant import IDENTIFIER, Tenant, TenantStatus
from ..route_manager import MultitenantRouteManager
from ..tokens import IssuedToken, MultitenantTokenManager

logger = logging.getLogger(__name__)

T = TypeVar("T")

# A header or a parameter that may be left out, and cannot be null.
Absent = SkipJsonSchema[None]

PageSize = Annotated[int, Query(ge=1, le=1000)]

# The check itself is the Tenancy's, and answers 400.
SLUG: dict[str, Any] = {"pattern": f"^{IDENTIFIER.pattern}$", "maxLength": 63}
Named = Annotated[str, Path(json_schema_extra=SLUG, examples=["acme"])]


@contextmanager
def reaching_data() -> Iterator[None]:
    """Around what creates or destroys a tenant's data.

    Raises:
        TenantUnavailableError: these cannot be reached; which is no mistake in the application.
    """
    try:
        yield
    except (SQLAlchemyError, OSError) as error:
        logger.warning("tenant's data out of reach", exc_info=error)
        raise TenantUnavailableError("the tenant's data cannot be reached; see the log for the error") from error


class _Page(Protocol):
    @property
    def items(self) -> Sequence[Tenant]: ...

    @property
    def next(self) -> str | None: ...


class AuditPage(Protocol):
    @property
    def items(self) -> Sequence[AuditEntry]: ...

    @property
    def next(self) -> int | None: ...


class AsksStore(Protocol):
    """What the API needs of a `TenantDirectory`."""

    async def find_by_id(self, tenant_id: str) -> Tenant | None: ...

    async def ask(self, question: Coroutine[Any, Any, T]) -> T: ...


class ManagesTenants(Protocol):
    """What the API needs of a `Tenancy`."""

    @property
    def settings(self) -> TenancySettings: ...

    @property
    def store(self) -> TenantStore: ...

    @property
    def directory(self) -> AsksStore: ...

    @property
    def background(self) -> Background: ...

    @property
    def now(self) -> Callable[[], datetime]: ...

    async def create_tenant(
        self,
        identifier: str,
        *,
        name: str | None,
        settings: Mapping[str, Any] | None,
        manager_type: str | None,
        on_reserved: Callable[[Tenant], Awaitable[None]] | None,
    ) -> Tenant: ...

    async def get_tenant(self, identifier: str) -> Tenant: ...

    async def list_tenants(
        self, limit: int, after: str | None, status: TenantStatus | None, q: str | None
    ) -> _Page: ...

    async def update_tenant(
        self,
        current: Tenant,
        /,
        *,
        name: str | None = None,
        identifier: str | None = None,
        settings: Mapping[str, Any] | None = None,
    ) -> Tenant: ...

    async def suspend_tenant(self, tenant: Tenant) -> Tenant: ...

    async def activate_tenant(self, tenant: Tenant) -> Tenant: ...

    async def delete_tenant(self, tenant: Tenant, *, drop_data: bool) -> None: ...

    async def audit_trail(self, identifier: str | None, limit: int, after: int | None) -> AuditPage: ...

    async def impersonate(
        self, identifier: str, *, reason: str, scopes: Iterable[str], expires_in: float
    ) -> IssuedToken: ...

    @property
    def domains(self) -> MultitenantRouteManager: ...

    @property
    def tokens(self) -> MultitenantTokenManager: ...

    def stats(self) -> dict[str, Any]: ...
