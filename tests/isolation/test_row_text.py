"""What counts as SQL text."""

from types import SimpleNamespace

import pytest
from isolation.row_models import A, Author, Base, Note, Tag
from sqlalchemy import (
    ARRAY,
    JSON,
    DateTime,
    Enum,
    Integer,
    Interval,
    Numeric,
    String,
    Uuid,
    delete,
    select,
    true,
    update,
)
from sqlalchemy.dialects import mysql, postgresql
from sqlalchemy.dialects.mysql import insert as mysql_insert
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.types import TypeEngine

from fastapi_tenancy.errors import IsolationError
from fastapi_tenancy.multitenant.isolation import RowIsolation
from fastapi_tenancy.multitenant.isolation.text import (
    check_collation,
    check_extract_field,
    check_function,
    check_literal,
    check_operator,
    check_type,
)


@pytest.mark.parametrize(
    "text", ["=", "->>", "@>", "||", "!~~*", "?|", "like", "IS  NOT DISTINCT FROM", "at time zone"]
)
def test_an_operator_is_a_symbol_or_a_word_that_is_known(text: str) -> None:
    check_operator(text, "mysql")


@pytest.mark.parametrize(
    "text", ["--", "/*", "*/", "- --", "= 1 OR", "or", "AND", "UNION", "IN (SELECT", ";", "", "$$"]
)
def test_any_other_operator_is_refused(text: str) -> None:
    with pytest.raises(IsolationError):
        check_operator(text, "postgresql")


def test_a_hash_is_an_operator_only_where_it_starts_no_comment() -> None:
    check_operator("#>>", "postgresql")
    with pytest.raises(IsolationError):
        check_operator("#", "mysql")


@pytest.mark.parametrize("text", ["*", "1", "'%'", "'it''s'"])
def test_a_literal_may_be_a_star_a_number_or_a_string(text: str) -> None:
    check_literal(text)


@pytest.mark.parametrize("text", ["text", "1, 2", "'', x, ''", "'\\' OR 1'", "(1)", "1--", "count(*)"])
def test_any_other_literal_is_refused(text: str) -> None:
    with pytest.raises(IsolationError):
        check_literal(text)


TYPES: list[TypeEngine[object]] = [
    String(30, collation="und-x-icu"),
    Numeric(10, 2),
    DateTime(timezone=True),
    Interval(),
    ARRAY(Integer),
    Uuid(),
    JSON(),
    Enum("it's", "b", name="odd name"),
    postgresql.TIMESTAMP(timezone=True, precision=6),
    postgresql.DOMAIN("place", Integer, schema="public"),
    postgresql.INTERVAL(fields="DAY TO SECOND", precision=3),
    postgresql.DOUBLE_PRECISION(),
    postgresql.INT4RANGE(),
    postgresql.BIT(3, varying=True),
]


@pytest.mark.parametrize("type_", TYPES, ids=repr)
def test_the_types_of_a_database_pass(type_: TypeEngine[object]) -> None:
    dialect = postgresql.dialect()
    check_type(dialect.type_compiler_instance.process(type_))


@pytest.mark.parametrize(
    "type_", [mysql.ENUM("a)", "it's"), mysql.INTEGER(unsigned=True), mysql.VARCHAR(9, charset="utf8mb4")]
)
def test_the_types_of_mysql_pass(type_: TypeEngine[object]) -> None:
    dialect = mysql.dialect()
    check_type(dialect.type_compiler_instance.process(type_))


@pytest.mark.parametrize(
    "text",
    [
        "INTEGER) OR (1=1",
        "TEXT; DROP",
        "TEXT -- ",
        'TEXT COLLATE "x") OR 1=1 --"',
        "TEXT COLLATE x OR true",
        "TEXT OR true",
        "INTERVAL DAY FROM notes",
        "VARCHAR(SELECT 1)",
        "A((B))",
        "",
    ],
)
def test_what_is_more_than_a_type_is_refused(text: str) -> None:
    with pytest.raises(IsolationError):
        check_type(text)


@pytest.mark.parametrize(
    "text", ["geometry(POINT, 4326)", "vector(3)", "public.citext", "DECIMAL(9,2) UNSIGNED ZEROFILL"]
)
def test_the_types_of_extensions_pass(text: str) -> None:
    check_type(text)


@pytest.mark.parametrize(
    "name", ["pg_typeof", "pg_advisory_xact_lock", "pg_try_advisory_xact_lock_shared", "log", "lower"]
)
def test_a_function_that_is_over_with_the_transaction_passes(name: str) -> None:
    check_function(name, in_from=False)


@pytest.mark.parametrize(
    "name", ["pg_advisory_lock", "PG_Read_File", "pg_typeof_", "get_lock", "lo_get", "dblink_exec"]
)
def test_a_function_that_reaches_further_is_refused(name: str) -> None:
    with pytest.raises(IsolationError, match=name):
        check_function(name, in_from=False)


def test_names_are_taken_where_a_name_belongs() -> None:
    check_extract_field("year")
    check_collation("de-DE-x-icu")
    check_function("coalesce", in_from=False)
    check_function("jsonb_to_recordset", in_from=True)
    with pytest.raises(IsolationError):
        check_function("coalesce", in_from=True)


def test_mysql_is_narrowed_like_the_others() -> None:
    """Compiled only: what would reach another tenant on MySQL and not elsewhere."""
    engine = create_async_engine("mysql+asyncmy://", module=SimpleNamespace(paramstyle="format"))
    RowIsolation(Base.metadata).guard(engine)
    joined = select(Author.id).outerjoin(Note, true())
    together = update(Note).where(Note.author_id == Author.id).values(text="x")
    without = delete(Note).where(Note.author_id == Author.id)
    exclusive = select(Note.id).where(Note.id.op("XOR", precedence=100)(1))  # it says so, and does not
    upsert = mysql_insert(Tag).values(id=1, label="x").on_duplicate_key_update(label="y")

    assert str(exclusive.compile(engine)).endswith("WHERE notes.tenant_id = %s AND (notes.id XOR %s)")
    assert str(joined.compile(engine)).count("tenant_id = ") == 2
    assert str(together.compile(engine)).count("tenant_id = ") == 2
    assert str(without.compile(engine)).count("tenant_id = ") == 2
    with pytest.raises(IsolationError, match="ON DUPLICATE KEY UPDATE"):
        upsert.compile(engine)
    with pytest.raises(IsolationError, match="SQL text"):
        select(Note.text.op("#")(A)).compile(engine)
