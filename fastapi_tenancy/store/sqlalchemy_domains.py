"""The tenants' domains in a SQL database."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from sqlalchemy import ColumnElement, Connection, RowMapping, Select, delete, insert, select, update
from sqlalchemy.exc import IntegrityError

from ..audit import AuditEntry
from ..bus import Change
from .domain import Domain, DomainStatus, domain_changed, host_taken
from .models import aware, domains, naive, tenants
from .sqlalchemy_audit import write_entries

T = TypeVar("T")


class SQLAlchemyDomains(ABC):
    """The part of a SQL store that is a `DomainStore`, in the table `tenancy_domains`."""

    @abstractmethod
    async def _write(self, work: Callable[[Connection], T]) -> T: ...

    @abstractmethod
    async def _rows(self, query: Select[Any]) -> Sequence[RowMapping]: ...

    @abstractmethod
    def _tell(self, connection: Connection, *changes: Change) -> None: ...

    async def add_domain(self, domain: Domain, *, audit: Sequence[AuditEntry] = ()) -> None:
        # The lock holds off a deletion, which would leave nobody to whom the new claim belongs.
        owner = select(tenants.c.id).where(tenants.c.id == domain.tenant_id, tenants.c.identifier.is_not(None))

        def work(connection: Connection) -> None:
            if connection.execute(owner.with_for_update(read=True)).first() is None:
                raise domain_changed(domain)
            connection.execute(insert(domains).values(_to_row(domain)))
            write_entries(connection, audit)

        try:
            await self._write(work)
        except IntegrityError as error:
            raise domain_changed(domain) from error

    async def get_domain(self, tenant_id: str, host: str) -> Domain | None:
        return await self._first(select(domains).where(domains.c.tenant_id == tenant_id, domains.c.host == host))

    async def find_domain(self, host: str) -> Domain | None:
        return await self._first(select(domains).where(domains.c.verified_host == host))

    async def find_primary(self, tenant_id: str) -> Domain | None:
        return await self._first(select(domains).where(domains.c.primary_of == tenant_id))

    async def list_domains(
        self, tenant_id: str, limit: int | None = None, after: str | None = None
    ) -> Sequence[Domain]:
        query = select(domains).where(domains.c.tenant_id == tenant_id).order_by(domains.c.host).limit(limit)
        if after is not None:
            query = query.where(domains.c.host > after)
        return [_to_domain(row) for row in await self._rows(query)]

    async def change_domain(self, before: Domain, after: Domain, *, audit: Sequence[AuditEntry] = ()) -> None:
        change = update(domains).where(_is(before)).values(_to_row(after))

        def work(connection: Connection) -> None:
            if connection.execute(change).rowcount != 1:
                raise domain_changed(before)
            write_entries(connection, audit)
            self._tell(connection, Change.of_domain(before.tenant_id, before.host))

        try:
            await self._write(work)
        except IntegrityError as error:
            raise host_taken(after.host) from error

    async def make_primary(self, domain: Domain, *, audit: Sequence[AuditEntry] = ()) -> None:
        siblings = domains.c.tenant_id == domain.tenant_id
        chosen = update(domains).where(_is(domain), domains.c.verified_host.is_not(None))

        def work(connection: Connection) -> None:
            # One domain after the other: two at once in one statement would clash, if only for a moment.
            connection.execute(update(domains).where(siblings).values(primary_of=None))
            if connection.execute(chosen.values(primary_of=domain.tenant_id)).rowcount != 1:
                raise domain_changed(domain)
            write_entries(connection, audit)
            self._tell(connection, Change.of_domain(domain.tenant_id, domain.host))

        await self._write(work)

    async def remove_domain(self, domain: Domain, *, audit: Sequence[AuditEntry] = ()) -> bool:
        mine = (domains.c.tenant_id == domain.tenant_id) & (domains.c.host == domain.host)

        def work(connection: Connection) -> bool:
            removed = connection.execute(delete(domains).where(mine)).rowcount == 1
            if removed:
                write_entries(connection, audit)
                self._tell(connection, Change.of_domain(domain.tenant_id, domain.host))
            return removed

        return await self._write(work)

    async def _first(self, query: Select[Any]) -> Domain | None:
        rows = await self._rows(query)
        return _to_domain(rows[0]) if rows else None


def _is(domain: Domain) -> ColumnElement[bool]:
    """The row, if it is still as `domain` was read."""
    return (
        (domains.c.tenant_id == domain.tenant_id)
        & (domains.c.host == domain.host)
        & (domains.c.status == domain.status.value)
        & (domains.c.token == domain.token)
    )


def _to_row(domain: Domain) -> dict[str, Any]:
    return {
        "tenant_id": domain.tenant_id,
        "host": domain.host,
        "status": domain.status.value,
        "token": domain.token,
        "created_at": naive(domain.created_at),
        "verified_at": None if domain.verified_at is None else naive(domain.verified_at),
        "verified_host": domain.host if domain.is_verified else None,
        "primary_of": domain.tenant_id if domain.is_primary and domain.is_verified else None,
    }


def _to_domain(row: RowMapping) -> Domain:
    verified_at = row["verified_at"]
    return Domain(
        host=row["host"],
        tenant_id=row["tenant_id"],
        status=DomainStatus(row["status"]),
        token=row["token"],
        created_at=aware(row["created_at"]),
        verified_at=None if verified_at is None else aware(verified_at),
        is_primary=row["primary_of"] is not None,
    )
