"""Have tenants' engines tell what each tenant takes: the time of its statements, and its connections."""

from collections.abc import Callable
from functools import partial
from typing import Any

from sqlalchemy import Engine, event
from sqlalchemy.pool import ConnectionPoolEntry, PoolProxiedConnection

from ..usage import TenantUsage

TENANT_OPTION = "tenancy_tenant_id"  # the execution option that says whose an engine or connection is
_EXECUTIONS = ("do_execute", "do_executemany", "do_execute_no_params")
_END = "tenancy_end_of_hold"


def meter(engine: Engine, usage: TenantUsage) -> None:
    """Count what is done by `engine`, and by those that are made of it for one tenant.

    By the dialect and not by events, which cost each statement several times as much.
    """
    dialect: Any = engine.dialect
    for name in _EXECUTIONS:
        setattr(dialect, name, _timed(getattr(dialect, name), usage))
    dialect.set_engine_execution_options = partial(_of_tenant, dialect.set_engine_execution_options, usage)
    event.listen(engine, "checkin", _end_hold)
    event.listen(engine, "detach", _end_hold)


def _timed(execute: Callable[..., None], usage: TenantUsage) -> Callable[..., None]:
    clock, count = usage.clock, usage.statement

    def timed(*args: Any) -> None:
        began = clock()
        try:
            execute(*args)
        finally:
            seconds = clock() - began
            # The last argument is the execution's context; what SQLAlchemy does for itself has no tenant, or none.
            connection = getattr(args[-1], "root_connection", None)
            tenant_id = None if connection is None else connection.get_execution_options().get(TENANT_OPTION)
            if tenant_id is not None:
                count(tenant_id, seconds)

    return timed


def _of_tenant(proceed: Callable[..., None], usage: TenantUsage, engine: Any, options: Any) -> None:
    # An engine that is made of another one has its pool, which does not know whose the connections are.
    tenant_id = engine.get_execution_options().get(TENANT_OPTION)
    if tenant_id is not None:
        engine.raw_connection = partial(_hold, usage, tenant_id, type(engine).raw_connection, engine)
    proceed(engine, options)


def _hold(
    usage: TenantUsage, tenant_id: str, connect: Callable[[Engine], PoolProxiedConnection], engine: Engine
) -> PoolProxiedConnection:
    connection = connect(engine)
    if connection.record_info is not None:
        connection.record_info[_END] = usage.hold(tenant_id)
    return connection


def _end_hold(_connection: object, entry: ConnectionPoolEntry) -> None:
    end = entry.record_info.pop(_END, None) if entry.record_info else None
    if end is not None:
        end()
