"""What domains and tokens need of the tenants' directory."""

from collections.abc import Callable, Coroutine
from typing import Any, Protocol, TypeVar

from ..tenant import Tenant

T = TypeVar("T")


class FindsTenants(Protocol):
    @property
    def remembered_by_id(self) -> Callable[[str], Tenant | None]: ...

    async def read(self, identifier: str) -> Tenant: ...

    async def find_by_id(self, tenant_id: str) -> Tenant | None: ...

    async def ask(self, question: Coroutine[Any, Any, T]) -> T: ...
