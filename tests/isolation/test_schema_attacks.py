"""What an attacker, or a developer in a hurry, would write through one tenant's session to reach another's schema."""

from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from isolation.schema_databases import DRIVERS, A, B, Deployment, planted, rows_of
from isolation.schema_models import Animal, Author, Country, Note
from sqlalchemy import (
    DDL,
    Column,
    Index,
    Integer,
    MetaData,
    Sequence,
    String,
    Table,
    and_,
    bindparam,
    cast,
    column,
    custom_op,
    delete,
    exists,
    func,
    insert,
    inspect,
    join,
    lambda_stmt,
    lateral,
    literal,
    literal_column,
    or_,
    select,
    table,
    text,
    true,
    tuple_,
    union_all,
    update,
)
from sqlalchemy.dialects import mysql, postgresql
from sqlalchemy.exc import CompileError, DBAPIError
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.orm import Session, aliased, with_loader_criteria
from sqlalchemy.schema import CreateIndex, CreateSchema, CreateSequence, CreateTable, DropIndex, DropSchema, DropTable
from sqlalchemy.sql import quoted_name
from sqlalchemy.sql.elements import UnaryExpression
from sqlalchemy.sql.expression import ColumnElement
from sqlalchemy.types import TypeDecorator, UserDefinedType

from fastapi_tenancy.errors import IsolationError

THEIRS = f"t_{B}"
HOLE = f"(SELECT max(text) FROM {THEIRS}.notes)"


def notes_of(schema: str | None, name: str = "notes") -> Table:
    return Table(name, MetaData(), Column("id", Integer, primary_key=True), Column("text", String(200)), schema=schema)


theirs, lookalike = notes_of(THEIRS), notes_of(None)
countries = Country.__table__
other = aliased(Note, select(theirs).subquery(), adapt_on_names=True)


class Compiled(ColumnElement[str]):
    inherit_cache = True
    _traverse_internals = ()
    type = String()


@compiles(Compiled)
def _compile(*_: Any, **__: Any) -> str:
    return HOLE


class Breakout(UserDefinedType[str]):
    cache_ok = True

    def get_col_spec(self, **_: Any) -> str:
        return f"CHAR) AS x, {HOLE} AS y, CAST(1 AS CHAR"


class Verbatim(TypeDecorator[str]):
    impl = String
    cache_ok = True

    def process_literal_param(self, value: Any, _dialect: Any) -> str:
        return str(value)


REFUSED, FAILS = "refused", "fails"
EITHER = (REFUSED, FAILS)
Attack = tuple[Callable[[], Any], Any]


