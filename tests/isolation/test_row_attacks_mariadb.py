"""What only MySQL and MariaDB understand, written to reach another tenant's rows."""

from collections.abc import Callable
from typing import Any

import pytest
from isolation.row_attacks import HOLE, REFUSED, check
from isolation.row_databases import Database
from isolation.row_models import Author, B, Country, Note, Tag, ledger
from sqlalchemy import (
    Sequence,
    bindparam,
    cast,
    column,
    custom_op,
    delete,
    func,
    insert,
    literal,
    literal_column,
    or_,
    select,
    table,
    text,
    true,
    update,
)
from sqlalchemy.dialects import mysql
from sqlalchemy.sql import quoted_name
from sqlalchemy.sql.elements import UnaryExpression

pytestmark = pytest.mark.parametrize("server", ["mariadb"], indirect=True)

notes, authors, tags, countries = Note.__table__, Author.__table__, Tag.__table__, Country.__table__

FUNCTIONS: dict[str, Callable[[], Any]] = {
    "reads a file": lambda: func.load_file("/etc/passwd"),
    "reads a file, in capitals": lambda: func.LOAD_FILE("/etc/passwd"),
    "runs a query elsewhere": lambda: func.spider_direct_sql("SELECT text FROM notes", "t", "s"),
    "runs a program": lambda: func.sys_exec("id"),
    "reads what others run": lambda: func.sys.ps_thread_trx_info(1),
    "tells the number of another's row": lambda: func.last_insert_id(),
    "changes a sequence": lambda: func.setval(column("s"), 1),
    "locks for longer than the transaction": lambda: func.get_lock("x", 1),
    "tells who locks": lambda: func.is_used_lock("x"),
    "unlocks": lambda: func.release_all_locks(),
}

