"""Which SQL text a tenant's session passes on to PostgreSQL, where only the setting says who the tenant is."""

from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from isolation.rls_models import A, B, Database, planted_database
from psycopg import Connection, Error, connect
from sqlalchemy import make_url

from fastapi_tenancy.errors import IsolationError
from fastapi_tenancy.multitenant.isolation.one_statement import check_one_statement

ALLOWED = [
    "SELECT 1",
    "select text from notes where text like '%better' and text !~ '\\d+' -- ; SET ROLE x",
    "SELECT text /* SET ROLE x; */ FROM notes;",
    "SELECT 'it''s; SET ROLE x', E'\\n', U&'\\0061', \"a column\", \"set\" FROM notes",
    "SELECT $1::text, %(tenancy_tenant_id_1)s, %s, 5 %% 2, a->>'b', a #> '{}', 6 / 2, $2",
    "(SELECT 1) UNION (SELECT 2)",
    "VALUES (1)",
    "TABLE notes",
    "SHOW server_version",
    "EXPLAIN (ANALYZE, VERBOSE) SELECT * FROM notes",
    "LOCK TABLE notes IN SHARE MODE",
    "WITH a AS (SELECT 1), b AS (INSERT INTO notes (id) SELECT 1 RETURNING id) INSERT INTO notes SELECT * FROM b",
    "INSERT INTO notes (text, tenant_id) VALUES ('x', current_setting('tenancy.tenant_id'))",
    "INSERT INTO notes SELECT * FROM (SELECT 1) AS given ON CONFLICT (id) DO UPDATE SET text = excluded.text",
    "MERGE INTO notes USING (SELECT 1 AS id) AS s ON s.id = notes.id WHEN NOT MATCHED THEN INSERT (id) VALUES (s.id)",
    "UPDATE notes SET text = 'x', reset = 1, role = 2 WHERE do_not = 3",
    "DELETE FROM notes USING authors WHERE author_id = authors.id",
    "SAVEPOINT here",
    "ROLLBACK TO SAVEPOINT here",
    "RELEASE SAVEPOINT here",
    "SELECT pg_catalog.lower(text), pg_typeof(id), pg_advisory_xact_lock(1), pg_notify('a', 'b') FROM notes",
    "SELECT \u00a0, é, tenancy_start FROM tenancy_agreements",
]

