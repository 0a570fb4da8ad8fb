"""Whatever SELECT is composed, a tenant in shared tables reads what it would read alone."""

import asyncio
from collections.abc import Iterator, Sequence
from contextlib import AsyncExitStack
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from isolation.row_databases import Database, outcome, session_alone, session_of
from isolation.row_models import (
    A,
    Author,
    Note,
    Tag,
    note_tags,
)
from sqlalchemy import ColumnElement, FromClause, Select, and_, func, not_, or_, select, true, union_all
from sqlalchemy.ext.asyncio import AsyncSession

Joins = Sequence[dict[str, bool]]

TABLES = (Author.__table__, Note.__table__, Tag.__table__, note_tags)


def numbers(source: FromClause) -> list[ColumnElement[Any]]:
    return [column for column in source.c if str(column.type) == "INTEGER"]


@st.composite
def sources(draw: st.DrawFn, joins: Joins, depth: int) -> FromClause:
    """A table as it is, an alias, or a SELECT in the place of a table."""
    table = draw(st.sampled_from(TABLES))
    if depth == 0 or draw(st.booleans()):
        return table.alias()
    inner = draw(selects(joins, depth - 1))
    return inner.subquery() if draw(st.booleans()) else inner.cte()


@st.composite
def conditions(draw: st.DrawFn, columns: list[ColumnElement[Any]], joins: Joins, depth: int) -> ColumnElement[bool]:
    left, right = draw(st.sampled_from(columns)), draw(st.sampled_from(columns))
    number = draw(st.sampled_from([1, 2, 101, 104]))
    kind = draw(st.integers(0, 7 if depth else 4))
    if kind == 5:
        return left.in_(draw(selects(joins, depth - 1, width=1)))
    if kind == 6:
        inner = draw(sources(joins, depth - 1))
        return select(inner).where(draw(st.sampled_from(numbers(inner))) == left).exists()
    if kind == 7:
        return left >= draw(selects(joins, depth - 1, width=1)).limit(1).scalar_subquery()
    return (
        left == right,
        left <= number,
        or_(left == number, true()),
        not_(left == number),
        or_(left.is_(None), and_(right > 1, left != right)),
    )[kind]


@st.composite
def selects(draw: st.DrawFn, joins: Joins, depth: int, width: int = 2) -> Select[Any]:
    source = draw(sources(joins, depth))
    columns = numbers(source)
    for _ in range(draw(st.integers(0, 2))):
        joined = draw(sources(joins, depth - 1 if depth else 0))
        columns += numbers(joined)
        how = draw(st.sampled_from(joins))
        source = source.join(joined, draw(conditions(columns, joins, 0)), **how)
    chosen = [draw(st.sampled_from(columns)).label(f"c{place}") for place in range(width)]
    statement = select(*chosen).select_from(source)
    if draw(st.booleans()):
        statement = statement.where(draw(conditions(columns, joins, depth)))
    if draw(st.integers(0, 4)) == 0:
        statement = select(*(func.count(column).label(column.name) for column in chosen)).select_from(source)
    elif draw(st.integers(0, 3)) == 0:
        statement = statement.distinct()
    # Limits come in no particular order, so only an ordered one gives the same rows twice.
    return statement.order_by(*(f"c{place}" for place in range(width)))


@st.composite
def statements(draw: st.DrawFn, joins: Joins) -> Any:
    parts = [draw(selects(joins, 2)) for _ in range(draw(st.integers(1, 3)))]
    if len(parts) == 1:
        return parts[0]
    return union_all(*(part.order_by(None) for part in parts))


@pytest.fixture
def loop() -> Iterator[asyncio.Runner]:
    with asyncio.Runner() as runner:
        yield runner


@pytest.mark.filterwarnings("ignore:.*cartesian product:sqlalchemy.exc.SAWarning")  # as drawn
def test_any_select_gives_what_it_gives_alone(
    planted_once: Database, alone_once: Database, server: str, loop: asyncio.Runner
) -> None:
    stack = AsyncExitStack()

    async def open_both() -> list[AsyncSession]:
        for database in (planted_once, alone_once):
            stack.push_async_callback(database.disconnect)
        sessions = [
            await stack.enter_async_context(session_of(planted_once, A)),
            await stack.enter_async_context(session_alone(alone_once)),
        ]
        for session in sessions:
            await session.connection()
        return sessions

    shared, alone = loop.run(open_both())
    joins = ({}, {"isouter": True}) if server == "mariadb" else ({}, {"isouter": True}, {"full": True})

    # The library's part is the same everywhere, so the fastest database is asked most.
    @settings(max_examples=60 if server == "sqlite" else 20, deadline=None, suppress_health_check=list(HealthCheck))
    @given(statements(joins))
    def check(statement: Any) -> None:
        async def both() -> tuple[list[str] | None, list[str] | None]:
            return await outcome(shared, statement), await outcome(alone, statement)

        in_shared, when_alone = loop.run(both())
        assert in_shared == when_alone

    try:
        check()
    finally:
        loop.run(stack.aclose())
