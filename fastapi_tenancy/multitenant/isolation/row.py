"""Many tenants' rows in the same tables, told apart by `tenant_id`, and sessions that reach one tenant's only."""

# ruff: noqa: SLF001 - an execution context is made by a private method, and a statement's values are private
# The arguments that we only hand on are not spelt out.
# mypy: disable-error-code="override"

from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

from sqlalchemy import URL, ClauseElement, Column, Connection, MetaData, delete, event, inspect
from sqlalchemy.engine import ExceptionContext
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Session
from sqlalchemy.sql import Insert, Update
from sqlalchemy.sql.elements import BindParameter

from ...migrations import exclusively
from ...settings import TenancySettings
from ...tenant import Tenant
from .base import Isolation
from .scoped import check_metadata, tenant_columns
from .sessions import (
    AnyEngine,
    Listeners,
    StampingContext,
    check_schemas,
    compile_with,
    derived,
    new_session,
    stay_with_the_tenant,
    sync_engine,
    tenant_attributes,
    tenant_of,
    write_names_as,
)
from .stamping import key_of
from .statements import GuardingCompiler
from .strict import StrictPreparer, StrictTypeCompiler, refusals
from .text import refuse, refuse_text


class RowIsolation(Isolation):
    """Keeps tenants apart who share the tables of `metadata`.

    A guarded engine compiles and executes nothing but statements narrowed to the tenant that it was bound to, whatever
    is run through its sessions and their connections. Not covered are the driver's own connection
    (`get_raw_connection()`, `raw_connection()`) and what the database does by itself: views, functions and triggers
    that read such tables; foreign keys, which lead and cascade across tenants unless they include `tenant_id`; and
    unique keys, where an insert that fails tells that somebody has the key.

    Raises:
        ConfigurationError: `metadata` has tables whose rows cannot be told apart; all of them are named.
    """

    name: ClassVar[str] = "row"

    def __init__(self, metadata: MetaData, _url: URL | None = None, _settings: TenancySettings | None = None) -> None:
        check_metadata(metadata)
        self._metadata = metadata

    def prepare(self, connection: Connection, *, create: bool = True) -> None:
        if create:
            with exclusively(connection):
                self._metadata.create_all(connection)

    def drop(self, connection: Connection, tenant: Tenant) -> None:
        for column in reversed(tenant_columns(self._metadata)):
            connection.execute(delete(column.table).where(column == tenant.id))

    def guard(self, engine: AnyEngine) -> None:
        """Make `engine`, which from now on serves tenants only, refuse what cannot be narrowed.

        Its connections run nothing unless they were opened by way of `sessionmaker`.
        """
        sync = sync_engine(engine)
        dialect: Any = sync.dialect
        refused = refusals(dialect.statement_compiler)
        compile_with(sync, GuardingCompiler, _GuardingContext, metadata=self._metadata, **refused)
        write_names_as(sync, StrictPreparer)
        type_compiler = derived(StrictTypeCompiler, type(dialect.type_compiler_instance))
        dialect.type_compiler_instance = dialect.type_compiler = type_compiler(dialect)
        event.listen(dialect, "handle_error", _without_values)
        stay_with_the_tenant(sync)

    def sessionmaker(self, engine: AnyEngine, session_class: type[AsyncSession], tenant_id: str) -> Any:
        """What opens the sessions of one tenant on a guarded engine; made once per profile, not per session.

        Whatever such a session cannot narrow to the tenant raises an `IsolationError` before it is sent. A flush that
        would change an object of another tenant finds no row, which SQLAlchemy reports as a `StaleDataError`.
        """
        return new_session(engine, session_class, tenant_id, _GUARDS)


class ValueRefused(Exception):  # noqa: N818 - it takes the place of a driver's error, which SQLAlchemy wraps
    """A database could not compute with a value; which one is not said."""


def _without_values(context: ExceptionContext) -> BaseException | None:
    """PostgreSQL may try a condition on other tenants' rows as well, and quotes the value with which that fails."""
    error, state = context.sqlalchemy_exception, getattr(context.original_exception, "sqlstate", None) or ""
    # <https://www.postgresql.org/docs/current/errcodes-appendix.html>: class 22 is "data exception"
    if not isinstance(error, DBAPIError) or not state.startswith("22"):
        return None
    masked = ValueRefused(f"SQLSTATE {state}; what the server says may quote another tenant's row, so it is left out")
    return type(error)(error.statement, error.params, masked, hide_parameters=error.hide_parameters)


class _GuardingContext(StampingContext):
    """Checks what only the values tell; how the statement is made has been checked when it was compiled."""

    @classmethod
    def check_sent(cls, _connection: Connection, context: Any) -> None:
        if not isinstance(context.compiled, GuardingCompiler):
            refuse_text(context.statement)

    @classmethod
    def check_given(cls, connection: Connection, options: Any, compiled: Any, parameters: Any, statement: Any) -> None:
        tenant = tenant_of(connection)
        check_schemas(connection, options)
        column = getattr(compiled, "written_column", None)
        if column is not None:
            for given in _given(column, parameters, statement):
                if isinstance(given, ClauseElement) or given not in (None, tenant):
                    refuse(f"another tenant's id is given for {column}; leave it out")


def _given(column: Column[Any], parameters: Any, statement: Any) -> Iterator[Any]:
    """The values that the application itself gave for `tenant_id`, in parameters or in `.values(…)`."""
    yield from (row.get(column.key) for row in parameters)
    for row in _written_rows(statement):
        named = row if isinstance(row, Mapping) else dict(zip(column.table.c.keys(), row, strict=False))
        for name, value in named.items():
            if key_of(name) == column.key:
                yield value.effective_value if isinstance(value, BindParameter) else value


def _written_rows(statement: Any) -> Iterator[Any]:
    if isinstance(statement, Insert | Update):
        ordered = getattr(statement, "_ordered_values", None)  # of SQLAlchemy 2.0
        yield dict(statement._values or ordered or ())
        for rows in statement._multi_values:
            yield from rows


def _refuse_foreign_object(session: Session, instance: object) -> None:
    loaded = inspect(instance).dict
    for name in tenant_attributes(inspect(instance).mapper):
        if loaded.get(name) not in (None, tenant_of(session.get_bind())):
            refuse(f"this {type(instance).__name__} belongs to another tenant; load the session's own")


_GUARDS: Listeners = (("before_attach", _refuse_foreign_object),)