REFUSED = [
    "SET tenancy.tenant_id = 'b'",
    'set Local "tenancy"."tenant_id" TO \'b\'',
    "/* harmless */ SET LOCAL tenancy.tenant_id = 'b'",
    "-- harmless\nSET ROLE postgres",
    "\tSET SESSION AUTHORIZATION DEFAULT",
    "SET search_path = other",
    "SET TRANSACTION READ ONLY",
    "RESET ALL",
    "RESET tenancy.tenant_id",
    "DISCARD ALL",
    "SELECT set_config('tenancy.tenant_id', 'b', true)",
    "SELECT pg_catalog . Set_Config ('tenancy.tenant_id', 'b', true)",
    "SELECT \"set_config\"('tenancy.tenant_id', 'b', true)",
    "SELECT pg_catalog.\"set_config\" /* */ (E'tenancy\\x2etenant_id', 'b', true)",
    "SELECT U&\"s\\0065t_config\"('tenancy.tenant_id', 'b', true)",
    "SELECT u&\"s!0065t_config\" UESCAPE '!' ('tenancy.tenant_id', 'b', true)",
    "SELECT '\\', set_config('tenancy.tenant_id', 'b', true), '\\'",
    "SELECT E'\\' , ' , set_config('tenancy.tenant_id', 'b', true) -- '",
    "SELECT E'\\\\', set_config('tenancy.tenant_id', 'b', true)",
    "SELECT $$'$$, set_config('tenancy.tenant_id', 'b', true), $$'$$",
    "SELECT $a$ ' $a$, set_config('tenancy.tenant_id', 'b', true) --'",
    "SELECT /* /* */ ' */ set_config('tenancy.tenant_id', 'b', true) --'",
    "SELECT 1 /* */ + set_config('tenancy.tenant_id', 'b', true)::int",
    "SELECT %(a'b)s, set_config('tenancy.tenant_id', 'b', true) --'",
    "SELECT 1 -- %(a\n)s ' \n , set_config('tenancy.tenant_id', 'b', true) -- '",
    "SELECT '%(a'b)s', set_config('tenancy.tenant_id', 'b', true), '%(a'b)s'",
    "SELECT set_config",
    "SELECT 5 %(id)set_config('tenancy.tenant_id', 'b', true)",
    "SELECT %(id)s$$ ' $$, set_config('tenancy.tenant_id', 'b', true) -- '",
    "SELECT 1 */* ' */ set_config('tenancy.tenant_id', 'b', true)::int -- '",
    "SELECT 1 +-- '\n set_config('tenancy.tenant_id', 'b', true)::int -- '",
    "UPDATE pg_settings SET setting = 'off' WHERE name = 'row_security'",
    "WITH a AS (UPDATE pg_catalog.pg_settings SET setting = 'x' RETURNING 1) SELECT 1",
    "SELECT query_to_xml('SELECT set_' || 'config(…)', true, true, '')",
    "SELECT * FROM ts_stat('SELECT …')",
    "SELECT ts_rewrite('a'::tsquery, 'SELECT …')",
    "SELECT dblink_exec('…')",
    "SELECT lo_get(1)",
    "SELECT pg_read_file('pg_hba.conf')",
    "SELECT query FROM pg_stat_activity",
    "SELECT pg_advisory_lock(1)",
    "SELECT pg_terminate_backend(1)",
    "SELECT setval('notes_id_seq', 1)",
    "SELECT * FROM tenancy_tenants",
    "SELECT * FROM tenancy_domains",
    "DELETE FROM tenancy_revisions",
    "UPDATE public.\"tenancy_tenants\" SET status = 'active'",
    "SELECT 1; SET ROLE postgres",
    "SELECT 1;; SELECT 2;",
    "COMMIT",
    "COMMIT AND CHAIN",
    "ROLLBACK",
    "ROLLBACK AND CHAIN",
    "ABORT",
    "END",
    "BEGIN",
    "START TRANSACTION",
    "PREPARE TRANSACTION 'x'",
    "PREPARE q AS SELECT set_config('tenancy.tenant_id', 'b', true)",
    "EXECUTE q",
    "DEALLOCATE ALL",
    "DECLARE c CURSOR WITH HOLD FOR SELECT * FROM notes",
    "FETCH ALL FROM c",
    "DO 'BEGIN END'",
    "CALL something()",
    "COPY notes TO STDOUT",
    "COPY notes FROM PROGRAM 'id'",
    "COPY (SELECT 1) TO PROGRAM 'id'",
    "CREATE TABLE x AS SELECT * FROM notes",
    "CREATE TEMP TABLE notes (id int)",
    "CREATE OR REPLACE FUNCTION f() RETURNS void LANGUAGE sql AS 'SELECT 1'",
    "CREATE POLICY p ON notes USING (true)",
    "ALTER TABLE notes DISABLE ROW LEVEL SECURITY",
    "ALTER TABLE notes NO FORCE ROW LEVEL SECURITY",
    "ALTER POLICY tenancy_isolation ON notes USING (true)",
    "DROP POLICY tenancy_isolation ON notes",
    "ALTER ROLE CURRENT_USER SET tenancy.tenant_id = 'b'",
    "GRANT postgres TO PUBLIC",
    "TRUNCATE notes",
    "DROP TABLE notes",
    "REFRESH MATERIALIZED VIEW x",
    "LISTEN x",
    "LOAD 'x'",
    "IMPORT FOREIGN SCHEMA x FROM SERVER y INTO z",
    "SELECT * INTO x FROM notes",
    "SELECT text INTO TEMP notes FROM notes",
    "SELECT 1 insert INTO TEMP notes FROM notes",
    "SELECT (1) insert INTO TEMP notes FROM notes",
    "WITH a AS (SELECT 1) SELECT * INTO x FROM a",
    "EXPLAIN ANALYZE CREATE TABLE x AS SELECT * FROM notes",
    "EXPLAIN ANALYZE EXECUTE q",
    "EXPLAIN (ANALYZE) REFRESH MATERIALIZED VIEW x",
    "SELECT 'open",
    'SELECT "open',
    "SELECT /* open",
    "",
    "-- nothing",
    ";",
]