def statements(home: str) -> dict[str, Attack]:
    """What is written, and what comes of it: a refusal, the database's own, or A's values.

    `home` is the schema of the deployment, where the tables `notes` and, shared by all tenants, `countries` are.
    """
    public = notes_of(home)
    return {
        # tables with a schema
        "select": (lambda: select(theirs), REFUSED),
        "column": (lambda: select(theirs.c.text), REFUSED),
        "alias": (lambda: select(theirs.alias("notes")), REFUSED),
        "subquery": (lambda: select(select(theirs).subquery()), REFUSED),
        "scalar subquery": (lambda: select(Note.id, select(func.max(theirs.c.text)).scalar_subquery()), REFUSED),
        "cte": (lambda: select(select(theirs).cte("x")), REFUSED),
        "join": (lambda: select(Note.text, theirs.c.text).join(theirs, true()), REFUSED),
        "outer join": (lambda: select(Note.text, theirs.c.text).outerjoin(theirs, true()), REFUSED),
        "join of tables": (lambda: select(theirs.c.text).select_from(join(lookalike, theirs, true())), REFUSED),
        "lateral": (lambda: select(lateral(select(theirs.c.text), "x")), REFUSED),
        "exists": (lambda: select(Note.text).where(exists(select(theirs))), REFUSED),
        "in": (lambda: select(Note.text).where(Note.text.in_(select(theirs.c.text))), REFUSED),
        "tuple in": (
            lambda: select(Note.text).where(tuple_(Note.id, Note.text).in_(select(theirs.c.id, theirs.c.text))),
            REFUSED,
        ),
        "union": (lambda: union_all(select(Note.text), select(theirs.c.text)), REFUSED),
        "order by": (lambda: select(Note.text).order_by(select(theirs.c.text).limit(1).scalar_subquery()), REFUSED),
        "having": (
            lambda: select(Note.text).group_by(Note.text).having(exists(select(theirs).where(theirs.c.id == 1))),
            REFUSED,
        ),
        "tablesample": (lambda: select(theirs.tablesample(100)), EITHER),
        "locked itself": (lambda: select(theirs.c.text).with_for_update(), REFUSED),
        "entity": (lambda: select(other.text), REFUSED),
        "from statement": (lambda: select(Note).from_statement(select(theirs)), REFUSED),
        "loader criteria": (
            lambda: select(Author.name).options(with_loader_criteria(Author, exists(select(theirs)))),
            REFUSED,
        ),
        "lambda": (lambda: lambda_stmt(lambda: select(theirs.c.text)), REFUSED),
        "lightweight": (lambda: select(table("notes", column("text"), schema=THEIRS)), REFUSED),
        "the deployment's": (lambda: select(public.c.text), REFUSED),
        "the deployment's, lightweight": (lambda: select(table("notes", column("text"), schema=home)), REFUSED),
        "a copy of a model's": (lambda: select(Note.__table__.to_metadata(MetaData(), schema=THEIRS)), REFUSED),
        "the catalog": (lambda: select(table("tables", column("table_name"), schema="information_schema")), REFUSED),
        "unquoted table": (lambda: select(notes_of(None, quoted_name(f"notes, {THEIRS}.notes AS x", False))), REFUSED),
        "quoted table": (lambda: select(notes_of(None, f"{THEIRS}.notes")), REFUSED),
        "their sequence": (lambda: select(Sequence("ticket_numbers", schema=THEIRS).next_value()), EITHER),
        # the same name without a schema is the tenant's own
        "lookalike": (lambda: select(lookalike.c.text).order_by(lookalike.c.id), ["alpha-1", "alpha-2"]),
        "lightweight lookalike": (lambda: select(table("notes", column("text"))), ["alpha-1", "alpha-2"]),
        "a shared table's lookalike": (lambda: select(table("countries", column("name"))), FAILS),
        "a marked lookalike": (lambda: select(Table("x", MetaData(), Column("id"), info=countries.info)), FAILS),
        "a catalog's lookalike": (lambda: select(table("pg_class", column("relname"))), FAILS),
        # writing
        "insert": (lambda: insert(theirs).values(id=9, text="x"), REFUSED),
        "insert into the deployment's": (lambda: insert(public).values(id=9, text="x"), REFUSED),
        "insert from": (lambda: insert(Author).from_select(["name"], select(theirs.c.text)), REFUSED),
        "insert value": (
            lambda: insert(Author).values(name=select(func.max(theirs.c.text)).scalar_subquery()),
            REFUSED,
        ),
        "update": (lambda: update(theirs).values(text="x"), REFUSED),
        "update alias": (lambda: update(theirs.alias()).values(text="x"), REFUSED),
        "update to theirs": (lambda: update(Note).values(text=select(theirs.c.text).scalar_subquery()), REFUSED),
        "update from": (lambda: update(lookalike).values(text="x").where(lookalike.c.id == theirs.c.id), REFUSED),
        "delete": (lambda: delete(theirs), REFUSED),
        "delete using": (lambda: delete(lookalike).where(lookalike.c.text == theirs.c.text), REFUSED),
        "cte that writes": (lambda: select(delete(theirs).returning(theirs.c.text).cte("gone")), REFUSED),
        "returning": (lambda: delete(Note).returning(select(func.max(theirs.c.text)).scalar_subquery()), REFUSED),
        # SQL text
        "text": (lambda: text(f"SELECT text FROM {THEIRS}.notes"), REFUSED),
        "text quoted": (lambda: text(f'SELECT text FROM "{THEIRS}"."notes"'), REFUSED),
        "text in capitals": (lambda: text(f"SELECT text FROM {THEIRS.upper()}.notes"), REFUSED),
        "text with comments": (lambda: text(f"SELECT text FROM /**/{THEIRS}/**/./**/notes"), REFUSED),
        "text escaped": (lambda: text(f'SELECT text FROM U&"\\0074{THEIRS[1:]}".notes'), REFUSED),
        "text in a string": (lambda: text(f"SELECT '{THEIRS}.notes'"), REFUSED),
        "bare text": (lambda: text("SELECT text FROM notes"), FAILS),
        "bare text writes": (lambda: text("INSERT INTO notes (id, text) VALUES (9, 'x')"), FAILS),
        "text of the deployment": (lambda: text(f"SELECT text FROM {home}.notes"), REFUSED),
        "text of the deployment, quoted": (lambda: text(f'SELECT text FROM "{home}" . "notes"'), REFUSED),
        "text of the deployment, commented": (lambda: text(f"SELECT text FROM {home}/* */./* */notes"), REFUSED),
        "text of the store": (lambda: text(f"SELECT * FROM {home}.tenancy_tenants"), REFUSED),
        "text that writes there": (lambda: text(f"INSERT INTO {home}.notes (id) VALUES (9)"), REFUSED),
        "text that writes the store": (lambda: text(f"INSERT INTO {home}.tenancy_tenants (id) VALUES (9)"), REFUSED),
        "text of DDL there": (lambda: text(f"CREATE INDEX i ON {home}.notes (text)"), REFUSED),
        "text of the catalog": (lambda: text("SELECT table_name FROM information_schema.tables"), REFUSED),
        "text of columns": (lambda: text(f"SELECT text FROM {THEIRS}.notes").columns(Note.text), REFUSED),
        "text from": (lambda: select(text("text")).select_from(text(f"{THEIRS}.notes")), REFUSED),
        "text where": (lambda: select(Note.text).where(text(f"text < {HOLE}")), REFUSED),
        "text among conditions": (lambda: select(Note.text).where(or_(Note.id == 1, text(f"'x' = {HOLE}"))), REFUSED),
        "text order": (lambda: select(Note.text).order_by(text(HOLE)), REFUSED),
        "text update": (lambda: update(Note).values(text=text(HOLE)), REFUSED),
        "text that makes a view": (lambda: text(f"CREATE VIEW {THEIRS}.x AS SELECT 1"), REFUSED),
        "literal column": (lambda: select(literal_column(HOLE)), REFUSED),
        "prefix": (lambda: select(Note.text).prefix_with(f"{HOLE},"), REFUSED),
        "suffix": (lambda: select(Note.text).suffix_with(f"UNION SELECT text FROM {THEIRS}.notes"), REFUSED),
        "hint": (lambda: select(Note.text).with_hint(Note, f"JOIN {THEIRS}.notes AS x"), EITHER),
        "statement hint": (lambda: select(Note.text).with_statement_hint(f"UNION SELECT {HOLE}"), REFUSED),
        "operator": (lambda: select(Note.text.op(f"FROM {THEIRS}.notes UNION SELECT")(Note.text)), REFUSED),
        "operator before": (lambda: select(UnaryExpression(Note.id, operator=custom_op(f"{HOLE} +"))), REFUSED),
        "label": (lambda: select(Note.id.label(quoted_name(f"x, {HOLE} AS y", False))), REFUSED),
        "column name": (lambda: select(column(quoted_name(HOLE, False))), REFUSED),
        "function name": (lambda: select(getattr(func, HOLE)()), REFUSED),
        "function in their schema": (lambda: select(getattr(func, THEIRS).notes()), REFUSED),
        "compiled by the application": (lambda: select(Compiled()), REFUSED),
        "literal": (lambda: select(literal(HOLE, Verbatim(), literal_execute=True)), REFUSED),
        "literal in a list": (
            lambda: select(Note.text).where(
                Note.text.in_(bindparam("x", [HOLE], Verbatim(), True, literal_execute=True))
            ),
            REFUSED,
        ),
        "bound": (lambda: select(literal(HOLE)).where(and_(true())), [HOLE]),
        # functions
        "function that runs SQL": (lambda: select(func.query_to_xml(f"SELECT {HOLE}", True, True, "")), REFUSED),
        "function that reads a schema": (lambda: select(func.schema_to_xml(THEIRS, True, True, "")), REFUSED),
        "function that sets": (lambda: select(func.set_config("search_path", THEIRS, False)), REFUSED),
        "function that reads files": (lambda: select(func.load_file("/etc/hosts")), REFUSED),
        "text that calls it": (lambda: text("SELECT query_to_xml (:query, true, true, '')"), REFUSED),
        "text that calls it quoted": (lambda: text("""SELECT "set_config"('role', 'x', false)"""), REFUSED),
        # schema_translate_map
        # The engine's own wins.
        "option": (
            lambda: select(lookalike.c.text).order_by("id").execution_options(schema_translate_map={None: THEIRS}),
            ["alpha-1", "alpha-2"],
        ),
        "option of a write": (
            lambda: delete(Author).where(Author.id == 9).execution_options(schema_translate_map={None: THEIRS}),
            0,
        ),
        "empty option": (
            lambda: select(lookalike.c.text).order_by("id").execution_options(schema_translate_map={}),
            ["alpha-1", "alpha-2"],
        ),
        "no option": (
            lambda: select(lookalike.c.text).order_by("id").execution_options(schema_translate_map=None),
            ["alpha-1", "alpha-2"],
        ),
        "another name's option": (
            lambda: select(notes_of("x").c.text).execution_options(schema_translate_map={"x": THEIRS}),
            REFUSED,
        ),
        "option of DDL": (
            lambda: DropTable(notes_of(None, "absent")).execution_options(schema_translate_map={None: THEIRS}),
            FAILS,
        ),
        # DDL
        "create": (lambda: CreateTable(notes_of(THEIRS, "x")), REFUSED),
        "create in the deployment's": (lambda: CreateTable(notes_of(home, "x")), REFUSED),
        "create shared": (lambda: CreateTable(countries), REFUSED),
        "drop": (lambda: DropTable(theirs), REFUSED),
        "drop the deployment's": (lambda: DropTable(public), REFUSED),
        "drop shared": (lambda: DropTable(countries), REFUSED),
        "index": (lambda: CreateIndex(Index("x", theirs.c.text)), REFUSED),
        "index shared": (lambda: DropIndex(next(iter(countries.indexes))), REFUSED),
        "sequence": (lambda: CreateSequence(Sequence("x", schema=THEIRS)), EITHER),
        "drop schema": (lambda: DropSchema(THEIRS), REFUSED),
        "drop the own schema": (lambda: DropSchema(f"t_{A}"), REFUSED),
        "create schema": (lambda: CreateSchema("x"), REFUSED),
        "text of DDL": (lambda: DDL(f"DROP TABLE {THEIRS}.notes"), REFUSED),
        "text of DDL in the deployment's": (lambda: DDL(f"DROP TABLE {home}.notes"), REFUSED),
        # shared tables
        "shared": (lambda: select(Country.name), ["Norway"]),
        "shared in text": (lambda: text(f"SELECT name FROM {home}.countries"), ["Norway"]),
        "shared, joined": (
            lambda: select(Note.text, Country.name).join(Country, Note.country_id == Country.id),
            ["alpha-1", "Norway"],
        ),
        "shared insert": (lambda: insert(Country).values(name="x"), REFUSED),
        "shared insert of many": (lambda: insert(countries).values([{"name": "x"}, {"name": "y"}]), REFUSED),
        "shared insert from": (lambda: insert(Country).from_select(["name"], select(Note.text)), REFUSED),
        "shared update": (lambda: update(Country).values(name="x"), REFUSED),
        "shared update of an alias": (lambda: update(countries.alias()).values(name="x"), REFUSED),
        "shared delete": (lambda: delete(Country), REFUSED),
        "shared cte": (lambda: select(delete(countries).returning(countries.c.name).cte("gone")), REFUSED),
        "shared insert in text": (lambda: text(f"INSERT INTO {home}.countries (name) VALUES ('x')"), REFUSED),
        "shared update in text": (lambda: text(f"UPDATE {home}.countries SET name = 'x'"), REFUSED),
        "shared delete in text": (lambda: text(f"DELETE FROM /**/ {home} . countries"), REFUSED),
        "shared drop in text": (lambda: text(f"DROP TABLE IF EXISTS {home}.countries"), REFUSED),
    }


