"""The tenants that were made ahead, in a SQL database."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, TypeVar

from sqlalchemy import ColumnElement, Connection, RowMapping, Select, bindparam, delete, func, insert, select, update
from sqlalchemy.exc import IntegrityError

from ..audit import AuditEntry
from ..bus import Change
from ..errors import NamespaceExistsError, TenantExistsError
from ..tenant import Tenant
from .models import aware, naive, tenants
from .models import pending as table
from .pending import PendingTenant
from .sqlalchemy_audit import write_entries

T = TypeVar("T")

_COUNT = select(func.count()).where(table.c.recipe == bindparam("recipe"))
# Without a wait for those that others are about to take; SQLite, which has one writer at a time, leaves the words out.
_TAKE = (
    select(table)
    .where(table.c.is_ready, table.c.recipe == bindparam("recipe"))
    .order_by(table.c.id)
    .limit(1)
    .with_for_update(skip_locked=True)
)
_FORGET = delete(table).where(table.c.id == bindparam("the_id"))
_ADD_TENANT = insert(tenants)


class SQLAlchemyPending(ABC):
    """The part of a SQL store that is a `PendingStore`, in the table `tenancy_pending`."""

    @abstractmethod
    async def _write(self, work: Callable[[Connection], T]) -> T: ...

    @abstractmethod
    async def _read(self, work: Callable[[Connection], T]) -> T: ...

    @abstractmethod
    async def _rows(self, query: Select[Any]) -> Sequence[RowMapping]: ...

    @abstractmethod
    def _row(self, tenant: Tenant) -> dict[str, Any]: ...

    @abstractmethod
    async def _clash(self, tenant: Tenant) -> TenantExistsError | NamespaceExistsError: ...

    @abstractmethod
    def _tell(self, connection: Connection, *changes: Change) -> None: ...

    async def add_pending(self, pending: PendingTenant, at_most: int) -> bool:
        def count(connection: Connection) -> int:
            return connection.scalar(_COUNT, {"recipe": pending.recipe}) or 0

        if await self._read(count) >= at_most:
            return False
        await self._write(lambda connection: connection.execute(insert(table).values(_to_row(pending))))
        # In another transaction than the insert, so that whoever is the last to count sees all the others.
        if await self._read(count) <= at_most:
            return True
        await self.remove_pending(pending)
        return False

    async def change_pending(self, before: PendingTenant, after: PendingTenant) -> bool:
        change = update(table).where(_is(before)).values(_to_row(after))
        return await self._write(lambda connection: connection.execute(change).rowcount) == 1

    async def remove_pending(self, pending: PendingTenant) -> bool:
        this = delete(table).where(_is(pending))
        return await self._write(lambda connection: connection.execute(this).rowcount) == 1

    async def list_pending(self) -> Sequence[PendingTenant]:
        return [_to_pending(row) for row in await self._rows(select(table).order_by(table.c.id))]

    async def claim_pending(self, tenant: Tenant, recipe: str, *, audit: Sequence[AuditEntry] = ()) -> Tenant | None:
        def work(connection: Connection) -> Tenant | None:
            row = connection.execute(_TAKE, {"recipe": recipe}).mappings().first()
            if row is None:
                return None
            made = replace(tenant, id=row["id"], namespace=row["namespace"], revision=row["revision"])
            connection.execute(_FORGET, {"the_id": made.id})
            connection.execute(_ADD_TENANT, self._row(made))
            write_entries(connection, [replace(entry, tenant_id=made.id) for entry in audit])
            self._tell(connection, Change.of_tenant(made.id, made.identifier))
            return made

        try:
            return await self._write(work)
        except IntegrityError as error:
            raise await self._clash(tenant) from error


def _is(pending: PendingTenant) -> ColumnElement[bool]:
    """The row, if it is still as `pending` was read."""
    return (
        (table.c.id == pending.id)
        & (table.c.updated_at == naive(pending.updated_at))
        & (table.c.is_ready == pending.is_ready)
    )


def _to_row(pending: PendingTenant) -> dict[str, Any]:
    return {
        "id": pending.id,
        "namespace": pending.namespace,
        "manager_type": pending.manager_type,
        "recipe": pending.recipe,
        "revision": pending.revision,
        "is_ready": pending.is_ready,
        "updated_at": naive(pending.updated_at),
    }


def _to_pending(row: RowMapping) -> PendingTenant:
    return PendingTenant(**{**row, "updated_at": aware(row["updated_at"])})
