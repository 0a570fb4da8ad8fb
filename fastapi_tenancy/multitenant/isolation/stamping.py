"""Fill in `tenant_id` wherever an INSERT leaves it out, whether it comes from Core, the ORM or a flush."""

# ruff: noqa: SLF001 - SQLAlchemy has no public hook between the ORM's resolving of a statement and its rendering
# Its compiler is only half typed.
# mypy: disable-error-code="no-untyped-call, no-any-return"

from collections.abc import Mapping
from typing import Any

from sqlalchemy import BindParameter, Column, ColumnElement, bindparam, null, select
from sqlalchemy.sql.base import CompileState
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.functions import Function

from .scoped import fills_tenant_column, tenant_column
from .text import refuse

# Functions that leave nothing behind in their session, beside those that SQLAlchemy has a class for.
_TRACELESS = frozenset(
    """abs avg bool_and bool_or ceil date date_part date_trunc floor greatest group_concat json_agg json_extract
    jsonb_agg jsonb_build_object json_build_object least length lower ltrim md5 nullif octet_length replace round rtrim
    strftime substr substring to_char to_tsquery to_tsvector total trim ts_rank unaccent upper""".split()  # noqa: SIM905 - a list would take forty lines
)


class StampingCompiler(SQLCompiler):
    """Changes INSERTs only.

    `leaves_traces` says whether the statement might leave something behind on its connection, beyond rows.

    The tenant's id is a bind parameter without a value, of a name of its own wherever it stands, since SQLAlchemy tells
    those inside VALUES from the others by name; `tenant_parameters` lists them for the execution to give the value.
    """

    def __init__(self, *args: Any, **kw: Any) -> None:
        self.tenant_parameters: list[str] = []
        self.written_column: Column[str] | None = None  # tenant_id of the table that the statement writes
        self.leaves_traces = False
        self._written = self._scoped = 0
        super().__init__(*args, **kw)
        if self._written != self._scoped:
            refuse("this version of SQLAlchemy compiles it in a way that is not known here; report it, please")

    def visit_textclause(self, *args: Any, **kw: Any) -> str:
        self.leaves_traces = True
        return super().visit_textclause(*args, **kw)

    def visit_function(self, func: Any, *args: Any, **kw: Any) -> str:
        if type(func) is Function and func.name.lower() not in _TRACELESS:
            self.leaves_traces = True
        return super().visit_function(func, *args, **kw)

    def visit_column(self, column: Any, *args: Any, **kw: Any) -> str:
        if column.is_literal and column.name != "*":
            self.leaves_traces = True
        return super().visit_column(column, *args, **kw)

    def visit_insert(self, insert_stmt: Any, *args: Any, **kw: Any) -> str:
        return super().visit_insert(self._to_scope(insert_stmt), *args, **kw)

    def resolved(self, state: Any) -> None:
        """Called for each DML statement, after the ORM has resolved its names and tables and before it is rendered."""
        self._scoped += 1
        self._scope(state)

    def _scope(self, state: Any) -> None:
        if fills_tenant_column(state.statement.table):
            column = tenant_column(state.statement.table)
            self._fill(state, column, keep_given=True)

    def _to_scope(self, statement: Any) -> Any:
        self._written += 1
        statement = statement._clone()
        statement._compile_state_factory = _scoped_state
        return statement

    def _fill(self, state: Any, column: Any, *, keep_given: bool) -> None:
        statement, tenant = state.statement, self._tenant_of(column)
        if statement._select_names:
            self._fill_from_select(state, column, tenant, keep_given=keep_given)
        elif state._has_multi_parameters:
            rows = [filled(row, column, tenant, keep_given=keep_given) for row in state._multi_parameters]
            state._multi_parameters, state._dict_parameters = rows, rows[0]
        elif not (keep_given and column.key in (self.column_keys or ())):
            state._dict_parameters = filled(state._dict_parameters or {}, column, tenant, keep_given=keep_given)
            state._no_parameters = False

    def _fill_from_select(self, state: Any, column: Any, tenant: BindParameter[str], *, keep_given: bool) -> None:
        statement = state.statement
        if column.key in map(key_of, statement._select_names):
            if keep_given:
                return
            refuse(f"INSERT … SELECT into {column.table.key} names tenant_id; leave it out, it is filled in")
        source = statement.select.subquery()
        state.statement = statement = statement._clone()
        statement.select = select(*source.c, tenant)
        statement._select_names = [*statement._select_names, column.key]
        state._dict_parameters = {**state._dict_parameters, column.key: null()}

    def _tenant_of(self, column: ColumnElement[str]) -> BindParameter[str]:
        name = f"tenancy_tenant_id_{len(self.tenant_parameters) + 1}"
        self.tenant_parameters.append(name)
        return bindparam(name, type_=column.type, required=True)


def filled(row: Mapping[Any, Any], column: Column[str], tenant: Any, *, keep_given: bool) -> dict[Any, Any]:
    if keep_given and column.key in map(key_of, row):
        return dict(row)
    return {**{name: value for name, value in row.items() if key_of(name) != column.key}, column: tenant}


def key_of(name: Any) -> str:
    """The key of a column that is named by a string, a column or an attribute."""
    return name if isinstance(name, str) else str(getattr(name, "key", ""))


def _scoped_state(statement: Any, compiler: Any, **kw: Any) -> Any:
    state = CompileState.create_for_statement(statement, compiler, **kw)
    compiler.resolved(state)
    return state
