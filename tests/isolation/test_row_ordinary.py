"""Ordinary statements do for one tenant in shared tables what they do in a database that holds nobody else."""

from collections.abc import Callable
from datetime import date
from typing import Any

import pytest
from isolation.row_databases import Database, Rows, outcome, session_alone, session_of
from isolation.row_models import (
    A,
    Animal,
    Author,
    Country,
    Dog,
    Note,
    Tag,
    ledger,
    note_tags,
)
from sqlalchemy import (
    JSON,
    Function,
    Integer,
    String,
    and_,
    bindparam,
    case,
    cast,
    collate,
    column,
    delete,
    distinct,
    exists,
    extract,
    func,
    insert,
    lambda_stmt,
    literal,
    literal_column,
    not_,
    null,
    or_,
    select,
    true,
    tuple_,
    type_coerce,
    union,
    union_all,
    update,
    values,
)
from sqlalchemy.dialects.postgresql import insert as upsert  # SQLite compiles it too
from sqlalchemy.orm import (
    Bundle,
    aliased,
    contains_eager,
    defer,
    joinedload,
    load_only,
    selectinload,
    subqueryload,
    with_loader_criteria,
    with_polymorphic,
)

notes, authors, tags = Note.__table__, Author.__table__, Tag.__table__
other, writer = aliased(Note), aliased(Author)


def _tree() -> Any:
    tree = select(Note.id, Note.author_id).where(Note.id == 1).cte("tree", recursive=True)
    return select(tree.union_all(select(Note.id, Note.author_id).join(tree, Note.id == tree.c.id + 1)))


def _json(each: Function[Any]) -> Any:
    function = each.table_valued("key", "value")
    return select(Note.id, function.c.key, function.c.value).join(function, true())


def _values() -> Any:
    rows = (
        values(column("id", Integer), column("label", String), name="rows").data([(1, "one"), (3, "three")]).cte("rows")
    )
    return select(Note.text, rows.c.label).join(rows, rows.c.id == Note.id)


def _polymorphic() -> Any:
    animal = with_polymorphic(Animal, [Dog])
    return select(animal.name, animal.Dog.bark)


def _upsert() -> Any:
    statement = upsert(Tag).values([{"id": 1, "label": "new"}, {"id": 9, "label": "newer"}])
    return statement.on_conflict_do_update(index_elements=["id"], set_={"label": statement.excluded.label + "!"})


