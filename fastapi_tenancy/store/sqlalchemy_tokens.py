"""The tenants' tokens in a SQL database."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any, TypeVar

from sqlalchemy import Connection, Delete, RowMapping, Select, bindparam, delete, insert, select, update

from ..audit import AuditEntry
from ..bus import Change
from .models import aware, naive, tenants, tokens
from .sqlalchemy_audit import write_entries
from .token import LAST_USE_EVERY, TokenRecord, no_tenant_for_token

T = TypeVar("T")

_FORGOTTEN_AT_ONCE = 1000  # more than come by one new token; a statement has a limited number of parameters

# Made once: to build a statement takes as long as to run it.
_GET = select(tokens).where(tokens.c.token_id == bindparam("token_id"))
_NOTE = (
    update(tokens)
    .where(tokens.c.token_id == bindparam("the_id"))
    .where(tokens.c.last_used_at.is_(None) | (tokens.c.last_used_at <= bindparam("long_ago")))
    .values(last_used_at=bindparam("used_at"))
)


class SQLAlchemyTokens(ABC):
    """The part of a SQL store that is a `TokenStore`, in the table `tenancy_tokens`."""

    @abstractmethod
    async def _write(self, work: Callable[[Connection], T]) -> T: ...

    @abstractmethod
    async def _rows(self, query: Select[Any]) -> Sequence[RowMapping]: ...

    @abstractmethod
    def _tell(self, connection: Connection, *changes: Change) -> None: ...

    async def add_token(self, token: TokenRecord, *, audit: Sequence[AuditEntry] = ()) -> None:
        expired = (
            select(tokens.c.token_id)
            .where(tokens.c.tenant_id == token.tenant_id, tokens.c.expires_at <= naive(token.created_at))
            .limit(_FORGOTTEN_AT_ONCE)
        )

        def work(connection: Connection) -> None:
            if not _lock_owner(connection, token):
                raise no_tenant_for_token(token)
            # By their keys: MariaDB locks the gaps of a range, and two tokens at once would wait for each other.
            if old := connection.scalars(expired).all():
                connection.execute(delete(tokens).where(tokens.c.token_id.in_(old)))
            connection.execute(insert(tokens).values(_to_row(token)))
            write_entries(connection, audit)

        await self._write(work)

    async def get_token(self, token_id: str) -> TokenRecord | None:
        rows = await self._rows(_GET.params(token_id=token_id))
        return _to_token(rows[0]) if rows else None

    async def list_tokens(
        self, tenant_id: str, limit: int | None = None, after: str | None = None
    ) -> Sequence[TokenRecord]:
        query = select(tokens).where(tokens.c.tenant_id == tenant_id).order_by(tokens.c.token_id).limit(limit)
        if after is not None:
            query = query.where(tokens.c.token_id > after)
        return [_to_token(row) for row in await self._rows(query)]

    async def remove_token(self, tenant_id: str, token_id: str, *, audit: Sequence[AuditEntry] = ()) -> bool:
        def work(connection: Connection) -> bool:
            removed = connection.execute(_this(tenant_id, token_id)).rowcount == 1
            if removed:
                write_entries(connection, audit)
                self._tell(connection, Change.of_token(token_id))
            return removed

        return await self._write(work)

    async def exchange_token(self, token_id: str, successor: TokenRecord, *, audit: Sequence[AuditEntry] = ()) -> bool:
        def work(connection: Connection) -> bool:
            if not _lock_owner(connection, successor):
                return False
            if connection.execute(_this(successor.tenant_id, token_id)).rowcount != 1:
                return False
            connection.execute(insert(tokens).values(_to_row(successor)))
            write_entries(connection, audit)
            return True

        return await self._write(work)

    async def note_token_uses(self, uses: Mapping[str, datetime]) -> None:
        # In one order everywhere, so that two workers that note the same tokens cannot wait for each other.
        rows = [
            {"the_id": token_id, "used_at": naive(moment), "long_ago": naive(moment - LAST_USE_EVERY)}
            for token_id, moment in sorted(uses.items())
        ]
        if rows:
            await self._write(lambda connection: connection.execute(_NOTE, rows))


def _this(tenant_id: str, token_id: str) -> Delete:
    return delete(tokens).where(tokens.c.tenant_id == tenant_id, tokens.c.token_id == token_id)


def _lock_owner(connection: Connection, token: TokenRecord) -> bool:
    """Hold off a deletion, which would leave nobody to whom the new token belongs; False if it was faster."""
    owner = select(tenants.c.id).where(tenants.c.id == token.tenant_id, tenants.c.identifier.is_not(None))
    return connection.execute(owner.with_for_update()).first() is not None


def _to_row(token: TokenRecord) -> dict[str, Any]:
    return {
        "token_id": token.token_id,
        "tenant_id": token.tenant_id,
        "name": token.name,
        "scopes": " ".join(sorted(token.scopes)),
        "digest": token.digest,
        "created_at": naive(token.created_at),
        "expires_at": None if token.expires_at is None else naive(token.expires_at),
        "last_used_at": None if token.last_used_at is None else naive(token.last_used_at),
        "impersonated_by": token.impersonated_by,
    }


def _to_token(row: RowMapping) -> TokenRecord:
    expires_at, last_used_at = row["expires_at"], row["last_used_at"]
    return TokenRecord(
        token_id=row["token_id"],
        tenant_id=row["tenant_id"],
        name=row["name"],
        scopes=frozenset(row["scopes"].split()),
        digest=row["digest"],
        created_at=aware(row["created_at"]),
        expires_at=None if expires_at is None else aware(expires_at),
        last_used_at=None if last_used_at is None else aware(last_used_at),
        impersonated_by=row["impersonated_by"],
    )
