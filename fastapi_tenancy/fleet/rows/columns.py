"""How a column's values are read and written, below whatever the application makes of them."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from functools import partial
from types import MappingProxyType
from typing import Any

import sqlalchemy as sa
from sqlalchemy import ColumnElement, Dialect, Table, cast, type_coerce
from sqlalchemy.sql.sqltypes import _AbstractInterval  # all that a server's own type has in common with ours
from sqlalchemy.types import Interval, TypeDecorator, TypeEngine

from ...multitenant.isolation.scoped import fills_tenant_column, tenant_column
from .kinds import KINDS, Kind, duration, timedelta_of
from .problems import RowsError

# The first that a type is an instance of.
_KINDS: tuple[tuple[type[Any], str], ...] = (
    (sa.JSON, "json"),
    (sa.Boolean, "boolean"),
    (sa.Uuid, "uuid"),
    (_AbstractInterval, "interval"),
    (sa.DateTime, "datetime"),
    (sa.Date, "date"),
    (sa.Time, "time"),
    (sa.Integer, "integer"),
    (sa.Float, "float"),
    (sa.Numeric, "decimal"),
    (sa.LargeBinary, "bytes"),
    (sa.Enum, "text"),
    (sa.String, "text"),
)


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a table, on one kind of database.

    Attributes:
        name: in the database.
        kind: of its values.
        shape: what the database calls its type; values of the kind "literal" go only where this is the same.
        read: what is selected.
        type: which SQLAlchemy reads it with, and outside of PostgreSQL writes it with.
        load: makes of what was selected the value of that kind.
        dump: makes of the value what is written.
    """

    name: str
    kind: Kind
    shape: str
    read: ColumnElement[Any]
    type: TypeEngine[Any]
    load: Callable[[Any], Any] | None = None
    dump: Callable[[Any], Any] | None = None


def columns_of(table: Table, dialect: Dialect) -> list[Column]:
    """What is copied of a table: not what the database computes, nor the column that says whose a row is.

    Raises:
        RowsError: a column has a type that is not known.
    """
    whose = tenant_column(table) if fills_tenant_column(table) else None
    return [_column(each, dialect) for each in table.columns if each is not whose and each.computed is None]


def stored(type_: TypeEngine[Any], dialect: Dialect) -> TypeEngine[Any]:
    """The type below those that an application derives, such as one that encrypts or pickles."""
    impl = type_.dialect_impl(dialect)
    if isinstance(impl, TypeDecorator) and not isinstance(impl, Interval):
        return stored(impl.impl_instance, dialect)
    return impl


def _column(column: sa.Column[Any], dialect: Dialect) -> Column:
    type_ = stored(column.type, dialect)
    name = next((kind for known, kind in _KINDS if isinstance(type_, known)), "literal")
    shape = str(type_.compile(dialect)) if name == "literal" else name
    if name == "literal" and dialect.name != "postgresql":
        raise RowsError(f"the column {column} has the type {shape}, which cannot be copied; use another type")
    how = _HOW.get((name, dialect.name)) or _HOW.get((name, "")) or _as_it_is
    read, read_type, load, dump = how(column, type_)
    return Column(column.name, KINDS[name], shape, read, read_type, load, dump)


_How = tuple[ColumnElement[Any], TypeEngine[Any], Callable[[Any], Any] | None, Callable[[Any], Any] | None]


def _as_it_is(column: sa.Column[Any], type_: TypeEngine[Any]) -> _How:
    return type_coerce(column, type_), type_, None, None


def _as_text(column: sa.Column[Any], _type: TypeEngine[Any]) -> _How:
    return type_coerce(column, sa.Text()), sa.Text(), None, None


def _cast_to_text(column: sa.Column[Any], _type: TypeEngine[Any]) -> _How:
    return cast(column, sa.Text()), sa.Text(), None, None


def _with_digits(column: sa.Column[Any], type_: Any) -> _How:
    exact = sa.Numeric(type_.precision, type_.scale)
    return type_coerce(column, exact), exact, None, None


def _as_sqlite_has_it(column: sa.Column[Any], _type: TypeEngine[Any]) -> _How:
    # SQLite has a float here, of which SQLAlchemy would keep ten digits behind the point.
    plain = sa.types.NullType()
    return type_coerce(column, plain), plain, lambda value: Decimal(str(value)), float


def _uuid(column: sa.Column[Any], type_: Any) -> _How:
    uuid = sa.Uuid(as_uuid=True, native_uuid=type_.native_uuid)
    return type_coerce(column, uuid), uuid, None, None


def _moment(column: sa.Column[Any], type_: Any) -> _How:
    # A database that keeps no zone is held to have UTC in a column that should have one.
    load = _in_utc if type_.timezone else None
    return type_coerce(column, type_), type_, load, None


def _moment_without_zone(column: sa.Column[Any], type_: Any) -> _How:
    dump = partial(datetime.replace, tzinfo=None) if type_.timezone else None
    return *_moment(column, type_)[:3], dump


def _in_utc(value: datetime) -> datetime:
    return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


def _interval(column: sa.Column[Any], type_: TypeEngine[Any]) -> _How:
    return type_coerce(column, type_), type_, duration, timedelta_of


# By kind and database; "" stands for all others.
_HOW: Mapping[tuple[str, str], Callable[[sa.Column[Any], Any], _How]] = MappingProxyType(
    {
        ("json", "postgresql"): _cast_to_text,
        ("json", ""): _as_text,
        ("literal", "postgresql"): _cast_to_text,
        ("interval", "postgresql"): _cast_to_text,
        ("interval", ""): _interval,
        ("text", ""): _as_text,
        ("decimal", "sqlite"): _as_sqlite_has_it,
        ("decimal", ""): _with_digits,
        ("float", ""): lambda column, _type: (type_coerce(column, sa.Double()), sa.Double(), None, None),
        ("uuid", ""): _uuid,
        ("datetime", "postgresql"): _moment,
        ("datetime", ""): _moment_without_zone,
    }
)


def conversion(converters: Iterable[Callable[[Any], Any] | None]) -> Callable[[Iterable[Any]], list[Any]]:
    """What makes of a row another one, value by value; a column's converter is None where its values stay."""
    todo = [(place, convert) for place, convert in enumerate(converters) if convert is not None]

    def converted(row: Iterable[Any]) -> list[Any]:
        values = list(row)
        for place, convert in todo:  # a loop and no comprehension, as most values of most rows stay
            value = values[place]
            if value is not None:
                values[place] = convert(value)
        return values

    return converted
