"""Compile a tenant's statements: every table in them is narrowed to the tenant's rows.

The compiler is the one place that sees a statement in its final form, whether it comes from Core, the ORM, a flush, a
loader strategy or a CTE, and it renders every table. What it decides depends on the statement's structure alone, which
is SQLAlchemy's cache key, so it is decided once per statement and holds for every tenant.
"""

# ruff: noqa: SLF001 - SQLAlchemy has no public hook between the ORM's resolving of a statement and its rendering
# Its compiler is only half typed.
# mypy: disable-error-code="no-untyped-call, no-any-return, override"

from collections.abc import Callable, Iterator, Mapping
from typing import Any, ClassVar

from sqlalchemy import (
    Alias,
    Column,
    ColumnElement,
    FromClause,
    Join,
    MetaData,
    Table,
    TableSample,
    and_,
)
from sqlalchemy.exc import UnsupportedCompilationError
from sqlalchemy.sql.elements import Grouping
from sqlalchemy.sql.selectable import FromGrouping

from .scoped import is_shared, problem, tenant_column
from .stamping import StampingCompiler, filled, key_of
from .strict import StrictCompiler, check_elements
from .text import refuse


class GuardingCompiler(StampingCompiler, StrictCompiler):
    """Lets a statement reach the tenant's rows and no others, or refuses it.

    A table is narrowed in the WHERE of its SELECT, or in the ON of the outer join it is the inner side of, where that
    means the same. Anywhere else, as in a FULL JOIN, it is rendered as a subquery of the tenant's rows; that is also
    what becomes of any table in a place that nobody thought of. (There, a table with a schema has to be aliased.)
    """

    metadata: ClassVar[MetaData]

    def __init__(self, *args: Any, **kw: Any) -> None:
        self._narrowed: set[FromClause] = set()  # tables whose condition stands elsewhere in the same SELECT
        super().__init__(*args, **kw)

    def visit_select(self, *args: Any, **kw: Any) -> str:
        return self._apart(super().visit_select, *args, **kw)

    def visit_insert(self, insert_stmt: Any, *args: Any, **kw: Any) -> str:
        upsert = insert_stmt._post_values_clause
        # A traversal skips where it looks for conflicts.
        columns = getattr(upsert, "inferred_target_elements", None) or ()
        check_elements(getattr(upsert, "inferred_target_whereclause", None), *columns)
        return self._apart(super().visit_insert, insert_stmt, *args, **kw)

    def visit_update(self, update_stmt: Any, *args: Any, **kw: Any) -> str:
        return self._apart(super().visit_update, self._to_scope(update_stmt), *args, **kw)

    def visit_delete(self, delete_stmt: Any, *args: Any, **kw: Any) -> str:
        return self._apart(super().visit_delete, self._to_scope(delete_stmt), *args, **kw)

    def visit_compound_select(self, cs: Any, *args: Any, **kw: Any) -> str:
        check_elements(cs)
        return super().visit_compound_select(cs, *args, **kw)

    def visit_cte(self, cte: Any, *args: Any, **kw: Any) -> str | None:
        if str(cte.name).lower() in {table.name.lower() for table in self.metadata.tables.values()}:
            refuse(f"the CTE {cte.name!r} has the name of a table; call it something else")
        return super().visit_cte(cte, *args, **kw)

    def _compose_select_body(
        self, text: str, select: Any, state: Any, inner_columns: Any, froms: Any, *args: Any
    ) -> str:
        check_elements(select)
        leaves = {leaf: column for source in froms for leaf, column in self._leaves(source)}
        if leaves:
            self._narrowed = set(leaves)
            select = select._clone()
            select._where_criteria = self._narrow(select._where_criteria, *leaves.values())
        return super()._compose_select_body(text, select, state, inner_columns, froms, *args)

    def visit_join(self, join: Any, *args: Any, **kw: Any) -> str:
        if join.isouter and not join.full:
            leaves = dict(self._leaves(join.right))
            self._narrowed |= leaves.keys()
            join = join._clone()
            join.onclause = and_(*self._narrow((join.onclause,), *leaves.values()))
        return super().visit_join(join, *args, **kw)

    def visit_table(self, table: Any, asfrom: bool = False, enclosing_alias: Any = None, **kw: Any) -> str:
        rendered: str = super().visit_table(table, asfrom=asfrom, enclosing_alias=enclosing_alias, **kw)
        if not asfrom or kw.get("ashint"):  # no more than a name, in FOR UPDATE OF, or in MySQL's DELETE
            return rendered
        column = self._readable(table)
        is_aliased = enclosing_alias is not None and enclosing_alias.element is table
        leaf = enclosing_alias if is_aliased else table
        if column is None or leaf in self._narrowed:
            self._narrowed.discard(leaf)
            return rendered
        tenant = self.process(self._tenant_of(column), **kw)
        subquery = f"(SELECT * FROM {rendered} WHERE {self.preparer.quote(column.name)} = {tenant})"  # noqa: S608 - it is SQLAlchemy's
        return subquery if is_aliased else f"{subquery} AS {self.preparer.quote(table.name)}"

    def visit_on_conflict_do_update(self, on_conflict: Any, **kw: Any) -> Any:
        if not hasattr(super(), "visit_on_conflict_do_update"):
            raise UnsupportedCompilationError(self, type(on_conflict))
        insert: Any = self.stack[-1]["selectable"]
        column = self._writable(insert.table)
        criteria = () if on_conflict.update_whereclause is None else (on_conflict.update_whereclause,)
        on_conflict = on_conflict._clone()
        on_conflict.update_values_to_set = values = _without_tenant(dict(on_conflict.update_values_to_set), column)
        check_elements(*criteria, *values.values())
        on_conflict.update_whereclause = and_(*self._narrow(criteria, column))
        return super().visit_on_conflict_do_update(on_conflict, **kw)  # type: ignore[misc] # only some dialects have it

    def _scope(self, state: Any) -> None:
        """Fill in an INSERT, narrow an UPDATE or DELETE, and refuse what writes anything but a tenant's table."""
        table = state.statement.table
        column = self._writable(table)
        check_elements(state.statement, *_given_values(state))
        if not self.stack:
            self.written_column = column
        if state.isinsert:
            self._fill(state, column, keep_given=False)
            return
        _check_set(state, table)
        if state.isupdate and column.key in {*map(key_of, state._dict_parameters or ()), *(self.column_keys or ())}:
            # Setting it to what it is: a change to another tenant's id is refused when the values are known.
            state._dict_parameters = filled(
                state._dict_parameters or {}, column, self._tenant_of(column), keep_given=False
            )
            state._no_parameters = False
        leaves = {leaf: own for source in state._extra_froms for leaf, own in self._leaves(source)}
        self._narrowed = {table, *leaves}
        state.statement = state.statement._clone()
        criteria = state.statement._where_criteria
        state.statement._where_criteria = self._narrow(criteria, table.c[column.key], *leaves.values())

    def _apart(self, render: Callable[..., str], *args: Any, **kw: Any) -> str:
        """Render a statement inside another one, where the conditions of the outer one say nothing."""
        narrowed, self._narrowed = self._narrowed, set()
        try:
            return render(*args, **kw)
        finally:
            self._narrowed = narrowed

    def _narrow(self, criteria: Any, *columns: ColumnElement[str]) -> tuple[ColumnElement[Any], ...]:
        # The tenant's first: tried on another tenant's row, a condition may fail with an error that quotes the row.
        # (But PostgreSQL goes by cost, and one that costs no more than a comparison may come first.)
        given = (Grouping(and_(*criteria)),) if criteria else ()
        return (*(column == self._tenant_of(column) for column in columns), *given)

    def _leaves(self, source: FromClause) -> Iterator[tuple[FromClause, ColumnElement[str]]]:
        """The tables of a FROM element that a condition beside it narrows: not those an outer join fills with NULL."""
        if isinstance(source, FromGrouping):
            yield from self._leaves(source.element)
        elif isinstance(source, Join):
            for side in _kept_sides(source):
                yield from self._leaves(side)
        else:
            table = source.element if isinstance(source, Alias | TableSample) else source
            column = self._readable(table) if isinstance(table, Table) else None
            if column is not None:
                yield source, source.c[column.key]

    def _readable(self, table: Any) -> Column[str] | None:
        """The column to narrow `table` by; None where all tenants read it."""
        if not isinstance(table, Table) or table.metadata is not self.metadata:
            name = getattr(table, "name", str(table))
            refuse(f"the table {name!r} is not one of the tenants' tables; use those of the metadata given")
        if why := problem(table):
            refuse(f"the table {table.key!r} cannot be scoped: {why}")
        return None if is_shared(table) else tenant_column(table)

    def _writable(self, table: Any) -> Column[str]:
        column = self._readable(table.element if isinstance(table, Alias) else table)
        if column is None:
            refuse(f"the table {table.key!r} is shared by all tenants: they read it and none writes it")
        return column