@pytest.mark.parametrize("sql", ALLOWED)
def test_ordinary_statements_are_passed_on(sql: str) -> None:
    check_one_statement(sql)


@pytest.mark.parametrize("sql", REFUSED)
def test_what_might_change_more_than_rows_is_refused(sql: str) -> None:
    with pytest.raises(IsolationError):
        check_one_statement(sql)


@pytest.mark.parametrize(
    ("sql", "why"),
    [
        ("SET LOCAL statement_timeout = 1", "SET is not among DELETE, EXPLAIN"),
        ("SELECT 1; SELECT 2", "more than one statement"),
        ("SELECT set_config('a', 'b', true)", "set_config reaches beyond the tenant's rows"),
        ("SELECT '\\'", "can be read in more than one way"),
        ("SELECT 1 INTO x", "makes a table"),
        ("EXPLAIN CREATE TABLE x AS SELECT 1", "queries only"),
    ],
)
def test_a_refusal_says_why(sql: str, why: str) -> None:
    with pytest.raises(IsolationError, match=why):
        check_one_statement(sql)


@pytest.fixture(scope="module")
def database(postgresql_url: str) -> Iterator[Database]:
    with planted_database(postgresql_url) as database:
        yield database


@pytest.fixture(scope="module")
def server(database: Database) -> Iterator[Connection]:
    """A connection that nothing guards, in a transaction of A's."""
    url = make_url(database.role).set(drivername="postgresql").render_as_string(hide_password=False)
    with connect(url) as connection:
        connection.execute("SELECT set_config('tenancy.tenant_id', %s, true)", [A])
        connection.execute("SAVEPOINT clean")
        yield connection


BECOME_B = f"set_config('tenancy.tenant_id', '{B}', true)"
# What opens or closes a string, a name or a comment, for PostgreSQL or for who looks at its SQL.
PIECES = st.sampled_from(
    [
        *("'", "''", "\\", "\\'", "E'", "U&'", 'U&"', "b'", '"', "$$", "$a$", "%s", "%(a'b)s", "%(a\n)s", "%%", "%"),
        *("--", "\n", "\r", "/*", "*/", "/", ", ", "1", "x", " ", "(", ")", "\u00a0", "\u2028", "||", "UESCAPE '!'"),
        *(", E'\\' , '", ", '\\'", "/* /* */", " ' */", ", $$'$$", "-- '", ", %(a'b)s", "::text", " AS x", ";"),
    ]
)
TEXT = st.lists(PIECES, max_size=4).map("".join)
PAYLOADS = st.sampled_from([f", {BECOME_B}", f" {BECOME_B}", f'"set_config"{BECOME_B[10:]}', " INTO TEMP stolen "])


@given(st.builds("SELECT 1{}{}{}".format, TEXT, PAYLOADS, TEXT), st.booleans())
@settings(max_examples=800, deadline=None)
def test_what_is_passed_on_leaves_the_tenant_as_it_was(server: Connection, sql: str, with_parameters: bool) -> None:
    try:
        check_one_statement(sql)
    except IsolationError:
        return
    try:
        parameters = {"a'b": 1, "a\n": 1} if "%(" in sql else [1] * sql.count("%s")
        server.execute(sql, parameters if with_parameters else None)  # type: ignore[arg-type]
    except (Error, TypeError, UnicodeError):  # TypeError: it takes no such parameters
        server.execute("ROLLBACK TO SAVEPOINT clean")
    else:
        current = server.execute("SELECT current_setting('tenancy.tenant_id'), to_regclass('stolen')").fetchone()
        server.execute("ROLLBACK TO SAVEPOINT clean")
        assert current == (A, None)