READS: dict[str, Callable[[], Any]] = {
    "entity": lambda: select(Note),
    "entities": lambda: select(Note, Author).join(Author),
    "bundle": lambda: select(Bundle("b", Note.id, Note.text)),
    "functions": lambda: select(func.upper(Note.text), func.length(Note.text), func.coalesce(Note.author_id, 0)),
    "now": lambda: select(func.count(func.now())).select_from(Note),
    "case": lambda: select(case((Note.id > 2, "late"), (Note.id == 1, "first"), else_=Note.text)),
    "case of values": lambda: select(case({1: "one", 2: "two"}, value=Note.id, else_="many")),
    "cast": lambda: select(cast(Note.id, String), cast(Note.text, String(3)), cast("7", Integer) + Note.id),
    "type coerce": lambda: select(type_coerce(Note.id, String)),
    "window": lambda: select(Note.id, func.row_number().over(partition_by=Note.author_id, order_by=Note.id)),
    "window frame": lambda: select(Note.id, func.sum(Note.id).over(order_by=Note.id, rows=(-1, 0))),
    "filter": lambda: select(func.count(Note.id).filter(Note.id > 1)),
    "between": lambda: select(Note.id).where(Note.id.between(2, 3)),
    "in": lambda: select(Note.id).where(Note.id.in_([1, 2, 101])),
    "in nothing": lambda: select(Note.id).where(Note.id.in_([])),
    "not in": lambda: select(Note.id).where(Note.id.not_in([1])),
    "in a select": lambda: select(Note.id).where(Note.author_id.in_(select(Author.id).where(Author.name != ""))),
    "rows in": lambda: select(Note.id).where(tuple_(Note.id, Note.author_id).in_([(1, 1), (2, 7)])),
    "exists": lambda: select(Author.id).where(exists().where(Note.author_id == Author.id)),
    "exists with text": lambda: select(Author.id).where(exists(literal_column("1")).where(Note.author_id == Author.id)),
    "not exists": lambda: select(Author.id).where(~select(Note.id).where(Note.author_id == Author.id).exists()),
    "label order": lambda: select(Note.id.label("n")).order_by("n").limit(2),
    "label group": lambda: select((Note.id % 2).label("odd"), func.count()).group_by("odd"),
    "json": lambda: select(Note.data["k"], Note.data["k"].as_string()).where(Note.data["k"].as_string() == "alpha"),
    "json function": lambda: _json(func.json_each(func.coalesce(Note.data, "{}"))),
    "strings": lambda: select(Note.text + "!", Note.text.concat("?"), func.substr(Note.text, 1, 3)),
    "like": lambda: select(Note.id).where(Note.text.like("%-1"), Note.text.ilike("ALPHA%")),
    "contains": lambda: select(Note.id).where(Note.text.contains("-", autoescape=True), Note.text.startswith("al")),
    "icontains": lambda: select(Note.id).where(Note.text.icontains("ALPHA"), Note.text.iendswith("1")),
    "regular expression": lambda: select(Note.id).where(Note.text.regexp_match("-[12]$")),
    "collate": lambda: select(Note.text).order_by(collate(Note.text, "NOCASE"), Note.text.collate("NOCASE").desc()),
    "operators": lambda: select(Note.id.op("&")(1), Note.text.op("||")("x"), Note.id.op("<>")(2)),
    "word operators": lambda: select(Note.id).where(Note.text.op("GLOB")("alpha-*"), Note.text.op("not like")("x")),
    "arithmetic": lambda: select(Note.id * 2 - 1, Note.id / 2, Note.id // 2, -Note.id, Note.id % 2),
    "bits": lambda: select(Note.id.bitwise_and(1), Note.id.bitwise_or(4), Note.id.bitwise_lshift(1)),
    "distinct": lambda: select(func.count(distinct(Note.author_id))),
    "select distinct": lambda: select(Note.author_id).distinct(),
    "count distinct": lambda: select(func.count(Note.author_id.distinct())),
    "is distinct": lambda: select(Note.id).where(Note.author_id.is_distinct_from(None)),
    "nulls": lambda: select(Note.id).where(Note.author_id.is_(None)).order_by(Note.author_id.nulls_last()),
    "null": lambda: select(Note.id, null(), literal("x"), literal(1.5), true()),
    "not": lambda: select(Note.id).where(not_(or_(Note.id == 1, and_(Note.id == 2, Note.text != "")))),
    "group by": lambda: select(Author.name, func.count(Note.id)).outerjoin(Note).group_by(Author.id),
    "having": lambda: select(Note.author_id, func.count()).group_by(Note.author_id).having(func.count() > 1),
    "limit": lambda: select(Note.id).order_by(Note.id.desc()).limit(2).offset(1),
    "slice": lambda: select(Note.id).order_by(Note.id).slice(1, 3),
    "for update": lambda: select(Note.id).with_for_update(of=Note, skip_locked=True),
    "extract": lambda: select(extract("year", literal(date(2026, 1, 2)))),
    "values": lambda: _values(),
    "subquery": lambda: select(select(Note.text.label("t")).where(Note.id > 1).subquery("s").c.t),
    "aliased subquery": lambda: select(aliased(Note, select(Note).where(Note.id > 1).subquery())),
    "scalar": lambda: select(
        Author.id, select(func.count(Note.id)).where(Note.author_id == Author.id).scalar_subquery()
    ),
    "cte": lambda: select(select(Note.id).cte("c").c.id),
    "two ctes": lambda: _two_ctes(),
    "recursive": lambda: _tree(),
    "union": lambda: union(select(Note.text), select(Tag.label)).order_by("text").limit(3),
    "intersect": lambda: select(Note.id).intersect(select(Author.id)),
    "entities of a union": lambda: select(aliased(Note, union_all(select(Note), select(Note)).subquery())),
    "self join": lambda: select(Note.id, other.id).join(other, other.author_id == Note.author_id),
    "outer join": lambda: select(Author, Note).outerjoin(Note, and_(Note.author_id == Author.id, Note.id > 1)),
    "outer join of an alias": lambda: select(Note.id, writer.name).outerjoin(writer, writer.id == Note.author_id),
    "chain of outer joins": lambda: select(Author.id, Note.id, Tag.label).outerjoin(Author.notes).outerjoin(Note.tags),
    "full join": lambda: select(Author.id, Note.id).join(Note, Note.author_id == Author.id, full=True),
    "nested join": lambda: select(Author.id, Tag.id).select_from(
        authors.outerjoin(notes.join(note_tags).join(tags), notes.c.author_id == authors.c.id)
    ),
    "shared": lambda: select(Country.name, func.count(Note.id)).outerjoin(Note).group_by(Country.id),
    "tables": lambda: select(notes.c.text, authors.c.name).select_from(notes.join(authors)),
    "table without mixin": lambda: select(ledger),
    "polymorphic": lambda: _polymorphic(),
    "child": lambda: select(Dog),
    "parent": lambda: select(Animal),
    "joined": lambda: select(Note).options(joinedload(Note.author), joinedload(Note.tags)).limit(3),
    "selected in": lambda: select(Author).options(selectinload(Author.notes.and_(Note.id > 1))),
    "subqueried": lambda: select(Author).options(subqueryload(Author.notes).joinedload(Note.tags)),
    "contains eager": lambda: select(Note).join(Note.author).options(contains_eager(Note.author)),
    "loader criteria": lambda: select(Note).options(with_loader_criteria(Note, Note.id > 1)),
    "load only": lambda: select(Note).options(load_only(Note.text), defer(Note.data)),
    "lambda": lambda: lambda_stmt(lambda: select(Note.id).where(Note.id > 1)),
    "from a statement": lambda: select(Note).from_statement(select(Note).order_by(Note.id)),
    "parameters": lambda: select(Note.id).where(Note.id > bindparam("low", 2)),
    "ordered aggregate": lambda: select(func.aggregate_strings(Tag.label, ",")),
}

WRITES: dict[str, Callable[[], Any]] = {
    "insert": lambda: insert(Note).values(text="x", data={"n": 1}).returning(Note.text),
    "insert of a table": lambda: insert(ledger).values(amount=1, memo="x"),
    "insert of rows": lambda: insert(Tag).values([{"label": "x"}, {"label": "y"}]).returning(Tag.label),
    "insert of places": lambda: insert(tags).values([(8, "x", A), (9, "y", A)]),
    "insert of an expression": lambda: insert(Tag).values(label=select(func.max(Note.text)).scalar_subquery()),
    "insert from a select": lambda: insert(Tag).from_select(["label"], select(Note.text).where(Note.id < 3)),
    "insert from a union": lambda: insert(Tag).from_select([Tag.label], union(select(Note.text), select(Tag.label))),
    "insert from a cte": lambda: insert(note_tags).from_select(
        ["note_id", "tag_id"], select(Note.id, literal(7)).where(Note.id.in_(select(select(Note.id).cte("c").c.id)))
    ),
    "upsert": lambda: _upsert(),
    "upsert that ignores": lambda: upsert(Tag).values(id=1, label="x").on_conflict_do_nothing(),
    "update": lambda: update(Note).where(Note.id > 2).values(text=Note.text + "!"),
    "update fetched": lambda: update(Note).values(text="x").execution_options(synchronize_session="fetch"),
    "update of a case": lambda: update(Note).values(text=case((Note.id == 1, "one"), else_="many")),
    "update of a table": lambda: update(notes).where(notes.c.author_id == 1).values(text="x"),
    "update from": lambda: update(Note).where(Note.author_id == Author.id).values(text=Author.name),
    "update from an outer join": lambda: (
        update(Note)
        .where(Note.id == select(other.id).outerjoin(writer, writer.id == other.author_id).limit(1).scalar_subquery())
        .values(text="x")
    ),
    "update in order": lambda: update(notes).ordered_values(("text", "x"), ("author_id", 2)),
    "update returning": lambda: update(Note).values(text="x").returning(Note.id, Note.text),
    "update of an alias": lambda: update(other).values(text="x"),
    "update of a child": lambda: update(Dog).values(bark="x"),
    "delete": lambda: delete(Note).where(Note.id > 2),
    "delete of a table": lambda: delete(note_tags),
    "delete with exists": lambda: delete(Note).where(exists().where(Author.id == Note.author_id)),
    "delete returning": lambda: delete(Tag).returning(Tag.id),
}


def _two_ctes() -> Any:
    late = select(Note.id).where(Note.id > 1).cte("late")
    even = select(late.c.id).where(late.c.id % 2 == 0).cte("even")
    return select(late.c.id, even.c.id).outerjoin(even, even.c.id == late.c.id)


# What a database does not know, and what it says in its own way.
UNKNOWN: dict[str, set[str]] = {
    "sqlite": set(),
    "postgresql": set(),
    "mariadb": {"filter", "json function", "nulls", "full join", "upsert", "upsert that ignores", "update returning"},
}
OWN: dict[str, dict[str, Callable[[], Any]]] = {
    "sqlite": {},
    "postgresql": {
        "json function": lambda: _json(func.json_each(func.coalesce(Note.data, cast({}, JSON)))),
        "collate": lambda: select(Note.text).order_by(collate(Note.text, "C"), Note.text.collate("POSIX").desc()),
        "word operators": lambda: select(Note.id).where(Note.text.op("SIMILAR TO")("%-1"), Note.text.op("ilike")("A%")),
    },
    "mariadb": {
        "collate": lambda: select(Note.text).order_by(Note.text.collate("utf8mb4_bin").desc()),
        "word operators": lambda: select(Note.id).where(Note.text.op("RLIKE")("-[12]"), Note.text.op("not like")("x")),
    },
}


def rows_of_a(database: Database) -> Rows:
    return {
        name: sorted(
            # New rows are numbered after the other tenant's, so numbers differ.
            [tuple(value for value in row if not isinstance(value, int)) for row in rows if A in row],
            key=str,
        )
        for name, rows in database.rows().items()
    }


@pytest.mark.parametrize("name", READS)
async def test_a_read_gives_what_it_gives_alone(planted: Database, alone: Database, server: str, name: str) -> None:
    make = OWN[server].get(name, READS[name])
    async with session_of(planted, A) as shared, session_alone(alone) as single:
        for _ in range(2):
            expected = await outcome(single, make())
            assert await outcome(shared, make()) == expected
    assert (expected is None) == (name in UNKNOWN[server])


@pytest.mark.parametrize("name", WRITES)
async def test_a_write_does_what_it_does_alone(planted: Database, alone: Database, server: str, name: str) -> None:
    make = OWN[server].get(name, WRITES[name])
    async with session_of(planted, A) as shared, session_alone(alone) as single:
        expected = await outcome(single, make())
        assert await outcome(shared, make()) == expected
        await shared.commit()
        await single.commit()
    assert rows_of_a(planted) == rows_of_a(alone)
    assert (expected is None) == (name in UNKNOWN[server])
