"""Many tenants' rows in the same tables, told apart by `tenant_id`, and sessions that reach one tenant's only."""

# ruff: noqa: SLF001 - an execution context is made by a private method, and a statement's values are private
# The arguments that we only hand on are not spelt out.
# mypy: disable-error-code="override"

from collections.abc import Callable, Iterator, Mapping
from functools import cache
from typing import Any, TypeVar

from sqlalchemy import ClauseElement, Column, Connection, Engine, MetaData, event, inspect
from sqlalchemy.engine.default import DefaultExecutionContext
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession, async_sessionmaker
from sqlalchemy.orm import Mapper, Session
from sqlalchemy.sql import Insert, Update
from sqlalchemy.sql.elements import BindParameter

from .scoped import check_metadata, fills_tenant_column, tenant_column
from .stamping import StampingCompiler, key_of
from .statements import GuardingCompiler
from .strict import StrictPreparer, StrictTypeCompiler, refusals
from .text import refuse, refuse_text

_TENANT = "tenancy_tenant_id"  # the execution option that says whose an engine or connection is
_SCHEMAS = "schema_translate_map"

_Listeners = tuple[tuple[str, Callable[..., None]], ...]
_AnySession = TypeVar("_AnySession", bound=AsyncSession)


class RowIsolation:
    """Keeps tenants apart who share the tables of `metadata`.

    A guarded engine compiles and executes nothing but statements narrowed to the tenant that it was bound to, whatever
    is run through its sessions and their connections. Not covered are the driver's own connection
    (`get_raw_connection()`, `raw_connection()`) and what the database does by itself: views, functions and triggers
    that read such tables; foreign keys, which lead and cascade across tenants unless they include `tenant_id`; and
    unique keys, where an insert that fails tells that somebody has the key.

    Raises:
        ConfigurationError: `metadata` has tables whose rows cannot be told apart; all of them are named.
    """

    def __init__(self, metadata: MetaData) -> None:
        check_metadata(metadata)
        self._metadata = metadata

    def guard(self, engine: AsyncEngine) -> None:
        """Make `engine`, which from now on serves tenants only, refuse what cannot be narrowed.

        Its connections run nothing unless they were opened by way of `sessionmaker`.
        """
        sync = engine.sync_engine
        dialect: Any = sync.dialect
        refused = refusals(dialect.statement_compiler)
        _compile_with(sync, GuardingCompiler, _GuardingContext, metadata=self._metadata, **refused)
        dialect.preparer = _derived(StrictPreparer, dialect.preparer)
        dialect.identifier_preparer = dialect.preparer(dialect)
        type_compiler = _derived(StrictTypeCompiler, type(dialect.type_compiler_instance))
        dialect.type_compiler_instance = dialect.type_compiler = type_compiler(dialect)
        event.listen(sync, "before_cursor_execute", _refuse_uncompiled)
        event.listen(sync, "set_connection_execution_options", _refuse_another_tenant)
        event.listen(sync, "set_engine_execution_options", _refuse_another_tenant)

    def sessionmaker(
        self, engine: AsyncEngine, session_class: type[_AnySession], tenant_id: str
    ) -> async_sessionmaker[_AnySession]:
        """What opens the sessions of one tenant on a guarded engine; made once per profile, not per session.

        Whatever such a session cannot narrow to the tenant raises an `IsolationError` before it is sent. A flush that
        would change an object of another tenant finds no row, which SQLAlchemy reports as a `StaleDataError`.
        """
        guards = (*_STAMPS, ("before_attach", _refuse_foreign_object))
        return _sessionmaker(engine, session_class, tenant_id, guards)


def stamped_sessionmaker(
    engine: AsyncEngine, session_class: type[_AnySession], tenant_id: str
) -> async_sessionmaker[_AnySession]:
    """What opens the sessions of a tenant who has the tables to itself: `tenant_id` is filled in, no more."""
    if not issubclass(engine.dialect.statement_compiler, StampingCompiler):
        _compile_with(engine.sync_engine, StampingCompiler, _StampingContext)
    return _sessionmaker(engine, session_class, tenant_id, _STAMPS)


