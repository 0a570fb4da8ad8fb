"""What an attacker puts into a statement, and how to see that it reached nobody else's rows."""

from collections.abc import Callable
from typing import Any

import pytest
from isolation.row_databases import Database, session_of
from isolation.row_models import A, words
from sqlalchemy import String
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.expression import ColumnElement, FunctionElement
from sqlalchemy.types import TypeDecorator, UserDefinedType

from fastapi_tenancy.errors import IsolationError

HOLE = "(SELECT group_concat(text) FROM notes)"


class Compiled(ColumnElement[str]):
    inherit_cache = True
    _traverse_internals = ()
    type = String()


@compiles(Compiled)
def _compile(*_: Any, **__: Any) -> str:
    return HOLE


class CompiledFunction(FunctionElement[str]):
    inherit_cache = True
    name = "compiled"
    type = String()


@compiles(CompiledFunction)
def _compile_function(*_: Any, **__: Any) -> str:
    return HOLE


class Dispatched(ColumnElement[str]):
    inherit_cache = True
    type = String()

    def _compiler_dispatch(self, *_: Any, **__: Any) -> str:
        return HOLE


class Breakout(UserDefinedType[str]):
    cache_ok = True

    def get_col_spec(self, **_: Any) -> str:
        return "TEXT) OR (1=1"


class Rendering(TypeDecorator[str]):
    """A type whose values and columns are wrapped in a construct that renders itself."""

    impl = String
    cache_ok = True

    def bind_expression(self, _bindparam: Any) -> Any:
        return Compiled()


class Reading(TypeDecorator[str]):
    impl = String
    cache_ok = True

    def column_expression(self, _column: Any) -> Any:
        return Compiled()


class Verbatim(TypeDecorator[str]):
    impl = String
    cache_ok = True

    def process_literal_param(self, value: Any, _dialect: Any) -> str:
        return str(value)


REFUSED = "refused"


async def check(database: Database, make: Callable[[], Any], expected: Any) -> None:
    """Run a statement as A: `expected` is REFUSED, an error, a number of rows changed, or A's own values."""
    before = database.rows_but(A)
    async with session_of(database, A) as session:
        if expected == REFUSED:
            with pytest.raises(IsolationError, match=r"refused in a tenant's session: .{20}"):
                await session.execute(make())
            await session.rollback()
            connection = await session.connection()
            with pytest.raises(IsolationError):
                await connection.execute(make())
        elif isinstance(expected, type):
            with pytest.raises(expected) as raised:
                await session.execute(make())
            assert "bravo" not in str(raised.value)
        else:
            result = await session.execute(make(), execution_options={"preserve_rowcount": True})
            assert (rows(result) if isinstance(expected, list) else result.rowcount) == expected
        await session.rollback() if isinstance(expected, type) else await session.commit()

    assert database.rows_but(A) == before


def rows(result: Any) -> list[str]:
    return sorted(words(row) for row in result.all())
