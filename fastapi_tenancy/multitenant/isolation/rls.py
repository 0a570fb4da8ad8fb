"""Many tenants' rows in the same tables, kept apart by PostgreSQL's row-level security."""

# SQLAlchemy's compiler is only half typed, and the arguments that we only hand on are not spelt out.
# mypy: disable-error-code="no-untyped-call, no-any-return, override"

from functools import partial
from typing import Any, ClassVar

from sqlalchemy import URL, Alias, Connection, Engine, MetaData, Table, delete, func, select
from sqlalchemy.ext.asyncio import AsyncSession

from ...errors import ConfigurationError
from ...migrations import exclusively
from ...settings import TenancySettings
from ...tenant import Tenant
from .armed import arm
from .base import Isolation
from .one_statement import check_one_statement
from .policies import SETTING
from .rls_faults import faults, has_all_tables
from .scoped import check_metadata, is_shared, tenant_columns
from .sessions import AnyEngine, StampingContext, compile_with, new_session, stay_with_the_tenant, tenant_of
from .stamping import StampingCompiler
from .text import refuse


class RLSIsolation(Isolation):
    """Lets PostgreSQL keep tenants apart who share the tables of `metadata`: each transaction says whose it is.

    `text()` and driver-level SQL may be anything that `check_one_statement` lets through; an INSERT of that kind gives
    `tenant_id` itself, as `current_setting('tenancy.tenant_id')`. Shared tables are written outside of tenants'
    sessions, by the same role.

    Not covered are the driver's own connection (`get_raw_connection()`, `raw_connection()`); tables that are not in
    `metadata`; partitions made after the start; functions, procedures and triggers in the database that change the
    setting, run SQL they are given, or are SECURITY DEFINER under a role that bypasses row-level security; foreign
    keys, which lead and cascade across tenants unless they include `tenant_id`; and unique keys, where an insert that
    fails tells that somebody has the key.

    Raises:
        ConfigurationError: the database is not PostgreSQL, or `metadata` has tables whose rows cannot be told apart.
    """

    name: ClassVar[str] = "rls"

    def __init__(self, metadata: MetaData, url: URL, _settings: TenancySettings | None = None) -> None:
        if url.get_backend_name() != "postgresql":
            raise ConfigurationError(
                f'shared_isolation "rls" needs PostgreSQL, and database_url is for {url.get_backend_name()}; use "row" '
                'or, on MySQL and MariaDB, "schema"'
            )
        check_metadata(metadata)
        self._metadata = metadata

    def prepare(self, connection: Connection, *, create: bool = True) -> None:
        """Create the tables and policies that are missing, as far as the role may, and check the whole.

        Raises:
            ConfigurationError: tenants could not be kept apart; names each fault with the SQL that mends it.
        """
        with exclusively(connection):
            if create and not has_all_tables(connection, self._metadata):
                self._metadata.create_all(connection)
            self._protect(connection, expect_all=create)

    def _protect(self, connection: Connection, *, expect_all: bool) -> None:
        look = partial(faults, connection, self._metadata, expect_all=expect_all)
        found = look()
        if missing := [fault.remedy for fault in found if fault.is_missing]:
            for statement in missing:
                connection.exec_driver_sql(statement, execution_options={"no_parameters": True})
            found = look()
        if found:
            listed = "".join(f"\n  {fault.what}; mend it with: {fault.remedy}" for fault in found)
            raise ConfigurationError(f"row-level security would not keep tenants apart:{listed}")

    def drop(self, connection: Connection, tenant: Tenant) -> None:
        connection.execute(select(func.set_config(SETTING, tenant.id, True)))
        for column in reversed(tenant_columns(self._metadata)):
            connection.execute(delete(column.table).where(column == tenant.id))
        connection.execute(select(func.set_config(SETTING, "", True)))

    def guard(self, engine: Engine) -> None:
        """Make `engine`, which from now on serves tenants only, say in each transaction whose it is.

        Its connections run nothing unless they were opened by way of `sessionmaker`.
        """
        compile_with(engine, _SharedIsReadCompiler, _OneStatementContext)
        arm(engine, lambda connection: {SETTING: tenant_of(connection)})
        stay_with_the_tenant(engine)

    def sessionmaker(self, engine: AnyEngine, session_class: type[AsyncSession], tenant_id: str) -> Any:
        """What opens the sessions of one tenant on a guarded engine; made once per profile, not per session.

        For such a session other tenants' rows are not there; writing one of another tenant fails in PostgreSQL.
        """
        return new_session(engine, session_class, tenant_id)


class _OneStatementContext(StampingContext):
    """Lets nothing through, compiled or not, that could change whose the transaction is."""

    @classmethod
    def check_sent(cls, _connection: Connection, context: Any) -> None:
        if not isinstance(context.statement, str):
            refuse(f"a {type(context.statement).__name__} cannot be looked into; give SQL as a str")
        check_one_statement(context.statement)


class _SharedIsReadCompiler(StampingCompiler):
    """Says clearly what is wrong with writing a shared table, where PostgreSQL would pass over its rows in silence."""

    def visit_insert(self, insert_stmt: Any, *args: Any, **kw: Any) -> str:
        _refuse_shared(insert_stmt.table)
        return super().visit_insert(insert_stmt, *args, **kw)

    def visit_update(self, update_stmt: Any, *args: Any, **kw: Any) -> str:
        _refuse_shared(update_stmt.table)
        return super().visit_update(update_stmt, *args, **kw)

    def visit_delete(self, delete_stmt: Any, *args: Any, **kw: Any) -> str:
        _refuse_shared(delete_stmt.table)
        return super().visit_delete(delete_stmt, *args, **kw)


def _refuse_shared(written: Any) -> None:
    table = written.element if isinstance(written, Alias) else written
    if isinstance(table, Table) and is_shared(table):
        refuse(f"the table {table.key!r} is shared by all tenants: they read it and none writes it")