def on_postgresql(home: str) -> dict[str, Attack]:
    upsert = postgresql.insert
    return {
        "upsert": (lambda: upsert(theirs).values(id=1).on_conflict_do_nothing(), REFUSED),
        "upsert shared": (lambda: upsert(Country).values(id=1, name="x").on_conflict_do_nothing(), REFUSED),
        "upsert to theirs": (
            lambda: (
                upsert(Author)
                .values(id=1, name="x")
                .on_conflict_do_update(index_elements=["id"], set_={"name": select(theirs.c.text).scalar_subquery()})
            ),
            REFUSED,
        ),
        "locked": (lambda: select(Note.text).with_for_update(of=theirs), EITHER),
        "locked shared": (lambda: select(Note.text).with_for_update(of=countries), FAILS),
        "type": (lambda: select(cast(Note.id, Breakout())), REFUSED),
        "table function": (lambda: select(func.pg_ls_dir(".").table_valued("name")), REFUSED),
        "catalog": (lambda: text("SELECT relname FROM pg_class"), REFUSED),
        "catalog quoted": (lambda: text('SELECT relname FROM "pg_class"'), REFUSED),
        "catalog with its schema": (lambda: text("SELECT 1 FROM pg_catalog.pg_class"), REFUSED),
        "statistics": (lambda: text("SELECT most_common_vals FROM pg_stats"), REFUSED),
        "statements": (lambda: text("SELECT query FROM pg_stat_activity"), REFUSED),
        "path": (lambda: text("SET search_path TO x"), REFUSED),
        "local path": (lambda: text("SET LOCAL SEARCH_PATH = x"), REFUSED),
        "path of a role": (lambda: text("ALTER ROLE CURRENT_USER SET search_path = x"), REFUSED),
        "schema": (lambda: text("SET SCHEMA 'x'"), REFUSED),
        "schema after a comment": (lambda: text("/* x */ SET LOCAL schema 'x'"), REFUSED),
        "role": (lambda: text("SET ROLE postgres"), REFUSED),
        "session's user": (lambda: text("SET SESSION AUTHORIZATION postgres"), REFUSED),
        "block": (lambda: text("DO $$ BEGIN PERFORM 1; END $$"), REFUSED),
        "block with its language": (lambda: text("DO LANGUAGE plpgsql $$ BEGIN PERFORM 1; END $$"), REFUSED),
        "prepared": (lambda: text("PREPARE x AS SELECT 1"), REFUSED),
        "what the driver prepared": (lambda: text("EXECUTE _pg3_0"), REFUSED),
        "what it prepared, explained": (lambda: text("EXPLAIN ANALYZE EXECUTE _pg3_0"), REFUSED),
        "drop schema in text": (lambda: text(f"DROP SCHEMA {THEIRS} CASCADE"), REFUSED),
        "truncate": (lambda: text(f"TRUNCATE ONLY {home}.countries"), REFUSED),
    }


