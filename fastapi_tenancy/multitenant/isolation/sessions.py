"""Bind engines and sessions to a tenant: what every isolation, and a tenant alone in its database, has in common."""

# The arguments that we only hand on are not spelt out.
# mypy: disable-error-code="override"

from collections.abc import Callable, Mapping
from functools import cache, partial
from typing import Any, TypeAlias

from sqlalchemy import Connection, Engine, event, inspect
from sqlalchemy.engine.default import DefaultExecutionContext
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession, async_sessionmaker
from sqlalchemy.orm import Mapper, Session, sessionmaker
from sqlalchemy.pool.base import _AdhocProxiedConnection
from sqlalchemy.sql.compiler import IdentifierPreparer
from sqlalchemy.util import immutabledict

from ..ddl import preparer_like
from ..hygiene import mark_traces
from ..metering import TENANT_OPTION
from .scoped import fills_tenant_column, tenant_column
from .stamping import StampingCompiler
from .text import refuse

SCHEMAS_OPTION = "schema_translate_map"
_PINNED = frozenset({TENANT_OPTION, SCHEMAS_OPTION})
_OWN = "_tenancy_pinned"  # the attribute of an engine that keeps what it was bound with

Listeners: TypeAlias = tuple[tuple[str, Callable[..., None]], ...]
AnyEngine: TypeAlias = AsyncEngine | Engine


class StampingContext(DefaultExecutionContext):
    """Puts in the tenant's id, from the engine that the connection belongs to, and marks what may leave traces.

    These methods and not an event, which costs each statement ten times as much.
    """

    @classmethod
    def check_sent(cls, connection: Connection, context: Any) -> None:
        """Refuse what must not be executed, by `context.statement`, the SQL that is about to be sent.

        Raises:
            IsolationError: it could reach what is not the tenant's.
        """

    @classmethod
    def check_given(cls, connection: Connection, options: Any, compiled: Any, parameters: Any, statement: Any) -> None:
        """Refuse what only the options and values of this execution tell.

        Raises:
            IsolationError: as above.
        """

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
        cls.check_given(connection, options, compiled, parameters, statement)
        names = getattr(compiled, "tenant_parameters", ())
        if names:
            tenant = dict.fromkeys(names, tenant_of(connection))
            parameters = [{**row, **tenant} for row in parameters] or [tenant]
        context = super()._init_compiled(
            dialect, connection, dbapi, options, compiled, parameters, statement, *args, **kw
        )
        cls.check_sent(connection, context)
        if getattr(compiled, "leaves_traces", True):
            mark_traces(connection, context.statement)
        return context

    @classmethod
    def _init_statement(cls, dialect: Any, connection: Connection, *args: Any, **kw: Any) -> Any:
        return cls._checked(connection, super()._init_statement(dialect, connection, *args, **kw))

    @classmethod
    def _init_ddl(cls, dialect: Any, connection: Connection, *args: Any, **kw: Any) -> Any:
        return cls._checked(connection, super()._init_ddl(dialect, connection, *args, **kw))

    @classmethod
    def _checked(cls, connection: Connection, context: Any) -> Any:
        # With a first connection, before anybody has it, SQLAlchemy asks the server for its version and the like.
        if not isinstance(connection.connection, _AdhocProxiedConnection):
            cls.check_sent(connection, context)
            mark_traces(connection, context.statement)
        return context


def compile_with(
    engine: Engine, compiler: type[StampingCompiler], context: type[StampingContext], **attributes: Any
) -> None:
    """Make `engine` compile and execute with ours in front of its dialect's own."""
    dialect: Any = engine.dialect
    dialect.statement_compiler = derived(compiler, dialect.statement_compiler, **attributes)
    dialect.execution_ctx_cls = derived(context, dialect.execution_ctx_cls)
    engine.clear_compiled_cache()


def write_names_as(engine: Engine, preparer: type[IdentifierPreparer], **attributes: Any) -> None:
    """Make `engine` write names with ours in front of its dialect's own."""

    def install(*_: object) -> None:
        model = engine.dialect.identifier_preparer
        if not isinstance(model, preparer):
            engine.dialect.identifier_preparer = preparer_like(model, derived(preparer, type(model), **attributes))

    install()
    # On its first connection, SQLAlchemy may find another kind of server, and changes how it writes names.
    event.listen(engine, "connect", install)


def check_schemas(connection: Connection, options: Mapping[str, Any]) -> None:
    """Refuse an execution's own `schema_translate_map`."""
    # SQLAlchemy hands on the very same map, unless another one was given.
    if options.get(SCHEMAS_OPTION) is not connection.get_execution_options().get(SCHEMAS_OPTION):
        refuse("schema_translate_map would lead to other tables; leave it out")


