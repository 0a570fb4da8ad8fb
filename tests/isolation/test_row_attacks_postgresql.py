"""What only PostgreSQL understands, written to reach another tenant's rows."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from isolation.row_attacks import HOLE, REFUSED, Breakout, Compiled, check
from isolation.row_databases import Database
from isolation.row_models import A, Author, B, Note, Tag, note_tags
from sqlalchemy import (
    Numeric,
    Sequence,
    cast,
    column,
    delete,
    func,
    insert,
    literal,
    literal_column,
    or_,
    select,
    table,
    tablesample,
    text,
    true,
    update,
)
from sqlalchemy.dialects.postgresql import ARRAY, ENUM, INTERVAL, aggregate_order_by, array
from sqlalchemy.dialects.postgresql import insert as upsert
from sqlalchemy.sql import quoted_name
from sqlalchemy.types import UserDefinedType

pytestmark = [
    pytest.mark.parametrize("server", ["postgresql"], indirect=True),
    pytest.mark.filterwarnings("ignore:Passing expression to:DeprecationWarning"),  # what replaces it is new in 2.1
]

notes = Note.__table__
queries = func.unnest(array(["SELECT to_tsvector(text) FROM notes"]))


class Cast(UserDefinedType[str]):
    """A type that PostgreSQL is told with each value: `$1::TEXT FROM notes`."""

    cache_ok = True
    render_bind_cast = True

    def get_col_spec(self, **_: Any) -> str:
        return "TEXT FROM notes"


FUNCTIONS: dict[str, Callable[[], Any]] = {
    "reads a table as XML": lambda: func.table_to_xml("notes", True, True, ""),
    "reads a schema as XML": lambda: func.schema_to_xml("public", True, True, ""),
    "reads a cursor": lambda: func.cursor_to_xml("c", 10, True, True, ""),
    "runs a query for statistics": lambda: func.ts_stat("SELECT to_tsvector(text) FROM notes"),
    "runs a query elsewhere": lambda: func.dblink_exec("dbname=postgres", "DELETE FROM notes"),
    "runs a query for a pivot": lambda: func.crosstab("SELECT 1, 2, text FROM notes"),
    "runs a query on workers": lambda: func.run_command_on_workers("SELECT 1"),
    "reads a file": lambda: func.pg_read_file("postgresql.conf"),
    "reads a binary file": lambda: func.pg_read_binary_file("base/1/1259"),
    "lists files": lambda: func.pg_ls_dir("."),
    "reads pages": lambda: func.get_raw_page("notes", 0),
    "reads an index": lambda: func.bt_page_items("notes_pkey", 1),
    "reads the log": lambda: func.pg_logical_slot_peek_changes("s", None, None),
    "reads what others run": lambda: func.pg_stat_get_activity(None),
    "reads prepared statements": lambda: func.pg_prepared_statement(),
    "reads settings": lambda: func.pg_show_all_settings(),
    "reads a large object": lambda: func.lo_get(1),
    "reads an open large object": lambda: func.loread(1, 100),
    "makes a large object of a file": lambda: func.lo_import("/etc/passwd"),
    "tells the last number of another's row": lambda: func.lastval(),
    "tells the last number of a sequence": lambda: func.currval("notes_id_seq"),
    "changes a sequence": lambda: func.setval("notes_id_seq", 1),
    "changes a setting": lambda: func.set_config("session_replication_role", "replica", False),
    "ends others": lambda: func.pg_terminate_backend(1),
    "locks for longer than the transaction": lambda: func.pg_advisory_lock(1),
    "tries to": lambda: func.pg_try_advisory_lock_shared(1),
    "unlocks": lambda: func.pg_advisory_unlock_all(),
}

STATEMENTS: dict[str, tuple[Callable[[], Any], Any]] = {
    **{f"a function that {name}": (lambda make=make: select(make()), REFUSED) for name, make in FUNCTIONS.items()},
    "function as a column of another": (lambda: select(queries.table_valued("ts_stat").c.ts_stat), REFUSED),
    "function as a field of another": (lambda: select(queries.scalar_table_valued("ts_stat")), REFUSED),
    "function as a column of an alias's alias": (
        lambda: select(column("ts_stat", _selectable=queries.table_valued("x").alias("y"))),
        REFUSED,
    ),
    "function as a column of an alias": (lambda: select(column("ts_stat", _selectable=queries.alias("u"))), REFUSED),
    "function as a column of a table": (
        lambda: select(func.count(column("to_json", _selectable=notes))).select_from(notes),
        ["4"],
    ),
    "table function of another table": (lambda: select(func.dblink("x", "y").table_valued("z").c.z), REFUSED),
    "table function of statements": (lambda: select(func.pg_cursor().table_valued("statement").c.statement), REFUSED),
    "lock of the transaction": (lambda: select(func.count(func.pg_advisory_xact_lock(1))), ["1"]),
    "catalogue": (lambda: select(table("pg_class", column("relname")).c.relname), REFUSED),
    "statistics": (lambda: select(table("pg_stats", column("most_common_vals")).c.most_common_vals), REFUSED),
    "information schema": (
        lambda: select(table("tables", column("table_name"), schema="information_schema").c.table_name),
        REFUSED,
    ),
    # types, which PostgreSQL is told with each value
    "fields of an interval": (lambda: select(literal(timedelta(1), INTERVAL(fields="DAY FROM notes"))), REFUSED),
    "fields of an interval that add a query": (
        lambda: select(literal(timedelta(1), INTERVAL(fields="DAY UNION SELECT CAST(text AS interval) FROM notes"))),
        REFUSED,
    ),
    "value with a type": (lambda: select(literal("x", Cast())), REFUSED),
    "cast to a type": (lambda: select(cast("x", Cast())), REFUSED),
    "cast to an array": (lambda: select(cast("{}", ARRAY(Breakout()))), REFUSED),
    "cast to a size": (lambda: select(cast("1", Numeric(f"1) + {HOLE} --", 2))), REFUSED),
    "name of a type": (
        lambda: select(cast("x", ENUM("x", name=quoted_name("text) FROM notes --", False)))),
        REFUSED,
    ),
    "type of a field": (
        lambda: select(func.json_to_record("{}").table_valued(column("k", Breakout())).render_derived(with_types=True)),
        REFUSED,
    ),
    # the clauses of PostgreSQL
    "distinct on": (lambda: select(Note.author_id).distinct(Note.author_id), ["1", "101", "None"]),
    "distinct on text": (lambda: select(Note.id).distinct(text(HOLE)), REFUSED),
    "distinct on a literal": (lambda: select(Note.id).distinct(literal_column(HOLE)), REFUSED),
    "for update of": (
        lambda: select(Note.id).join(Author).with_for_update(of=Note, key_share=True),
        ["1", "2"],
    ),
    "for update of text": (lambda: select(Note.id).with_for_update(of=literal_column(HOLE)), REFUSED),
    "lateral": (lambda: _lateral(), ["1 1", "1 2"]),
    "lateral that is joined outside": (lambda: _outer_lateral(), ["1 1", "1 2", "2 None"]),
    "sample": (lambda: select(func.count()).select_from(tablesample(Note, func.bernoulli(100))), ["4"]),
    "sample by text": (lambda: select(func.count()).select_from(tablesample(Note, text("system(100)"))), REFUSED),
    "sample with text": (
        lambda: select(func.count()).select_from(tablesample(Note, func.bernoulli(100), seed=text(HOLE))),
        REFUSED,
    ),
    "array of a query": (lambda: select(func.cardinality(func.array(select(Note.id).scalar_subquery()))), ["4"]),
    "ordered aggregate": (
        lambda: select(func.string_agg(Note.text, aggregate_order_by(literal(","), Note.id.desc()))),
        ["alpha-4,alpha-3,alpha-2,alpha-1"],
    ),
    "aggregate ordered by text": (
        lambda: select(func.string_agg(Note.text, aggregate_order_by(literal(","), text(HOLE)))),
        REFUSED,
    ),
    "whole rows": (lambda: select(func.json_array_length(func.json_agg(notes.table_valued()))), ["4"]),
    "grouping sets": (
        lambda: select(func.count()).select_from(Note).group_by(func.rollup(Note.author_id)),
        ["1", "1", "2", "4"],
    ),
    "any of a query": (
        lambda: select(Note.id).where(Note.id == func.any(select(Author.id).scalar_subquery())),
        ["1", "2"],
    ),
    "configuration of a search": (
        lambda: select(Note.id).where(Note.text.match("x", postgresql_regconfig=f"english', {HOLE}) --")),
        Exception,
    ),
    "flags of a pattern": (
        lambda: select(Note.id).where(Note.text.regexp_match("x", flags=f"' || {HOLE} || '")),
        Exception,
    ),
    "flags of a replacement": (lambda: select(Note.text.regexp_replace("x", "y", flags=f"', {HOLE}) --")), Exception),
    "name of a sequence": (lambda: select(Sequence(f"x' || {HOLE} || '").next_value()), Exception),
    "name of a schema": (lambda: select(Sequence("x", schema=f"y' || {HOLE} || '").next_value()), Exception),
    "path into JSON": (lambda: select(Note.data[("k", f"}}', {HOLE}) --")]), Exception),
    # changing
    "changes in a query": (lambda: _ids(update(Note).values(text="x").returning(Note.id)), ["1", "2", "3", "4"]),
    "deletes in a query": (lambda: _ids(delete(note_tags).returning(note_tags.c.note_id)), ["1", "2"]),
    "inserts in a query": (lambda: _ids(insert(Tag).values(label="x").returning(Tag.label)), ["x"]),
    "inserts for the other in a query": (
        lambda: _ids(insert(Tag).values(label="x", tenant_id=B).returning(Tag.tenant_id)),
        [A],
    ),
    "gives away in a query": (
        lambda: _ids(update(Note).values(tenant_id=B).returning(Note.tenant_id)),
        [A, A, A, A],
    ),
    "deletes with another table": (
        lambda: delete(Note).where(or_(Note.author_id == Author.id, true())).returning(Note.id),
        ["1", "2", "3", "4"],
    ),
    "sets another table's column": (
        lambda: update(Note).where(Note.author_id == Author.id).values({Author.__table__.c.name: "x"}),
        REFUSED,
    ),
    "upsert by a constraint": (lambda: _upsert(constraint="tags_pkey"), []),
    "upsert by the name of a constraint": (lambda: _upsert(constraint=f"tags_pkey DO NOTHING {HOLE} --"), Exception),
    "upsert by an unquoted name": (lambda: _upsert(constraint=quoted_name("tags_pkey DO", False)), REFUSED),
    "upsert by text": (lambda: _upsert(index_elements=[text("id")]), REFUSED),
    "upsert by a construct": (lambda: _upsert(index_elements=[Compiled()]), REFUSED),
    "upsert by part of an index": (lambda: _upsert(index_elements=["id"], index_where=Compiled() == ""), REFUSED),
    "upsert that ignores, by a construct": (
        lambda: upsert(Tag).values(label="x").on_conflict_do_nothing(index_elements=[Compiled()]),
        REFUSED,
    ),
    "upsert that ignores part of an index": (
        lambda: upsert(Tag).values(label="x").on_conflict_do_nothing(index_elements=["id"], index_where=text("1=1")),
        REFUSED,
    ),
}


def _lateral() -> Any:
    of_the_author = select(Note.id).where(Note.author_id == Author.id).lateral()
    return select(Author.id, of_the_author.c.id).join(of_the_author, true())


def _outer_lateral() -> Any:
    of_the_author = select(Note.id).where(Note.author_id == Author.id).lateral()
    return select(Author.id, of_the_author.c.id).outerjoin(of_the_author, true())


def _ids(changing: Any) -> Any:
    return select(changing.cte("changing"))


def _upsert(**target: Any) -> Any:
    """Over the other tenant's tag."""
    statement = upsert(Tag).values(id=101, label="x")
    return statement.on_conflict_do_update(**target, set_={"label": "stolen"}).returning(Tag.label)


@pytest.mark.parametrize("name", STATEMENTS)
async def test_a_statement_reaches_the_tenants_own_rows_or_is_refused(planted: Database, name: str) -> None:
    await check(planted, *STATEMENTS[name])
