"""Compile a tenant's statements: every table in them is the tenant's own, or one that is shared by all."""

# SQLAlchemy's compiler is only half typed.
# mypy: disable-error-code="no-untyped-call, no-any-return, override"

from typing import Any, ClassVar

from sqlalchemy import DDL, Alias, Connection, MetaData, Table, TableClause
from sqlalchemy.schema import CreateSchema, DropSchema
from sqlalchemy.sql.compiler import IdentifierPreparer

from .places import Places, schema_named
from .schema_text import check_names, check_text
from .sessions import StampingContext, check_schemas, tenant_of
from .stamping import StampingCompiler
from .text import check_function, refuse

_ANY_TABLE = Table("any", MetaData())


class PlacingPreparer(IdentifierPreparer):
    """Writes the tenant's schema before what is the tenant's, and the shared one before what is shared."""

    places: ClassVar[Places]

    def _with_schema_translate(self, schema_translate_map: Any) -> Any:
        # A statement is compiled once for all tenants, whichever map the first of them came with.
        preparer: Any = super()._with_schema_translate({**schema_translate_map, None: None})
        tenants_own = preparer.schema_for_object(_ANY_TABLE)

        def schema_for_object(item: Any) -> Any:
            if isinstance(item, TableClause) or item._use_schema_map:  # noqa: SLF001 - as SQLAlchemy itself asks
                return self.places.schema_of(item) or tenants_own
            return item.schema

        preparer.schema_for_object = schema_for_object
        return preparer


class SchemaCompiler(StampingCompiler):
    """Refuses what leads out of the tenant's schema, and what writes a shared table."""

    places: ClassVar[Places]

    def __init__(self, *args: Any, **kw: Any) -> None:
        super().__init__(*args, **kw)
        if not isinstance(self.preparer, PlacingPreparer):
            refuse("this version of SQLAlchemy writes names in a way that is not known here; report it, please")
        check_names(self.string, self.places)

    def visit_update(self, update_stmt: Any, *args: Any, **kw: Any) -> str:
        return super().visit_update(self._to_scope(update_stmt), *args, **kw)

    def visit_delete(self, delete_stmt: Any, *args: Any, **kw: Any) -> str:
        return super().visit_delete(self._to_scope(delete_stmt), *args, **kw)

    def visit_textclause(self, textclause: Any, *args: Any, **kw: Any) -> str:
        check_text(textclause.text, self.places)
        return super().visit_textclause(textclause, *args, **kw)

    def visit_column(self, column: Any, *args: Any, **kw: Any) -> str:
        if column.is_literal:
            check_text(column.name, self.places)
        return super().visit_column(column, *args, **kw)

    def visit_function(self, func: Any, *args: Any, **kw: Any) -> str:
        check_function(func.name, in_from=False)
        return super().visit_function(func, *args, **kw)

    def render_literal_value(self, value: Any, *args: Any, **kw: Any) -> str:
        rendered: str = super().render_literal_value(value, *args, **kw)
        check_names(rendered, self.places)
        return rendered

    def _scope(self, state: Any) -> None:
        target: Any = state.statement.table
        # MySQL's UPDATE of several tables names them by their columns.
        written = (getattr(name, "table", None) for name in state._dict_parameters or ())  # noqa: SLF001 - of a statement resolved
        tables: tuple[Any, ...] = (target.element if isinstance(target, Alias) else target, *written)
        for table in tables:
            if self.places.is_shared(table):
                refuse(f"the table {table.key!r} is shared by all tenants: they read it and none writes it")
        if state.isinsert:
            super()._scope(state)


class SchemaContext(StampingContext):
    """Executes in no schema but the tenant's."""

    places: ClassVar[Places]

    @classmethod
    def check_sent(cls, connection: Connection, context: Any) -> None:
        tenant_id = tenant_of(connection)
        if not isinstance(context.compiled, SchemaCompiler):
            check_schemas(connection, context.execution_options)
            _check_uncompiled(context.statement.replace(schema_named(tenant_id), "own"), context.compiled, cls.places)

    @classmethod
    def check_given(cls, connection: Connection, options: Any, *_: object) -> None:
        check_schemas(connection, options)


def _check_uncompiled(statement: str, compiled: Any, places: Places) -> None:
    ddl = getattr(compiled, "statement", None)
    if ddl is None or isinstance(ddl, DDL):
        check_text(statement, places)
        return
    check_names(statement, places)
    element = getattr(ddl, "element", None)
    if isinstance(ddl, CreateSchema | DropSchema) or places.is_shared(getattr(element, "table", element)):
        refuse("a tenant creates, changes and drops nothing but what is in its own schema")