STATEMENTS: dict[str, tuple[Callable[[], Any], Any]] = {
    **{f"a function that {name}": (lambda make=make: select(make()), REFUSED) for name, make in FUNCTIONS.items()},
    "information schema": (
        lambda: select(table("TABLES", column("TABLE_NAME"), schema="information_schema").c.TABLE_NAME),
        REFUSED,
    ),
    # text in disguise
    "executable comment": (lambda: select(Note.id).prefix_with(f"/*!50000 {HOLE}, */"), REFUSED),
    "executable comment as an operator": (lambda: select(Note.id.op("/*!50000 OR 1=1 */")(1)), REFUSED),
    "comment as an operator": (lambda: select(Note.text).where(Note.text.op("#")("x")), REFUSED),
    "comment of two operators": (
        lambda: select(Note.id.op("-")(UnaryExpression(Note.id, operator=custom_op("-")))).where(Note.id == 1),
        ["2"],
    ),
    "operator that is OR": (lambda: select(Note.id).where(Note.id.op("||", precedence=100)(1)), ["1", "2", "3", "4"]),
    "operator that is AND": (lambda: select(Note.id).where(Note.id.op("&&", precedence=100)(0)), []),
    "operator that is XOR": (lambda: select(Note.id).where(Note.id.op("XOR", precedence=100)(1)), []),
    "operator that assigns": (lambda: select(Note.id.op(":=")(1)), Exception),
    "variable": (lambda: select(literal_column("@x")), REFUSED),
    "variable of the server": (lambda: select(literal_column("@@datadir")), REFUSED),
    "variable as a column": (lambda: select(column("@x")), Exception),
    "variable as an unquoted column": (lambda: select(column(quoted_name("@y", False))), REFUSED),
    "backslash in a literal": (lambda: select(literal_column(f"'\\' OR {HOLE} OR '")), REFUSED),
    "backslash in a value": (
        lambda: select(bindparam("x", f"\\', {HOLE} -- ", literal_execute=True)),
        [f"\\', {HOLE} -- "],
    ),
    "backslash in a parameter": (lambda: select(literal(f"\\', {HOLE} -- ")), [f"\\', {HOLE} -- "]),
    "into a file": (lambda: select(Note.text).suffix_with("INTO OUTFILE '/tmp/x'"), REFUSED),
    "index hint": (lambda: select(Note.text).with_hint(Note, f"USE INDEX () JOIN {HOLE}"), REFUSED),
    "optimizer hint": (lambda: select(Note.text).prefix_with("STRAIGHT_JOIN"), REFUSED),
    "character set": (
        lambda: select(cast(Note.text, mysql.VARCHAR(9, charset="utf8mb4) FROM notes UNION SELECT text -- "))),
        REFUSED,
    ),
    "character set that is known": (
        lambda: select(cast(Note.text, mysql.VARCHAR(9, charset="utf8mb4"))).where(Note.id == 1),
        ["alpha-1"],
    ),
    "flags of a pattern": (
        lambda: select(Note.id).where(Note.text.regexp_match("x", flags=f"\\' OR {HOLE}) -- ")),
        Exception,
    ),
    "path into JSON": (lambda: select(Note.data[f"k\"', {HOLE}) -- "]).where(Note.id == 1), ["None"]),
    "name of a sequence": (lambda: select(Sequence(f"x`), {HOLE} -- ").next_value()), Exception),
    "interval": (lambda: select(func.date_add(func.now(), text("INTERVAL 1 DAY"))), REFUSED),
    "error of a function": (
        lambda: select(func.updatexml(1, func.concat("~", select(func.max(Note.text)).scalar_subquery()), 1)),
        Exception,
    ),
    # the clauses of MySQL
    "for update": (lambda: select(Note.id).with_for_update(), ["1", "2", "3", "4"]),
    "for update of text": (
        lambda: select(Note.id).with_for_update(of=text("notes")),
        ["1", "2", "3", "4"],
    ),  # not rendered
    "lock in share mode": (lambda: select(Note.id).with_for_update(read=True), ["1", "2", "3", "4"]),
    "rollup": (
        lambda: select(func.count()).select_from(Note).group_by(func.rollup(Note.author_id)),
        ["1", "1", "2", "4"],
    ),
    "null-safe": (lambda: select(Note.id).where(Note.author_id.op("<=>")(None)), ["3"]),
    "aggregate": (
        lambda: select(func.group_concat(Note.text), func.json_length(func.json_arrayagg(Note.text))),
        ["alpha-1,alpha-2,alpha-3,alpha-4 4"],
    ),
    # changing
    "update with another table": (
        lambda: update(Note).where(or_(Note.author_id == Author.id, Author.id == 101)).values(text=Author.name),
        2,
    ),
    "update of another table": (
        lambda: update(Note).where(Note.author_id == Author.id).values({authors.c.name: "x"}),
        REFUSED,
    ),
    "update of a shared table": (
        lambda: update(notes).where(countries.c.id == 1).values({countries.c.name: "x"}),
        REFUSED,
    ),
    "update of two tables": (
        lambda: update(notes).where(countries.c.id == 1).values({notes.c.text: "x", countries.c.name: "x"}),
        REFUSED,
    ),
    "update of two tables in order": (
        lambda: update(notes).where(countries.c.id == 1).ordered_values((notes.c.text, "x"), (countries.c.name, "x")),
        REFUSED,
    ),
    "update of another table's tenant": (
        lambda: update(notes).where(ledger.c.id == 1).values({ledger.c.owner: B}),
        REFUSED,
    ),
    "update of an alias": (
        lambda: update(notes).where(notes.alias("z").c.id == 1).values({notes.alias("z").c.text: "x"}),
        REFUSED,
    ),
    "update with a limit": (lambda: update(notes).values(text="x").with_dialect_options(mysql_limit=9), 4),
    "update with text for a limit": (
        lambda: update(notes).values(text="x").with_dialect_options(mysql_limit="9 OR 1=1"),
        Exception,
    ),
    "delete with another table": (
        lambda: delete(notes).where(or_(notes.c.author_id == authors.c.id, true())),
        4,
    ),
    "delete with a limit": (lambda: delete(notes).with_dialect_options(mysql_limit=9), 4),
    "insert that ignores": (lambda: insert(Tag).prefix_with("IGNORE").values(id=101, label="x"), REFUSED),
    "insert that returns": (lambda: insert(Tag).values(label="x").returning(Tag.label), ["x"]),
    "upsert over the other's": (
        lambda: mysql.insert(Tag).values(id=101, label="x").on_duplicate_key_update(label="stolen"),
        REFUSED,
    ),
    "upsert over one's own": (
        lambda: mysql.insert(Tag).values(id=1, label="x").on_duplicate_key_update(label="y"),
        REFUSED,
    ),
}


@pytest.mark.parametrize("name", STATEMENTS)
async def test_a_statement_reaches_the_tenants_own_rows_or_is_refused(planted: Database, name: str) -> None:
    await check(planted, *STATEMENTS[name])