def _without_tenant(values: Mapping[Any, Any], column: Column[str]) -> dict[Any, Any]:
    """What an upsert sets: `set_=dict(stmt.excluded)` is common and names tenant_id, which changes nothing."""
    for name, value in values.items():
        if key_of(name) not in column.table.c:
            refuse(f"the upsert sets {key_of(name)!r}, which is no column of {column.table.key}")
        if key_of(name) == column.key and not (isinstance(value, ColumnElement) and key_of(value) == column.key):
            refuse(f"the upsert sets tenant_id of {column.table.key}; leave it out")
    return {name: value for name, value in values.items() if key_of(name) != column.key}


def _check_set(state: Any, table: FromClause) -> None:
    """Refuse what only MySQL knows: an UPDATE that sets columns of the tables it is joined with."""
    own = (table.c, getattr(table, "element", table).c)  # an alias is set by the columns of its table, too
    for name in state._dict_parameters or ():
        if isinstance(name, ColumnElement) and not any(columns.contains_column(name) for columns in own):
            refuse(f"an UPDATE sets {name}, which is another table's; update that by a statement of its own")


def _given_values(state: Any) -> Iterator[Any]:
    for row in state._multi_parameters or [state._dict_parameters or {}]:
        yield from row.values()


def _kept_sides(join: Join) -> tuple[FromClause, ...]:
    if join.full:
        return ()
    return (join.left,) if join.isouter else (join.left, join.right)