def on_mysql(home: str) -> dict[str, Attack]:
    upsert = mysql.insert
    notes = Note.__table__
    return {
        "upsert": (lambda: upsert(theirs).values(id=1).on_duplicate_key_update(text="x"), REFUSED),
        "upsert shared": (lambda: upsert(Country).values(id=1, name="x").on_duplicate_key_update(name="x"), REFUSED),
        "update of a second table": (
            lambda: update(notes).values({countries.c.name: "x"}).where(notes.c.country_id == countries.c.id),
            REFUSED,
        ),
        "use": (lambda: text(f"USE {home}"), REFUSED),
        "use in a comment": (lambda: text(f"/*!50000 USE */ {home}"), REFUSED),
        "backquoted": (lambda: text(f"SELECT text FROM `{THEIRS}`.`notes`"), REFUSED),
        "backquoted catalog": (lambda: text("SELECT 1 FROM `information_schema` . `tables`"), REFUSED),
        "users": (lambda: text("SELECT user FROM mysql.user"), REFUSED),
        "prepared": (lambda: text("PREPARE x FROM 'SELECT 1'"), REFUSED),
        "immediate": (lambda: text("EXECUTE IMMEDIATE 'SELECT 1'"), REFUSED),
        "handler": (lambda: text(f"HANDLER {home}.notes OPEN"), REFUSED),
    }