class _StampingContext(DefaultExecutionContext):
    """Puts in the tenant's id, from the engine that the connection belongs to."""

    @classmethod
    def _init_compiled(
        cls,
        dialect: Any,
        connection: Connection,
        dbapi: Any,
        options: Any,
        compiled: Any,
        parameters: Any,
        *args: Any,
        **kw: Any,
    ) -> Any:
        names = getattr(compiled, "tenant_parameters", ())
        if names:
            tenant = dict.fromkeys(names, _tenant_of(connection))
            parameters = [{**row, **tenant} for row in parameters] or [tenant]
        return super()._init_compiled(dialect, connection, dbapi, options, compiled, parameters, *args, **kw)


class _GuardingContext(_StampingContext):
    """Checks what only the values tell; how the statement is made has been checked when it was compiled."""

    @classmethod
    def _init_compiled(
        cls,
        dialect: Any,
        connection: Connection,
        dbapi: Any,
        options: Any,
        compiled: Any,
        parameters: Any,
        statement: Any,
        *args: Any,
        **kw: Any,
    ) -> Any:
        tenant = _tenant_of(connection)
        if options.get(_SCHEMAS) != connection.get_execution_options().get(_SCHEMAS):
            refuse("schema_translate_map would lead to other tables; leave it out")
        column = getattr(compiled, "written_column", None)
        if column is not None:
            for given in _given(column, parameters, statement):
                if isinstance(given, ClauseElement) or given not in (None, tenant):
                    refuse(f"another tenant's id is given for {column}; leave it out")
        return super()._init_compiled(dialect, connection, dbapi, options, compiled, parameters, statement, *args, **kw)


def _compile_with(
    engine: Engine, compiler: type[StampingCompiler], context: type[_StampingContext], **attributes: Any
) -> None:
    dialect: Any = engine.dialect
    dialect.statement_compiler = _derived(compiler, dialect.statement_compiler, **attributes)
    dialect.execution_ctx_cls = _derived(context, dialect.execution_ctx_cls)
    engine.clear_compiled_cache()


def _sessionmaker(
    engine: AsyncEngine, session_class: type[_AnySession], tenant_id: str, listeners: _Listeners
) -> async_sessionmaker[_AnySession]:
    return async_sessionmaker(
        engine.execution_options(**{_TENANT: tenant_id}),
        class_=session_class,
        sync_session_class=_listening(session_class.sync_session_class, listeners),  # type: ignore[arg-type] # hashable
        expire_on_commit=False,
    )


def _derived(ours: type, theirs: type, **attributes: Any) -> Any:
    return type(f"{ours.__name__}Of{theirs.__name__}", (ours, theirs), attributes)


def _tenant_of(target: Connection | Engine) -> str:
    tenant = target.get_execution_options().get(_TENANT)
    if not tenant:
        refuse("the connection belongs to no tenant; use a session of the tenant's profile")
    return str(tenant)


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


def _refuse_uncompiled(
    _connection: Connection, _cursor: object, statement: str, _parameters: object, context: Any, _many: bool
) -> None:
    if not isinstance(context.compiled, GuardingCompiler):
        refuse_text(statement)


def _refuse_another_tenant(target: Connection | Engine, options: Mapping[str, Any]) -> None:
    if _TENANT in target.get_execution_options() and not options.keys().isdisjoint((_TENANT, _SCHEMAS)):
        refuse(
            "a tenant's connection stays with its tenant and its schema; open a session of the other tenant's profile"
        )


@cache
def _listening(base: type[Session], listeners: _Listeners) -> type[Session]:
    session_class = type(f"Tenant{base.__name__}", (base,), {})
    for name, listener in listeners:
        event.listen(session_class, name, listener)
    return session_class


def _stamp_new_objects(session: Session, *_: object) -> None:
    tenant = _tenant_of(session.get_bind())
    for instance in session.new:
        for name in _tenant_attributes(inspect(instance).mapper):
            if getattr(instance, name) is None:
                setattr(instance, name, tenant)


def _refuse_foreign_object(session: Session, instance: object) -> None:
    loaded = inspect(instance).dict
    for name in _tenant_attributes(inspect(instance).mapper):
        if loaded.get(name) not in (None, _tenant_of(session.get_bind())):
            refuse(f"this {type(instance).__name__} belongs to another tenant; load the session's own")


@cache
def _tenant_attributes(mapper: Mapper[Any]) -> tuple[str, ...]:
    """Several in joined inheritance, where each table has its own `tenant_id`."""
    filled = {tenant_column(table) for table in mapper.tables if fills_tenant_column(table)}
    return tuple(prop.key for prop in mapper.column_attrs if filled.intersection(prop.columns))


_STAMPS: _Listeners = (("before_flush", _stamp_new_objects),)
