"""Compile only what is known, and no SQL text: what SQLAlchemy or an application adds is refused until it is known."""

# SQLAlchemy's compiler is only half typed.
# mypy: disable-error-code="no-untyped-call, no-any-return"

from collections.abc import Callable
from typing import Any, NoReturn

from sqlalchemy import ClauseElement
from sqlalchemy.sql import visitors
from sqlalchemy.sql.compiler import IdentifierPreparer, SQLCompiler, TypeCompiler
from sqlalchemy.sql.functions import FunctionElement

from .text import (
    check_collation,
    check_extract_field,
    check_function,
    check_literal,
    check_operator,
    check_type,
    check_unquoted,
    refuse,
    refuse_text,
)

_KNOWN = frozenset(
    """
    aggregate_order_by aggregate_orderby_inline aggregateorderby alias array binary bindparam case cast clauselist
    collation column compound_select concat_op_expression_clauselist cte delete dmltargetcopy element_list
    empty_set_expr empty_set_op_expr expression_clauselist extract false frame_clause funcfilter function grouping
    ilike_case_insensitive_operand insert join label label_reference lambda_element lateral mysql_dml_limit_clause
    mysql_match null on_conflict_do_nothing on_conflict_do_update order_by_list over override_binds
    postgresql_distinct_on release_savepoint rollback_to_savepoint savepoint scalar_function_column scalar_values select
    select_statement_grouping sequence slice subquery table table_valued_alias table_valued_column tablesample
    textual_label_reference true tuple type_coerce typeclause unary unsupported_compilation update values withingroup
    """.split()  # noqa: SIM905 - a list would take sixty lines
)
_KNOWN_ENDINGS = ("_binary", "_unary_operator", "_unary_modifier", "_func")

_WHY = {
    "on_duplicate_key_update": "ON DUPLICATE KEY UPDATE could change another tenant's row; look the row up first, then "
    "update or insert it",
}


class StrictCompiler(SQLCompiler):
    """Checks every place where SQLAlchemy passes on an application's text as it is."""

    def visit_column(self, column: Any, *args: Any, **kw: Any) -> str:
        if column.is_literal:
            check_literal(column.name)
        if isinstance(_innermost(column.table), FunctionElement):
            check_function(column.name, in_from=False)  # PostgreSQL takes f.name for name(f)
        return super().visit_column(column, *args, **kw)

    def visit_scalar_function_column(self, element: Any, **kw: Any) -> str:
        check_function(element.name, in_from=False)  # as above
        return super().visit_scalar_function_column(element, **kw)

    def visit_function(self, func: Any, *args: Any, asfrom: bool = False, **kw: Any) -> str:
        check_function(func.name, in_from=asfrom)
        return super().visit_function(func, *args, **kw)

    def visit_extract(self, extract: Any, **kw: Any) -> str:
        check_extract_field(extract.field)
        return super().visit_extract(extract, **kw)

    def visit_collation(self, element: Any, **kw: Any) -> str:
        check_collation(element.collation)
        return super().visit_collation(element, **kw)

    def visit_custom_op_binary(self, element: Any, operator: Any, **kw: Any) -> str:
        check_operator(operator.opstring, self.dialect.name)
        return super().visit_custom_op_binary(element, operator, **kw)

    def visit_custom_op_unary_operator(self, element: Any, operator: Any, **kw: Any) -> str:
        check_operator(operator.opstring, self.dialect.name)
        return super().visit_custom_op_unary_operator(element, operator, **kw)

    def visit_custom_op_unary_modifier(self, element: Any, operator: Any, **kw: Any) -> str:
        check_operator(operator.opstring, self.dialect.name)
        return super().visit_custom_op_unary_modifier(element, operator, **kw)

    def visit_bindparam(self, bindparam: Any, *args: Any, **kw: Any) -> str:
        expression = bindparam.type.dialect_impl(self.dialect).bind_expression(bindparam)
        check_elements(expression)
        return super().visit_bindparam(bindparam, *args, **kw)

    def _label_select_column(self, select: Any, column: Any, *args: Any, **kw: Any) -> Any:
        expression = column.type.dialect_impl(self.dialect).column_expression(column)
        check_elements(expression)
        return super()._label_select_column(select, column, *args, **kw)

    def _render_values(self, element: Any, **kw: Any) -> str:
        rows = [row for chunk in element._data for row in chunk]  # noqa: SLF001 - a traversal skips it
        check_elements(*(value for row in rows for value in row))
        return super()._render_values(element, **kw)

    def render_literal_value(self, value: Any, type_: Any, *args: Any, **kw: Any) -> str:
        if not type(type_).__module__.startswith("sqlalchemy."):
            refuse(f"a value of the type {type_!r} would be written into the SQL as text; leave it a bound value")
        return super().render_literal_value(value, type_, *args, **kw)

    def get_statement_hint_text(self, hint_texts: Any) -> NoReturn:
        refuse_text(hint_texts)

    def format_from_hint_text(self, sqltext: Any, table: Any, hint: Any, iscrud: Any) -> NoReturn:
        refuse_text(hint)


class StrictPreparer(IdentifierPreparer):
    """Quotes whatever needs it, also where `quoted_name(…, quote=False)` says not to."""

    def quote(self, ident: str, *args: Any, **kw: Any) -> str:
        if getattr(ident, "quote", None) is False:
            check_unquoted(str(ident))
        return super().quote(ident, *args, **kw)


class StrictTypeCompiler(TypeCompiler):
    """Renders a type only if the result reads as a type."""

    def process(self, type_: Any, **kw: Any) -> str:
        return check_type(super().process(type_, **kw))


def refusals(compiler: type[SQLCompiler]) -> dict[str, Callable[..., NoReturn]]:
    """Methods that refuse each construct which `compiler` can render and which is not known to be safe."""
    names = (name.removeprefix("visit_") for name in dir(compiler) if name.startswith("visit_"))
    return {f"visit_{name}": _refusal(name) for name in names if not _is_known(name)}


def check_elements(*elements: object) -> None:
    """Refuse constructs that render themselves, by `@compiles` or a dispatch of their own: they can say anything.

    Raises:
        IsolationError: names the class.
    """
    for element in elements:
        for part in visitors.iterate(element) if isinstance(element, ClauseElement) else ():
            for cls in type(part).__mro__:
                if _renders_itself(cls):
                    refuse(f"{type(part).__name__} renders its own SQL, and nobody can tell whose rows that reads")


def _innermost(source: Any) -> Any:
    """What an alias, or an alias of an alias, stands for."""
    while (element := getattr(source, "element", None)) is not None:
        source = element
    return source


def _renders_itself(cls: type) -> bool:
    module = getattr(vars(cls).get("_compiler_dispatch"), "__module__", "sqlalchemy")
    return not module.startswith("sqlalchemy") or module == "sqlalchemy.ext.compiler"


def _is_known(name: str) -> bool:
    return name in _KNOWN or name.endswith(_KNOWN_ENDINGS)


def _refusal(name: str) -> Callable[..., NoReturn]:
    def visit(self: SQLCompiler, element: Any, *args: Any, **kw: Any) -> NoReturn:
        if name in _WHY:
            refuse(_WHY[name])
        refuse_text(getattr(element, "text", element))

    return visit