@pytest.fixture(scope="module")
async def deployment(request: pytest.FixtureRequest) -> AsyncIterator[Deployment]:
    """Planted once: nothing is committed, and in the end the other tenant has what it had."""
    async with planted(request.param, request, A, B) as deployment:
        before = await not_of_a(deployment)
        yield deployment
        assert await not_of_a(deployment) == before


async def not_of_a(deployment: Deployment) -> list[Any]:
    own = [await deployment.rows(f"SELECT * FROM {name}") for name in ("notes", "countries")]
    return [await rows_of(deployment, B), *own]


async def outcome(session: AsyncSession, statement: Any) -> Any:
    try:
        result: Any = await session.execute(statement)
    except IsolationError:
        return REFUSED
    except (DBAPIError, CompileError):
        return FAILS
    return [value for row in result for value in row] if getattr(result, "returns_rows", True) else result.rowcount


async def check(deployment: Deployment, make: Callable[[], Any], expected: Any) -> None:
    async with deployment.session(A) as session:
        assert await outcome(session, make()) in (EITHER if expected is EITHER else [expected])


every_driver = pytest.mark.parametrize("deployment", DRIVERS, indirect=True)


@every_driver
@pytest.mark.parametrize("name", statements("x"))
async def test_a_statement_stays_in_the_tenants_schema(deployment: Deployment, name: str) -> None:
    await check(deployment, *statements(deployment.home)[name])


