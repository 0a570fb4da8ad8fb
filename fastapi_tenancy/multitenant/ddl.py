"""Create a tenant's tables: rendered once, and sent to the server as one script."""

# ruff: noqa: SLF001 - how SQLAlchemy runs the DDL of a whole MetaData, and what listens to it, has no public names
# Its DDL visitors are not typed.
# mypy: disable-error-code="no-untyped-call"

import copy
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any, Generic, TypeVar

from sqlalchemy import ClauseElement, Connection, Dialect, MetaData, Table, util
from sqlalchemy.dialects.postgresql import DOMAIN, ENUM
from sqlalchemy.engine.mock import MockConnection
from sqlalchemy.sql.compiler import IdentifierPreparer
from sqlalchemy.sql.ddl import ExecutableDDLElement, SchemaGenerator
from sqlalchemy.types import SchemaType

T = TypeVar("T")


class MadeOnce(Generic[T]):
    """Keeps what was made of tables, until the application has added to them, or its migrations have."""

    def __init__(self) -> None:
        self._made: tuple[object, T] | None = None
        self._making = threading.Lock()

    def get(self, tables: Iterable[Table], make: Callable[[], T], head: str | None = None) -> T:
        """What `make` returns for `tables`, or where migrations make those, for the revision `head`."""
        shape = head or [(table, len(table.columns), len(table.indexes), len(table.constraints)) for table in tables]
        with self._making:
            if self._made is None or self._made[0] != shape:
                self._made = shape, make()
            return self._made[1]


def create_tables(
    bind: Connection | MockConnection,
    metadata: MetaData,
    tables: Sequence[Table],
    *,
    without: Iterable[ENUM | DOMAIN] = (),
    checkfirst: bool = False,
) -> None:
    """What `metadata.create_all` does, but for the named types in `without`, which are there already."""
    bind._run_ddl_visitor(partial(_Generator, without), metadata, checkfirst=checkfirst, tables=tables)  # type: ignore[arg-type] # called, no more


def rendered(dialect: Dialect, schema: str, element: ClauseElement, **options: Any) -> str:
    """The SQL of a statement that is about the tables of `schema`."""
    translated: dict[str, Any] = {"schema_translate_map": {None: schema}, "render_schema_translate": True}
    return str(element.compile(dialect=dialect, **translated, **options))


def rendered_tables(
    dialect: Dialect, schema: str, metadata: MetaData, tables: Sequence[Table], without: Iterable[ENUM | DOMAIN] = ()
) -> list[str]:
    """The statements that create the tables in `schema`."""
    statements: list[str] = []

    def take(element: Any, _parameters: object = None) -> None:
        statements.append(rendered(dialect, schema, element))

    create_tables(MockConnection(dialect, take), metadata, tables, without=without)
    return statements


def runs_python(metadata: MetaData, tables: Iterable[Table]) -> bool:
    """Whether a function of the application's listens to the creation, so that it cannot be rendered once for all."""
    targets = [metadata, *(part for table in tables for part in (table, *table.indexes))]
    names = ("before_create", "after_create")
    return not all(_is_ddl(fn) for target in targets for name in names for fn in getattr(target.dispatch, name))


def run_script(connection: Connection, script: str) -> None:
    """Send several statements at once, which a driver takes only where it is given no parameters."""
    driver: Any = connection.connection.driver_connection
    run = driver.execute(script)
    if connection.dialect.is_async:
        util.await_only(run)


def dialect_with(dialect: Dialect, preparer: type[IdentifierPreparer], **attributes: Any) -> Dialect:
    """A copy of a connected `dialect` that writes names as `preparer` does."""
    changed: Any = copy.copy(dialect)
    vars(changed).update(attributes)
    changed.identifier_preparer = preparer_like(changed.identifier_preparer, preparer)
    # Not to be sent with parameters, a statement has its percent signs as they are.
    percents = changed.paramstyle in ("format", "pyformat")
    vars(changed.identifier_preparer).update(dialect=changed, _double_percents=percents)
    return changed  # type: ignore[no-any-return] # it is the copy


def preparer_like(model: IdentifierPreparer, preparer: type[IdentifierPreparer]) -> IdentifierPreparer:
    """A `preparer` that knows what the connected `model` has learnt of its server."""
    made = preparer.__new__(preparer)
    vars(made).update(vars(model))
    return made


@contextmanager
def speaking(connection: Connection, dialect: Dialect, schema: str) -> Iterator[None]:
    """Have what `connection` executes be of `dialect`, and reach the tables of `schema`."""
    before = connection.dialect
    connection.dialect = dialect
    connection.execution_options(schema_translate_map={None: schema})
    try:
        yield
    finally:
        connection.execution_options(schema_translate_map=None)
        connection.dialect = before


class _Generator(SchemaGenerator):
    def __init__(self, without: Iterable[ENUM | DOMAIN], *args: Any, **kw: Any) -> None:
        super().__init__(*args, **kw)
        for type_ in without:  # a named type asks here whether it was created before
            self.memo.setdefault(f"pg_{type_.__visit_name__}", set()).add((type_.schema, type_.name))


def _is_ddl(listener: Any) -> bool:
    """Whether a listener is a DDL statement, or the method by which SQLAlchemy creates a column's type."""
    if isinstance(listener, ExecutableDDLElement):
        return getattr(listener._ddl_if, "callable_", None) is None
    method = getattr(listener, "func", listener)  # a partial, and before SQLAlchemy 2.1 a class of its own
    return isinstance(getattr(method, "__self__", getattr(method, "target", None)), SchemaType)