def derived(ours: type, theirs: type, **attributes: Any) -> Any:
    return type(f"{ours.__name__}Of{theirs.__name__}", (ours, theirs), attributes)


def stay_with_the_tenant(engine: Engine) -> None:
    """Refuse execution options that would turn a tenant's engine or connection into another's.

    By the dialect and not by events: a listener on the engine costs every connection of it about 30 µs.
    """
    dialect: Any = engine.dialect
    for name in ("set_connection_execution_options", "set_engine_execution_options"):
        setattr(dialect, name, partial(_keep_tenant, getattr(dialect, name)))


def _keep_tenant(proceed: Callable[..., None], target: Any, options: Mapping[str, Any]) -> None:
    pinned = _pinned(target)
    if TENANT_OPTION in pinned and not options.keys().isdisjoint(_PINNED):
        # SQLAlchemy asks the dialect when it has set them.
        others = {name: value for name, value in target.get_execution_options().items() if name not in _PINNED}
        target._execution_options = immutabledict({**others, **pinned})  # noqa: SLF001 - it has no public setter
        refuse(
            "a tenant's connection stays with its tenant and its schema; open a session of the other tenant's profile"
        )
    if isinstance(target, Engine) and TENANT_OPTION in options:
        vars(target)[_OWN] = {name: options[name] for name in _PINNED if name in options}
    return proceed(target, options)


def _pinned(target: Any) -> Mapping[str, Any]:
    """What binds the engine, or the connection's engine, to its tenant; nothing where it is bound to none."""
    engine = target if isinstance(target, Engine) else target.engine
    while engine is not None:
        if _OWN in vars(engine):
            pinned: Mapping[str, Any] = vars(engine)[_OWN]
            return pinned
        engine = vars(engine).get("_proxied")
    return {}


def tenant_of(target: Connection | Engine) -> str:
    """Whose the connection or engine is.

    Raises:
        IsolationError: nobody's.
    """
    tenant = target.get_execution_options().get(TENANT_OPTION)
    if not tenant:
        refuse("the connection belongs to no tenant; use a session of the tenant's profile")
    return str(tenant)


def new_session(
    engine: AnyEngine,
    session_class: type[AsyncSession],
    tenant_id: str,
    listeners: Listeners = (),
    **options: Any,
) -> Any:
    """What opens a tenant's sessions on `engine`: of `session_class`, or of its synchronous class on an `Engine`.

    `tenant_id` is filled into new objects; made once per profile, not per session.
    """
    bound = engine.execution_options(**options, **{TENANT_OPTION: tenant_id})
    base: Any = session_class.sync_session_class
    sync_class: Any = _listening(base, (*_STAMPS, *listeners))
    if isinstance(bound, AsyncEngine):
        return async_sessionmaker(bound, class_=session_class, sync_session_class=sync_class, expire_on_commit=False)
    return sessionmaker(bound, class_=sync_class, expire_on_commit=False)


def stamped_sessionmaker(engine: AnyEngine, session_class: type[AsyncSession], tenant_id: str) -> Any:
    """What opens the sessions of a tenant who has the tables to itself: `tenant_id` is filled in, no more."""
    if not issubclass(engine.dialect.statement_compiler, StampingCompiler):
        compile_with(sync_engine(engine), StampingCompiler, StampingContext)
    return new_session(engine, session_class, tenant_id)


def sync_engine(engine: AnyEngine) -> Engine:
    return engine.sync_engine if isinstance(engine, AsyncEngine) else engine


@cache
def tenant_attributes(mapper: Mapper[Any]) -> tuple[str, ...]:
    """Several in joined inheritance, where each table has its own `tenant_id`."""
    filled = {tenant_column(table) for table in mapper.tables if fills_tenant_column(table)}
    return tuple(prop.key for prop in mapper.column_attrs if filled.intersection(prop.columns))


@cache
def _listening(base: type[Session], listeners: Listeners) -> type[Session]:
    session_class = type(f"Tenant{base.__name__}", (base,), {})
    for name, listener in listeners:
        event.listen(session_class, name, listener)
    return session_class


def _stamp_new_objects(session: Session, *_: object) -> None:
    tenant = tenant_of(session.get_bind())
    for instance in session.new:
        for name in tenant_attributes(inspect(instance).mapper):
            if getattr(instance, name) is None:
                setattr(instance, name, tenant)


_STAMPS: Listeners = (("before_flush", _stamp_new_objects),)