@pytest.mark.parametrize("deployment", ["psycopg", "asyncpg"], indirect=True)
@pytest.mark.parametrize("name", on_postgresql("x"))
async def test_postgresqls_own_statements_do_so_too(deployment: Deployment, name: str) -> None:
    await check(deployment, *on_postgresql(deployment.home)[name])


@pytest.mark.parametrize("deployment", ["mariadb"], indirect=True)
@pytest.mark.parametrize("name", on_mysql("x"))
async def test_mysqls_own_statements_do_so_too(deployment: Deployment, name: str) -> None:
    await check(deployment, *on_mysql(deployment.home)[name])


@every_driver
@pytest.mark.parametrize("statement", ["SELECT text FROM {theirs}.notes", "SELECT 1 FROM information_schema.tables"])
async def test_what_goes_straight_to_the_driver_is_looked_at(deployment: Deployment, statement: str) -> None:
    async with deployment.session(A) as session:
        connection = await session.connection()
        with pytest.raises(IsolationError):
            await connection.exec_driver_sql(statement.format(theirs=THEIRS))


@every_driver
@pytest.mark.parametrize("options", [{"schema_translate_map": {None: THEIRS}}, {"tenancy_tenant_id": B}])
async def test_a_connection_stays_with_its_tenant(deployment: Deployment, options: dict[str, Any]) -> None:
    async with deployment.session(A) as session:
        with pytest.raises(IsolationError):
            await session.connection(execution_options=options)


@every_driver
async def test_options_of_an_execution_lead_nowhere_else(deployment: Deployment) -> None:
    async with deployment.session(A) as session:
        with pytest.raises(IsolationError):
            await session.scalars(select(Note), execution_options={"schema_translate_map": {None: THEIRS}})


@every_driver
@pytest.mark.parametrize("statement", [select(lookalike), text("SELECT 1")])
async def test_a_connection_without_a_tenant_runs_nothing(deployment: Deployment, statement: Any) -> None:
    async with deployment.engine.connect() as connection:
        with pytest.raises(IsolationError, match="belongs to no tenant"):
            await connection.execute(statement)


@every_driver
async def test_the_schemas_cannot_be_inspected(deployment: Deployment) -> None:
    def names(session: Session) -> Any:
        return inspect(session.connection()).get_table_names(schema=THEIRS)

    async with deployment.session(A) as session:
        with pytest.raises(IsolationError):
            await session.run_sync(names)


@every_driver
async def test_a_flush_writes_no_shared_table(deployment: Deployment) -> None:
    async with deployment.session(A) as session:
        session.add(Country(name="x"))
        with pytest.raises(IsolationError, match="shared by all"):
            await session.flush()


@every_driver
async def test_a_flush_changes_no_shared_row(deployment: Deployment) -> None:
    async with deployment.session(A) as session:
        country = await session.get_one(Country, 1)
        country.name = "x"
        with pytest.raises(IsolationError, match="shared by all"):
            await session.flush()


@every_driver
async def test_many_rows_at_once_write_no_shared_table(deployment: Deployment) -> None:
    async with deployment.session(A) as session:
        with pytest.raises(IsolationError, match="shared by all"):
            await session.execute(insert(Country), [{"name": "x"}, {"name": "y"}])


@every_driver
async def test_a_refusal_does_not_hurt_the_next_statement(deployment: Deployment) -> None:
    options = {"schema_translate_map": {"x": THEIRS}}
    async with deployment.session(A) as session:
        with pytest.raises(IsolationError):
            await session.scalars(select(Animal.name).order_by(Animal.name), execution_options=options)
        assert list(await session.scalars(select(Animal.name).order_by(Animal.name))) == ["alpha-cat", "alpha-dog"]
